package postgres

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// group is what sessions share connections in: those with the same database and
// start-up settings.
type group struct {
	p       *pool
	key     string
	message pgproto.Startup // that connections are begun with
	idle    []*poolServer
	waiting []*poolClient // for a connection, the first has waited for longest
	greeted []*poolClient // who wait to be let in, since no server has told its settings yet
	opening int
	members int // connections, those being opened too
	failed  int64
	facts   *facts

	statements statements
}

// wanted is how many connections should be on their way.
func (g *group) wanted() int {
	if n := len(g.waiting); n > 0 || g.facts != nil {
		return n
	}
	return min(len(g.greeted), 1)
}

// grow opens connections for those who wait, as far as the pool may.
func (g *group) grow() {
	now := g.p.key.loop.Now()
	for !g.p.closed && g.opening < g.wanted() {
		if g.failed != 0 && g.members > 0 && time.Duration(now-g.failed) < openAgain {
			return // the sweep comes back to it
		}
		if !g.p.budget.take(g.p, len(g.p.servers) == 0) {
			if !g.p.evict(g) {
				g.p.watch() // which asks all others for what they do not use
				return
			}
			continue
		}
		g.open()
	}
}

// evict ends an idle connection of another group.
func (p *pool) evict(but *group) bool {
	for _, g := range p.groups {
		if g != but && len(g.idle) > 0 {
			g.idle[0].close(closedEvicted)
			return true
		}
	}
	return false
}

// starving returns the group that waits for longest and may not grow.
func (p *pool) starving() *group {
	var worst *group
	for _, g := range p.groups {
		if g.opening < g.wanted() && (worst == nil || g.oldest() < worst.oldest()) {
			worst = g
		}
	}
	return worst
}

// oldest is since when the first has waited, as loop time.
func (g *group) oldest() int64 {
	switch {
	case len(g.waiting) > 0:
		return g.waiting[0].since
	case len(g.greeted) > 0:
		return g.greeted[0].since
	}
	return 1<<63 - 1
}

// offer gives a connection that is as new to the next session, or keeps it.
func (g *group) offer(s *poolServer) {
	p := g.p
	switch {
	case p.closed:
		s.close(closedRetired)
		return
	case s.worn():
		s.close(closedWorn)
		g.grow()
		return
	case p.owes > 0:
		p.owes--
		s.close(closedEvicted)
		return
	}
	if len(p.groups) > 1 {
		if hungry := p.starving(); hungry != nil && hungry != g && hungry.oldest() < g.oldest() {
			s.close(closedEvicted)
			hungry.grow()
			return
		}
	}
	if len(g.waiting) > 0 {
		c := g.waiting[0]
		g.leave(c)
		p.stats.wait.Observe(p.key.loop.Now() - c.since)
		if s.serve(c) {
			c.ready()
		}
		return
	}
	s.idleSince = p.key.loop.Now()
	g.idle = append(g.idle, s)
	p.watch()
}
