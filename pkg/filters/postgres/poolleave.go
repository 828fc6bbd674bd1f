package postgres

import (
	"github.com/dragoman-mesh/dragoman/pkg/database"
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
	case c.is(isQuitting) && srv.tracker.Outstanding() > 0 && !srv.tracker.CopyIn():
		// It has asked for something and said goodbye at once: the server does that,
		// as it would without us. What only the client could bring to an end is given up.
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
		c.s.b.cancels.drop(c.id, c.s)
		c.id = cancelID{}
	}
}

// serverGone is the end of the connection that worked for the session.
func (c *poolClient) serverGone(srv *poolServer) {
	s := c.s
	if s.Is(database.Ended) {
		return
	}
	if srv.is(isFatal) && !srv.is(isSetting) { // else it was no answer to the client
		s.Part.Stats.Closed[database.ServerClosed].Add(1)
		s.Finish()
		return
	}
	s.Part.Report(srv.to.Endpoint, filters.Disconnect)
	s.Part.Log.Warn("the server has closed a connection that a session used", "endpoint", srv.to.Endpoint.Address)
	s.Part.Stats.Closed[database.ServerClosed].Add(1)
	if srv.left == 0 {
		s.Down.Write(fatal(pgproto.StateConnectionFailure, "dragoman: the server closed the connection unexpectedly", ""))
		s.Part.Stats.Failed(errorKind(pgproto.StateConnectionFailure))
	}
	s.Finish()
}

// settled reports that the session waits for its client.
func (c *poolClient) settled() bool {
	return !c.is(isQueued) && (c.server == nil || !c.server.is(isSetting) && c.server.tracker.Settled())
}

// atBoundary reports whether the client is between two messages of its server.
func (c *poolClient) atBoundary() bool { return c.server == nil || c.server.left == 0 }

// goOnAt has the session go on at another filter's part, at once where the pool is
// the same, or else between two transactions, if it can.
func (c *poolClient) goOnAt(next *local) bool {
	if localOf(c.s.Part).sameTarget(next) {
		c.s.MoveTo(next.Part)
		return true
	}
	if pool := next.filter.conf.Pool; pool != nil && !pool.Session && (!c.p.key.session || c.server == nil) {
		c.next = next.Part
	}
	return false
}

// tryLeave ends or moves a session that is to leave if no transaction is under
// way.
func (c *poolClient) tryLeave() {
	srv := c.server
	switch {
	case c.s.Is(database.Ended):
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
	s.Part.Stats.Closed[database.Drained].Add(1)
	s.tellShutdown()
	s.End()
	s.Down.CloseLingering()
}

// move has the session go on under the configuration that has taken the place of
// its own, without its client knowing: between two transactions it has nothing at
// a server but settings and prepared statements, and both are made anew. It is
// false where a server has described a statement to the client, which may be
// another thing there.
func (c *poolClient) move() bool {
	next := c.next.Latest()
	to := localOf(next)
	if next.Over() || next.Retired() || to.filter.conf.Pool == nil || to.filter.conf.Pool.Session || len(c.names) > 0 {
		return false
	}
	s := c.s
	c.g.leave(c)
	c.forgetNames()
	s.StayOn()
	c.next = nil
	c.p = to.pooling()
	c.g = c.p.group(c)
	s.MoveTo(next)
	c.p.stats.moved.Add(1)
	c.state &^= isStopped
	s.Down.Resume()
	return true
}

// overstays ends a session whose connection should be gone by now.
func (s *poolServer) overstays(c *poolClient) {
	if s.client == c && !s.is(isGone) {
		c.s.Cut()
	}
}
