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
	if srv.ledger.changes > 0 && rewrites(h.Type) && srv.tracker.Outstanding() > 0 {
		c.state |= isStopped // what names mean depends on whether what came before the Sync succeeds
		return unread, 0
	}
	if len(srv.rubbish) > 0 && rewrites(h.Type) && (srv.fresh() || len(srv.rubbish) >= int(c.p.conf().MaxStatements) && srv.quiet()) {
		srv.clearOut()
	}
	if srv.hints&hintsOfTags != 0 && begins(h.Type) && srv.settled() {
		srv.hints &^= hintsOfTags
	}
	switch h.Type {
	case pgproto.TypeParse:
		return c.parse(h, m)
	case pgproto.TypeBind:
		return c.bind(h, m)
	case pgproto.TypeDescribe, pgproto.TypeClose:
		return c.target(h, m)
	case pgproto.TypeQuery:
		hints := hintsOf(payloadOf(h, m))
		if hints&hintExecute != 0 && !c.knowExecuted(payloadOf(h, m), true) {
			return unread, 0
		}
		if hints&hintCut != 0 {
			c.seam = &seam{}
		}
		if hints&(hintSet|hintPath) != 0 && c.remember(payloadOf(h, m), true) {
			hints &^= hintSet | hintPath | hintMeaning
		}
		c.rememberNone(payloadOf(h, m))
		srv.hints |= hints
		if c.unnamed != nil || srv.unnamed != 0 || hints&hintExecute != 0 {
			srv.ledger.push(answer{kind: h.Type, undo: c.replaceUnnamed(nil)})
		} else {
			srv.ledger.note(h.Type)
		}
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
	if old := c.names[name]; old.statement != nil && !old.doubtful {
		c.server.clashes(old, body)
		return consumed, headSize + h.Len
	}
	if len(c.names) >= maxNames || c.namedBytes+len(body) > maxNamedBytes {
		c.fail("54000", "dragoman: the session has too many prepared statements")
		return consumed, headSize + h.Len
	}
	srv, st := c.server, c.g.statements.of(c.vars, c.assigned, body, c.p.epoch)
	if st.hints&hintExecute != 0 && !c.knowExecuted(body, false) {
		c.g.statements.forget(st)
		return unread, 0
	}
	a := answer{kind: pgproto.TypeParse, act: own, stmt: st, as: name, undo: &undo{name: name}}
	strange := srv.strange()
	if p := srv.statements.use(st); p == nil || p.epoch != c.p.epoch || p.strange || strange || srv.uncertain() {
		a.act = pass
		srv.prepare(st, st.body, p, a)
	} else {
		c.p.stats.reused.Add(1)
		c.owe(a)
	}
	c.mean(name, st)
	if strange {
		c.names[name] = named{statement: st, as: name, strange: true}
	}
	return consumed, headSize + h.Len
}

// uncertain reports whether a transaction may have failed in which a statement is
// to be prepared: only the server knows whether it takes it.
func (s *poolServer) uncertain() bool {
	return s.tracker.Status() == pgproto.TxFailed || s.tracker.Outstanding() > 0
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
	c.s.Down.Write(pgproto.AppendHead(c.p.scratch[:0], typ, 0))
}

// fail has the server fail, and gives the client another error in the place of
// the one that comes.
func (c *poolClient) fail(state, message string) {
	srv := c.server
	if srv.tracker.Status() == pgproto.TxFailed {
		state, message = "25P02", "current transaction is aborted, commands ignored until end of transaction block"
	}
	n := pgproto.Notice{Severity: pgproto.SeverityError, State: state, Message: message}
	srv.ledger.push(answer{kind: pgproto.TypeDescribe, act: replace, undo: &undo{instead: string(n.AppendError(nil))}})
	srv.conn.Write(pgproto.AppendTarget(nil, pgproto.TypeDescribe, pgproto.KindStatement, []byte(nobodysName)))
}

