package postgres

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// bye is the client's end: its connection is given back if it is fit for others.
func (c *poolClient) bye() {
	srv := c.server
	switch {
	case srv == nil:
	case srv.is(isSetting): // it has done nothing for the session yet
		srv.detach()
	case c.left > 0 && !c.is(isDropped):
		srv.abort()
	case srv.tracker.Idle() && srv.ledger.empty():
		srv.release()
	case c.is(isQuitting) && !srv.tracker.Settled():
		// It has asked for something and said goodbye at once: the server does that,
		// as it would without us.
		srv.orphan()
	default:
		srv.abort()
	}
}

// end takes the session off the pool's books.
func (c *poolClient) end() {
	c.g.leave(c)
	if c.server != nil {
		c.server.abort()
	}
	c.forgetNames()
	c.unnamed, c.spare = nil, nil
	if c.id != (cancelID{}) {
		c.s.f.b.cancels.drop(c.id, c.s)
		c.id = cancelID{}
	}
}

// serverGone is the end of the connection that worked for the session.
func (c *poolClient) serverGone(srv *poolServer) {
	s := c.s
	if s.is(isEnded) {
		return
	}
	if srv.is(isFatal) {
		s.f.stats.closed[serverClosed].Add(1)
		s.finish()
		return
	}
	s.f.report(srv.to.endpoint, filters.Disconnect)
	s.f.log.Warn("the server has closed a connection that a session used", "endpoint", srv.to.endpoint.Address)
	s.f.stats.closed[serverClosed].Add(1)
	if srv.left == 0 {
		s.down.Write(fatal(pgproto.StateConnectionFailure, "dragoman: the server closed the connection unexpectedly", ""))
		s.f.stats.failed(pgproto.StateConnectionFailure)
	}
	s.finish()
}

// cancel has what a server does for the session cancelled; done is called when
// the server has acted. A session that no server works for has nothing to cancel.
func (c *poolClient) cancel(done func()) {
	srv := c.server
	if srv == nil || srv.is(isSetting) || srv.tracker.Settled() || srv.id == (cancelID{}) {
		done()
		return
	}
	srv.cancels++
	cancelAt(c.p.key.loop, srv.to, srv.id, func() {
		srv.afterCancel()
		done()
	})
}

// settled reports that the session waits for its client.
func (c *poolClient) settled() bool {
	return !c.is(isQueued) && (c.server == nil || !c.server.is(isSetting) && c.server.tracker.Settled())
}

// atBoundary reports whether the client is between two messages of its server.
func (c *poolClient) atBoundary() bool { return c.server == nil || c.server.left == 0 }

// leave takes a session off its retired filter.
func (c *poolClient) leave(next *local, r filters.Retirement) {
	s := c.s
	switch {
	case s.f.sameTarget(next.Filter):
		s.moveTo(next)
	case next.conf.Pool == nil || next.conf.Pool.Session || c.p.key.session && c.server != nil:
		s.drain(r.Deadline)
	default:
		c.next = next
		s.drain(r.Deadline)
	}
}

// tryLeave ends or moves a session that is to leave if no transaction is under
// way.
func (c *poolClient) tryLeave() {
	srv := c.server
	switch {
	case c.s.is(isEnded):
	case srv == nil, srv.is(isSetting):
		if !c.is(isQueued) || c.next != nil {
			c.depart()
		}
	case srv.tracker.Idle() && srv.ledger.empty() && c.left == 0 && srv.left == 0:
		c.depart()
	}
}

// depart ends the session between two transactions, or has it go on elsewhere.
func (c *poolClient) depart() {
	s := c.s
	pinned := c.server != nil && c.server.is(isPinned|isDirty)
	c.bye()
	if c.next != nil && !pinned && c.unnamed == nil && c.move() {
		return
	}
	s.f.stats.closed[drained].Add(1)
	s.f.stats.failed(pgproto.StateAdminShutdown)
	s.down.Write(fatal(pgproto.StateAdminShutdown, shutdownMessage, ""))
	s.over()
	s.down.CloseLingering()
}

// move has the session go on under the configuration that has taken the place of
// its own, without its client knowing: between two transactions it has nothing at
// a server but settings and prepared statements, and both are made anew. It is
// false where a server has described a statement to the client, which may be
// another thing there.
func (c *poolClient) move() bool {
	s, next := c.s, c.next
	for next.next != nil {
		next = next.next
	}
	if next.over || next.isRetired() || next.conf.Pool == nil || next.conf.Pool.Session || len(c.names) > 0 {
		return false
	}
	c.g.leave(c)
	c.forgetNames()
	if s.leaving != nil {
		s.leaving.Stop()
		s.leaving = nil
	}
	s.state &^= isLeaving
	c.next = nil
	c.p = next.pooling()
	c.g = c.p.group(c)
	s.moveTo(next)
	s.f.stats.pool.moved.Add(1)
	c.state &^= isStopped
	s.down.Resume()
	return true
}

// overstays ends a session whose connection should be gone by now.
func (s *poolServer) overstays(c *poolClient) {
	if s.client == c && !s.is(isGone) {
		c.s.cut()
	}
}

// reviewPool looks at pooled connections after the endpoints have moved.
func (l *local) reviewPool(deadline time.Duration) {
	if l.pool != nil {
		l.pool.review(deadline)
	}
}

// cancelLent passes a request to cancel on to the loop of the session that it is
// for.
func (s *session) cancelLent(c *poolClient) {
	loop := s.f.loop
	done := func() { loop.Post(s.abandon) } // the client waits for our close as it would for the server's
	if !c.s.down.Loop().Post(func() { c.cancel(done) }) {
		s.abandon()
	}
}
