package postgres

import "github.com/dragoman-mesh/dragoman/pkg/pgproto"

// cancelLent passes a request to cancel on to the loop of the session that it is
// for.
func (s *session) cancelLent(c *poolClient) {
	loop := s.Part.Loop
	done := func() { loop.Post(s.abandon) } // the client waits for our close as it would for the server's
	if !c.s.Down.Loop().Post(func() { c.cancel(done) }) {
		s.abandon()
	}
}

// cancel has what a server does for the session cancelled, or what it waits to ask
// one for; done is called when that is so. A session that has asked for nothing has
// nothing to cancel.
func (c *poolClient) cancel(done func()) {
	srv := c.server
	switch {
	case c.is(isQueued), srv != nil && srv.is(isSetting):
		c.state |= isCancelled
		if c.is(isQueued) {
			c.g.leave(c)
			c.ready()
		}
	case srv != nil && !srv.tracker.Settled() && srv.id != (cancelID{}):
		srv.cancels++
		cancelAt(c.p.key.loop, srv.to, srv.id, func(late bool) {
			srv.afterCancel(late)
			done()
		})
		return
	}
	done()
}

// cancelled answers the message that the session has waited with for a connection
// when it was cancelled, as a server of its own would that had begun with it.
func (c *poolClient) cancelled(h pgproto.Head) {
	s := c.s
	c.state = c.state&^isCancelled | isDue
	n := pgproto.Notice{Severity: pgproto.SeverityError, State: stateCancelled, Message: "canceling statement due to user request"}
	out := n.AppendError(nil)
	if simple(h.Type) {
		s.Part.Stats.Queries.Add(1)
		s.Part.Stats.Transactions.Add(1)
		out = pgproto.AppendReadyForQuery(out, pgproto.TxIdle)
	} else {
		c.state = c.state&^isDue | isSkipping
	}
	s.Part.Stats.Failed(errorKind(stateCancelled))
	s.Down.Write(out)
}