// clashes has the server fail as it does for a statement whose name is taken.
func (s *poolServer) clashes(old named, body []byte) {
	p := s.have(old)
	s.ledger.push(answer{kind: pgproto.TypeParse, act: clash, stmt: old.statement, as: old.as})
	s.g.p.scratch = appendParse(s.g.p.scratch[:0], p.name, string(body))
	s.conn.Write(s.g.p.scratch)
}

// prepare sends Parse for a statement, with its body. old is what the server has of
// it, if it is not what it should be; a says what becomes of the answer.
func (s *poolServer) prepare(st *statement, body string, old *prepared, a answer) *prepared {
	p := s.g.p
	p.stats.prepared.Add(1)
	switch {
	case old != nil:
		s.unprepare(st)
	case len(s.statements.of) >= int(p.conf().MaxStatements):
		s.unprepare(s.statements.oldest())
	}
	s.ledger.push(a)
	got := s.statements.add(&s.g.statements, st, p.epoch, old != nil || slices.Contains(s.rubbish, st.name))
	s.estrange(got)
	p.scratch = appendParse(p.scratch[:0], got.name, body)
	s.conn.Write(p.scratch)
	s.g.p.trim()
	return got
}

// unprepare has a statement be closed at the server, but not now: messages that are on
// their way may still need it.
func (s *poolServer) unprepare(st *statement) {
	s.rubbish = append(s.rubbish, s.statements.of[st].name)
	s.statements.remove(&s.g.statements, st)
}

// fresh reports that nothing is under way.
func (s *poolServer) fresh() bool { return s.tracker.Status() == pgproto.TxIdle && s.settled() }

// quiet reports that a transaction waits for its client. What is closed then is not
// missed: a portal keeps what it needs of its statement.
func (s *poolServer) quiet() bool { return s.tracker.Status() == pgproto.TxActive && s.settled() }

func (s *poolServer) settled() bool {
	return s.tracker.Outstanding() == 0 && !s.tracker.Pipelining() && s.ledger.empty()
}

// clearOut closes what is not needed any more. A Sync has to follow.
func (s *poolServer) clearOut() {
	for _, name := range s.rubbish {
		s.ledger.push(answer{kind: pgproto.TypeClose, act: swallow, undo: &undo{rubbish: name}})
		s.conn.Write(pgproto.AppendTarget(nil, pgproto.TypeClose, pgproto.KindStatement, []byte(name)))
	}
	s.rubbish = nil
}

// have sees to it that the server has a statement before it is used.
func (s *poolServer) have(st named) *prepared {
	s.hints |= st.hints
	p := s.statements.use(st.statement)
	if p == nil || p.epoch == stale || st.strange && !p.strange && s.strange() {
		body := st.typed()
		if st.strange {
			body = st.body
		}
		p = s.prepare(st.statement, body, p, answer{kind: pgproto.TypeParse, act: swallow, stmt: st.statement, as: st.as})
	}
	return p
}

// stale is the epoch of a statement that the server refuses to execute, since
// what it speaks of is not what it was.
const stale = 0

