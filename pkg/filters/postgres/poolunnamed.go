package postgres

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// parseUnnamed is Parse without a name. The text is remembered: the next Bind may
// come in another transaction.
func (c *poolClient) parseUnnamed(h pgproto.Head, m []byte) (verdict, int) {
	srv, have := c.server, payloadOf(h, m)
	if h.Len <= maxKeptUnnamed && len(have) < h.Len {
		return unread, 0
	}
	if name := c.deallocating(h, have); name != "" {
		return c.parseDeallocate(h, m, name)
	}
	hints := hintsOf(have[1:])
	if hints&hintExecute != 0 && !c.knowExecuted(have[1:], false) {
		return unread, 0
	}
	u := c.nextUnnamed()
	c.p.unnamed++
	u.id, u.long, u.body = c.p.unnamed, h.Len > maxKeptUnnamed, u.body[:0]
	if !u.long {
		u.body = append(u.body, have[1:]...)
	}
	if hints&(hintSet|hintPath) != 0 {
		sql, _, _ := bytes.Cut(have[1:], []byte{0})
		if !c.remember(sql, false) {
			c.confused()
		}
	}
	c.rememberNone(have[1:])
	if u.hints = hints; u.long {
		c.seam = &seam{}
	} else if u.hints&hintCut != 0 {
		u.hints |= hintsBehind(have[1:])
	}
	srv.hints |= u.hints
	srv.ledger.push(answer{kind: h.Type, undo: c.replaceUnnamed(u)})
	c.sent(h, m)
	return forwarded, headSize
}

func (c *poolClient) nextUnnamed() *unnamed {
	u := c.spare
	if c.spare = nil; u == nil {
		u = &unnamed{}
	}
	return u
}

// deallocating returns the name in a Parse of DEALLOCATE for a statement of the
// session's, "" for another text.
func (c *poolClient) deallocating(h pgproto.Head, have []byte) string {
	if len(c.names) == 0 || h.Len > maxName {
		return ""
	}
	sql, _, ok := bytes.Cut(have[1:], []byte{0})
	if name := deallocated(sql); ok && c.named(name).statement != nil {
		return string(name)
	}
	return ""
}

// parseDeallocate is Parse of DEALLOCATE, as psycopg has it executed. At servers the
// statement has another name and may be others', too: what the server is asked to
// deallocate is an empty one that was made for that.
func (c *poolClient) parseDeallocate(h pgproto.Head, m []byte, name string) (verdict, int) {
	const empty = "dragoman_empty"
	srv := c.server
	if srv.tracker.Outstanding() > 0 {
		c.state |= isStopped // errors yet to come may speak of the name
		return unread, 0
	}
	u := c.nextUnnamed()
	c.p.unnamed++
	u.id, u.long, u.hints, u.body = c.p.unnamed, false, 0, append(u.body[:0], "DEALLOCATE "+empty+"\x00\x00\x00"...)
	srv.ledger.push(answer{kind: pgproto.TypeClose, act: swallow}) // it may be there, from one that was never executed
	srv.ledger.push(answer{kind: pgproto.TypeParse, act: swallow})
	was := c.replaceUnnamed(u)
	was.name, was.meant = name, c.names[name].statement
	srv.ledger.push(answer{kind: h.Type, undo: was})
	c.mean(name, nil)
	c.sent(h, m)
	out := pgproto.AppendTarget(c.p.scratch[:0], pgproto.TypeClose, pgproto.KindStatement, []byte(empty))
	out = appendParse(out, empty, "\x00\x00\x00")
	out = appendParse(out, "", string(u.body))
	srv.conn.Write(out)
	c.p.scratch = out
	return consumed, headSize + h.Len
}

// unnamed is the unnamed statement of a session.
type unnamed struct {
	id    uint64
	body  []byte // the payload of Parse behind the name
	long  bool   // body is not kept
	hints hint
}

// replaceUnnamed makes another unnamed statement the session's and its server's,
// nil for none.
func (c *poolClient) replaceUnnamed(u *unnamed) *undo {
	was := &undo{anonym: true, unnamed: c.unnamed, atServer: c.server.unnamed}
	c.unnamed, c.server.unnamed = u, 0
	if u != nil {
		c.server.unnamed = u.id
	}
	return was
}

// haveUnnamed sees to it that the server's unnamed statement is the session's.
func (c *poolClient) haveUnnamed() {
	srv, u := c.server, c.unnamed
	if u != nil {
		srv.hints |= u.hints
	}
	switch {
	case u == nil && srv.unnamed == 0, u != nil && srv.unnamed == u.id:
	case u == nil:
		srv.ledger.push(answer{kind: pgproto.TypeClose, act: swallow, undo: &undo{anonym: true, atServer: srv.unnamed}})
		srv.conn.Write(pgproto.AppendTarget(nil, pgproto.TypeClose, pgproto.KindStatement, nil))
		srv.unnamed = 0
	default:
		srv.ledger.push(answer{kind: pgproto.TypeParse, act: swallow, undo: &undo{anonym: true, unnamed: u, atServer: srv.unnamed}})
		c.p.scratch = appendParse(c.p.scratch[:0], "", string(u.body))
		srv.conn.Write(c.p.scratch)
		srv.unnamed = u.id
	}
}
