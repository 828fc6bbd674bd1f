package postgres

import (
	"bytes"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// nobodysName is a statement that no server has: asking for it makes an error.
const nobodysName = "dragoman_none"

// shared takes a message of a session that shares its connection: names of
// prepared statements are put into those that servers have.
func (c *poolClient) shared(h pgproto.Head, m []byte) (v verdict, n int) {
	srv := c.server
	switch h.Type {
	case pgproto.TypeParse:
		return c.parse(h, m)
	case pgproto.TypeBind:
		return c.bind(h, m)
	case pgproto.TypeDescribe, pgproto.TypeClose:
		return c.target(h, m)
	case pgproto.TypeQuery:
		if len(m) < headSize+min(h.Len, maxHintText) {
			return unread, 0
		}
		srv.hints |= hintsOf(m[headSize:min(len(m), headSize+h.Len)])
		srv.unnamed = 0
		c.forgetUnnamed()
		srv.ledger.note(h.Type)
	case pgproto.TypeFunctionCall, pgproto.TypeExecute:
		srv.ledger.note(h.Type)
	case pgproto.TypeSync:
		c.state &^= isSkipping
		if !srv.tracker.CopyIn() {
			srv.ledger.note(h.Type)
		}
	case pgproto.TypeCopyDone, pgproto.TypeCopyFail:
		if !srv.tracker.CopyIn() && !srv.ledger.empty() {
			srv.ledger.note(pgproto.TypeCopyDone)
		}
	}
	c.sent(h, m)
	return forwarded, headSize
}

// sent does what is to be done for every message that goes to the server.
func (c *poolClient) sent(h pgproto.Head, m []byte) {
	c.account(h.Type)
	c.tell(h.Type)
	c.watchSlow(h, m)
}

// payload is as much of a message's as is there.
func payloadOf(h pgproto.Head, m []byte) []byte { return m[headSize:min(len(m), headSize+h.Len)] }

// notYet is the verdict on a message whose names are not whole: more is awaited,
// unless they are no names.
func (c *poolClient) notYet(h pgproto.Head, have []byte) (verdict, int) {
	if len(have) == h.Len || len(have) > 2*maxName {
		c.s.clientBroke(&pgproto.ProtocolError{Reason: "a message has no name, or one that is too long"})
	}
	return unread, 0
}

// parse is Parse. A statement that the server has is not prepared again.
func (c *poolClient) parse(h pgproto.Head, m []byte) (verdict, int) {
	have := payloadOf(h, m)
	i := bytes.IndexByte(have, 0)
	switch {
	case i < 0:
		return c.notYet(h, have)
	case i == 0:
		return c.parseUnnamed(h, m)
	case h.Len > maxParse:
		c.s.clientBroke(&pgproto.ProtocolError{Reason: "a prepared statement is longer than 16 MiB"})
		return unread, 0
	case len(have) < h.Len:
		return unread, 0
	}
	if _, err := pgproto.ParseParse(have); err != nil {
		c.s.clientBroke(err)
		return unread, 0
	}
	name, body := string(have[:i]), have[i+1:]
	c.sent(h, m)
	if c.names[name] != nil {
		c.fail("42P05", `prepared statement "`+name+`" already exists`)
		return consumed, headSize + h.Len
	}
	if len(c.names) >= maxNames || c.namedBytes+len(body) > maxNamedBytes {
		c.fail("54000", "dragoman: the session has too many prepared statements")
		return consumed, headSize + h.Len
	}
	srv, st := c.server, c.p.statements.of(c.vars, body)
	a := answer{kind: pgproto.TypeParse, act: own, stmt: st, name: name}
	if p := srv.statements.use(st); p == nil || p.epoch != c.p.epoch {
		a.act = pass
		srv.prepare(st, p, a)
	} else {
		c.p.stats.reused.Add(1)
		c.owe(a)
	}
	c.mean(name, st)
	return consumed, headSize + h.Len
}

// owe gives an answer of ours when those before it are given.
func (c *poolClient) owe(a answer) {
	if c.server.ledger.empty() {
		c.answer(a.kind)
		return
	}
	c.server.ledger.push(a)
}

// answer gives an answer of ours.
func (c *poolClient) answer(kind byte) {
	typ := byte(pgproto.TypeParseComplete)
	if kind == pgproto.TypeClose {
		typ = pgproto.TypeCloseComplete
	}
	c.s.down.Write(pgproto.AppendHead(c.p.scratch[:0], typ, 0))
}

// fail has the server fail, and gives the client another error in the place of
// the one that comes.
func (c *poolClient) fail(state, message string) {
	srv := c.server
	if srv.tracker.Status() == pgproto.TxFailed {
		state, message = "25P02", "current transaction is aborted, commands ignored until end of transaction block"
	}
	n := pgproto.Notice{Severity: pgproto.SeverityError, State: state, Message: message}
	srv.ledger.push(answer{kind: pgproto.TypeDescribe, act: replace, name: string(n.AppendError(nil))})
	srv.conn.Write(pgproto.AppendTarget(nil, pgproto.TypeDescribe, pgproto.KindStatement, []byte(nobodysName)))
}

// prepare sends Parse for a statement. old is what the server has of it, if it is
// not what it should be; a says what becomes of the answer.
func (s *poolServer) prepare(st *statement, old *prepared, a answer) {
	p := s.g.p
	p.stats.prepared.Add(1)
	switch {
	case old != nil:
		s.unprepare(st)
	case len(s.statements.of) >= int(p.conf().MaxStatements):
		s.unprepare(s.statements.oldest())
	}
	s.ledger.push(a)
	s.statements.add(&p.statements, st, p.epoch)
	p.scratch = appendParse(p.scratch[:0], st.name, st.body)
	s.conn.Write(p.scratch)
	s.g.p.trim()
}

// unprepare closes a statement at the server.
func (s *poolServer) unprepare(st *statement) {
	p := s.g.p
	s.ledger.push(answer{kind: pgproto.TypeClose, act: swallow, stmt: st})
	p.scratch = pgproto.AppendTarget(p.scratch[:0], pgproto.TypeClose, pgproto.KindStatement, []byte(st.name))
	s.conn.Write(p.scratch)
	s.statements.remove(&p.statements, st)
}

// have sees to it that the server has a statement before it is used.
func (s *poolServer) have(st *statement) {
	if p := s.statements.use(st); p == nil || p.epoch == stale {
		s.prepare(st, p, answer{kind: pgproto.TypeParse, act: swallow, stmt: st})
	}
	s.hints |= st.hints
}

// stale is the epoch of a statement that the server refuses to execute, since
// what it speaks of is not what it was.
const stale = 0

// parseUnnamed is Parse without a name. The text is remembered: the next Bind may
// come in another transaction.
func (c *poolClient) parseUnnamed(h pgproto.Head, m []byte) (verdict, int) {
	srv := c.server
	c.state &^= keepsUnnamed
	c.p.unnamed++
	c.unnamedID = c.p.unnamed
	srv.unnamed = c.unnamedID
	if h.Len > maxKeptUnnamed {
		c.state |= keepsUnnamed
		c.unnamed = nil
		srv.hints |= hintsOf(payloadOf(h, m)[1:])
	} else {
		if len(m) < headSize+h.Len {
			return unread, 0
		}
		c.unnamed = append(c.unnamed[:0], m[headSize+1:headSize+h.Len]...)
		srv.hints |= hintsOf(c.unnamed)
	}
	srv.ledger.note(h.Type)
	c.sent(h, m)
	return forwarded, headSize
}

func (c *poolClient) forgetUnnamed() {
	c.unnamedID = 0
	c.state &^= keepsUnnamed
}

// haveUnnamed sees to it that the server's unnamed statement is the session's.
func (c *poolClient) haveUnnamed() {
	srv := c.server
	switch {
	case srv.unnamed == c.unnamedID:
	case c.unnamedID == 0:
		srv.ledger.push(answer{kind: pgproto.TypeClose, act: swallow})
		srv.conn.Write(pgproto.AppendTarget(nil, pgproto.TypeClose, pgproto.KindStatement, nil))
		srv.unnamed = 0
	default:
		srv.ledger.push(answer{kind: pgproto.TypeParse, act: swallow})
		c.p.scratch = appendParse(c.p.scratch[:0], "", string(c.unnamed))
		srv.conn.Write(c.p.scratch)
		srv.unnamed = c.unnamedID
		srv.hints |= hintsOf(c.unnamed)
	}
}

// bind is Bind.
func (c *poolClient) bind(h pgproto.Head, m []byte) (verdict, int) {
	have := payloadOf(h, m)
	b, err := pgproto.ParseBind(have)
	if err != nil {
		return c.notYet(h, have)
	}
	srv := c.server
	st := c.named(b.Statement)
	if st == nil {
		if len(b.Statement) == 0 {
			c.haveUnnamed()
		}
		srv.ledger.note(h.Type)
		c.sent(h, m)
		return forwarded, headSize
	}
	srv.have(st)
	srv.ledger.push(answer{kind: h.Type, stmt: st})
	c.sent(h, m)
	out := pgproto.AppendHead(c.p.scratch[:0], h.Type, h.Len-len(b.Statement)+len(st.name))
	out = append(append(out, b.Portal...), 0)
	out = append(append(out, st.name...), 0)
	done := headSize + len(b.Portal) + 1 + len(b.Statement) + 1
	if len(have) == h.Len && h.Len <= maxHintText { // as nearly always
		out = append(out, b.Rest...)
		done = headSize + h.Len
	}
	srv.conn.Write(out)
	c.p.scratch = out
	return rewritten, done
}

// target is Describe or Close.
func (c *poolClient) target(h pgproto.Head, m []byte) (verdict, int) {
	have := payloadOf(h, m)
	if h.Len > 2*maxName || len(have) < h.Len {
		return c.notYet(h, have)
	}
	kind, name, err := pgproto.ParseTarget(have)
	if err != nil {
		c.s.clientBroke(err)
		return unread, 0
	}
	srv := c.server
	c.sent(h, m)
	st := c.named(name)
	switch {
	case kind == pgproto.KindStatement && st != nil && h.Type == pgproto.TypeClose:
		c.mean(string(name), nil)
		c.owe(answer{kind: h.Type, act: own, name: string(name), prev: st})
		return consumed, headSize + h.Len
	case kind == pgproto.KindStatement && st != nil:
		srv.have(st)
		srv.ledger.push(answer{kind: h.Type, stmt: st})
		c.p.scratch = pgproto.AppendTarget(c.p.scratch[:0], h.Type, kind, []byte(st.name))
		srv.conn.Write(c.p.scratch)
		return consumed, headSize + h.Len
	case kind == pgproto.KindStatement && len(name) == 0 && h.Type == pgproto.TypeClose:
		c.forgetUnnamed()
		srv.unnamed = 0
	case kind == pgproto.KindStatement && len(name) == 0:
		c.haveUnnamed()
	}
	srv.ledger.note(h.Type)
	return forwarded, headSize
}

// named returns what the session calls by a name, nil if it is nothing.
func (c *poolClient) named(name []byte) *statement {
	if len(c.names) == 0 || len(name) == 0 {
		return nil
	}
	return c.names[string(name)]
}

// mean gives a name of the session's a meaning, nil for none.
func (c *poolClient) mean(name string, st *statement) {
	if st != nil {
		c.p.statements.hold(st)
		c.namedBytes += len(st.body)
		if c.names == nil {
			c.names = map[string]*statement{}
		}
	}
	if old := c.names[name]; old != nil {
		c.namedBytes -= len(old.body)
		c.p.statements.drop(old)
	}
	if st == nil {
		delete(c.names, name)
		return
	}
	c.names[name] = st
}

// forgetNames is the end of all prepared statements of the session.
func (c *poolClient) forgetNames() {
	for _, st := range c.names {
		c.p.statements.drop(st)
	}
	c.names, c.namedBytes = nil, 0
}

// deallocates answers the query DEALLOCATE for a statement that was prepared by
// Parse: at servers it has another name.
func (c *poolClient) deallocates(h pgproto.Head, m []byte) bool {
	have := payloadOf(h, m)
	if h.Len > maxName || len(have) < h.Len {
		return false
	}
	sql, err := pgproto.ParseQuery(have)
	if err != nil {
		return false
	}
	name := deallocated(sql)
	srv, status := c.server, pgproto.TxIdle
	if srv != nil {
		status = srv.tracker.Status()
	}
	if name == nil || c.named(name) == nil || srv != nil && (!srv.tracker.Settled() || srv.is(isSetting)) || status == pgproto.TxFailed {
		return false
	}
	c.mean(string(name), nil)
	c.forgetUnnamed()
	out := pgproto.AppendMessage(nil, pgproto.TypeCommandComplete, []byte("DEALLOCATE\x00"))
	c.s.down.Write(pgproto.AppendReadyForQuery(out, status))
	return true
}

// takeBack undoes what the session and the connection would have by messages that
// an error has made the server skip, the first of which has failed. instead is an
// error that takes the place of the server's.
func (s *poolServer) takeBack(skipped []answer, state string) (instead string) {
	t, c := &s.g.p.statements, s.client
	for i, a := range slices.Backward(skipped) {
		switch {
		case a.act == replace && i == 0:
			instead = a.name
		case a.kind == pgproto.TypeParse && a.stmt == nil:
			s.unnamed = 0
			if c != nil {
				c.forgetUnnamed()
			}
		case a.kind == pgproto.TypeParse && a.act != own:
			s.statements.remove(t, a.stmt)
		case a.kind == pgproto.TypeClose && a.act == swallow && a.stmt != nil:
			s.statements.add(t, a.stmt, stale)
		}
		if a.name != "" && a.act != replace && c != nil {
			c.mean(a.name, a.prev)
		}
	}
	if len(skipped) > 0 && skipped[0].stmt != nil && skipped[0].kind != pgproto.TypeParse {
		s.doubt(skipped[0].stmt, state)
	}
	return instead
}

// doubt is a statement's error that may be about the statement itself.
func (s *poolServer) doubt(st *statement, state string) {
	p := s.statements.of[st]
	switch {
	case p == nil:
	case state == "26000": // the session has deallocated it by other ways
		s.statements.remove(&s.g.p.statements, st)
	case state == pgproto.StateFeatureNotSupported: // cached plan must not change result type
		p.epoch = stale
		s.g.p.epoch++
	}
}