// bind is Bind.
func (c *poolClient) bind(h pgproto.Head, m []byte) (verdict, int) {
	have := payloadOf(h, m)
	b, err := pgproto.ParseBind(have)
	if err != nil {
		return c.notYet(h, have)
	}
	srv := c.server
	st := c.named(b.Statement)
	if st.statement == nil {
		if len(b.Statement) == 0 {
			c.haveUnnamed()
		} else {
			srv.know(string(b.Statement), st) // or rather no more
		}
		srv.ledger.note(h.Type)
		c.sent(h, m)
		return forwarded, headSize
	}
	if st.hints&(hintSet|hintPath) != 0 {
		c.confused()
	}
	name := srv.have(st).name
	srv.ledger.push(answer{kind: h.Type, stmt: st.statement, as: st.as})
	c.sent(h, m)
	out := pgproto.AppendHead(c.p.scratch[:0], h.Type, h.Len-len(b.Statement)+len(name))
	out = append(append(out, b.Portal...), 0)
	out = append(append(out, name...), 0)
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
	if h.Type == pgproto.TypeClose && len(c.names) > 0 && srv.tracker.Outstanding() > 0 {
		c.state |= isStopped // errors yet to come may speak of the name
		return unread, 0
	}
	c.sent(h, m)
	st := c.named(name)
	switch {
	case kind == pgproto.KindStatement && st.statement != nil && h.Type == pgproto.TypeClose:
		srv.know(string(name), named{})
		c.mean(string(name), nil)
		c.owe(answer{kind: h.Type, act: own, undo: &undo{name: st.as, meant: st.statement}})
		return consumed, headSize + h.Len
	case kind == pgproto.KindStatement && st.statement != nil:
		p := srv.have(st)
		srv.ledger.push(answer{kind: h.Type, stmt: st.statement, as: st.as})
		c.p.scratch = pgproto.AppendTarget(c.p.scratch[:0], h.Type, kind, []byte(p.name))
		srv.conn.Write(c.p.scratch)
		return consumed, headSize + h.Len
	case kind == pgproto.KindStatement && len(name) == 0 && h.Type == pgproto.TypeClose:
		srv.ledger.push(answer{kind: h.Type, undo: c.replaceUnnamed(nil)})
		return forwarded, headSize
	case kind == pgproto.KindStatement && len(name) == 0:
		c.haveUnnamed()
	case kind == pgproto.KindStatement:
		srv.know(string(name), st) // or rather no more
	}
	srv.ledger.note(h.Type)
	return forwarded, headSize
}

// named returns what the session calls by a name, if it is anything.
func (c *poolClient) named(name []byte) named {
	if len(c.names) == 0 || len(name) == 0 {
		return named{}
	}
	return c.names[string(name)]
}

// mean gives a name of the session's a meaning, nil for none.
func (c *poolClient) mean(name string, st *statement) {
	if st != nil {
		c.g.statements.hold(st)
		c.namedBytes += len(st.body)
		if c.names == nil {
			c.names = map[string]named{}
		}
	}
	if old := c.names[name]; old.statement != nil {
		c.namedBytes -= len(old.body)
		c.g.statements.drop(old.statement)
	}
	if st == nil {
		delete(c.names, name)
		return
	}
	c.names[name] = named{statement: st, as: name}
}

// forgetNames is the end of all prepared statements of the session.
func (c *poolClient) forgetNames() {
	for _, st := range c.names {
		c.g.statements.drop(st.statement)
	}
	c.names, c.namedBytes = nil, 0
}

// deallocate answers the query DEALLOCATE for a statement that was prepared by
// Parse: at servers it has another name. It is not ok for other texts.
func (c *poolClient) deallocate(h pgproto.Head, m []byte) (v verdict, n int, ok bool) {
	if h.Len > maxName {
		return 0, 0, false
	}
	sql, err := pgproto.ParseQuery(payloadOf(h, m))
	if err != nil {
		return 0, 0, false
	}
	name := deallocated(sql)
	if name == nil || c.named(name).statement == nil {
		return 0, 0, false
	}
	srv, status := c.server, pgproto.TxIdle
	if srv != nil {
		status = srv.tracker.Status()
	}
	switch {
	case srv == nil:
	case srv.tracker.Outstanding() > 0 && !srv.is(isSetting):
		c.state |= isStopped // errors yet to come may speak of the name
		return unread, 0, true
	case !srv.tracker.Settled(), status == pgproto.TxFailed:
		return 0, 0, false
	}
	c.mean(string(name), nil)
	c.unnamed = nil
	out := pgproto.AppendMessage(nil, pgproto.TypeCommandComplete, []byte("DEALLOCATE\x00"))
	c.s.Down.Write(pgproto.AppendReadyForQuery(out, status))
	c.s.Part.Stats.Queries.Add(1)
	if status == pgproto.TxIdle {
		c.s.Part.Stats.Transactions.Add(1)
	}
	c.state |= isDue
	return consumed, headSize + h.Len, true
}
