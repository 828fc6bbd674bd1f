package postgres

import "github.com/dragoman-mesh/dragoman/pkg/pgproto"

// parseUnnamed is Parse without a name. The text is remembered: the next Bind may
// come in another transaction.
func (c *poolClient) parseUnnamed(h pgproto.Head, m []byte) (verdict, int) {
	srv, have := c.server, payloadOf(h, m)
	if h.Len <= maxKeptUnnamed && len(have) < h.Len {
		return unread, 0
	}
	u := c.spare
	if c.spare = nil; u == nil {
		u = &unnamed{}
	}
	c.p.unnamed++
	u.id, u.long, u.body = c.p.unnamed, h.Len > maxKeptUnnamed, u.body[:0]
	if !u.long {
		u.body = append(u.body, have[1:]...)
	}
	u.hints = hintsOf(have[1:])
	srv.hints |= u.hints
	srv.ledger.push(answer{kind: h.Type, undo: c.replaceUnnamed(u)})
	c.sent(h, m)
	return forwarded, headSize
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
