package postgres

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Times of a pool that are nobody's to configure.
const (
	// sweepEvery is how often is looked for connections that are to leave.
	sweepEvery = time.Second
	// openAgain is the pause after a login that failed, while there are other
	// connections.
	openAgain = time.Second
	// ownQueryLimit bounds what a server may take for a query of the pool's own.
	ownQueryLimit = 30 * time.Second
)

// poolKey is whom connections are shared by: sessions on one loop that would
// begin in the same way.
type poolKey struct {
	loop              *netloop.Loop
	listener, cluster string
	login             resource.DatabaseLogin
	timeout           string
	target            resource.TargetSession
	readOnly          bool
	tlsOptional       bool
	session           bool
}

// pool is the connections of one loop to the servers of one login. It outlives
// the filters that use it, one after the other. Only the loop's goroutine uses
// it.
type pool struct {
	b      *Builder
	key    poolKey
	f      *local // the latest that uses it
	users  int    // locals that use it
	budget *budget
	stats  *poolStats

	groups    map[string]*group
	servers   map[*poolServer]struct{}
	settings  map[settings]*settings
	assigned  map[string]*assignments
	epoch     uint64 // rises when what statements speak of is changed
	unnamed   uint64 // the latest id of an unnamed statement
	scratch   []byte // for messages that are written anew
	owes      int    // connections that other loops are to have
	sweeper   *netloop.Timer
	waitTimer *netloop.Timer // when the one that waits for longest has waited too long
	closed    bool
}

// pooling returns the pool that sessions of l belong to.
func (l *local) pooling() *pool {
	if l.pool != nil {
		return l.pool
	}
	c, b := l.filter.conf, l.filter.b
	key := poolKey{
		loop: l.Loop, listener: l.Context.Listener, cluster: c.Cluster, login: c.Login, target: c.Target,
		readOnly: c.ReadOnly, tlsOptional: c.TLSOptional, session: c.Pool.Session,
	}
	if c.StatementTimeout != nil {
		key.timeout = c.StatementTimeout.String()
	}
	l.pool = b.poolOf(key, func() *pool {
		return &pool{
			b: b, key: key, stats: b.poolStats.Of(key.listener, key.loop), epoch: stale + 1,
			groups: map[string]*group{}, servers: map[*poolServer]struct{}{},
			settings: map[settings]*settings{}, assigned: map[string]*assignments{},
		}
	})
	l.pool.users++
	l.pool.f = l
	l.pool.budget = l.filter.budget
	l.pool.budget.join(l.pool)
	return l.pool
}

func (b *Builder) poolOf(key poolKey, build func() *pool) *pool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pools[key]
	if p == nil {
		p = build()
		b.pools[key] = p
	}
	return p
}

// releasePool has a retired filter leave its pool: to its successor if that has the
// same, else for good.
func (l *local) releasePool(next *database.Part) {
	if l.pool == nil {
		return
	}
	p := l.pool
	if next != nil && !next.Over() {
		if to := localOf(next); to.filter.conf.Pool != nil && l.sameTarget(to) {
			to.pooling()
		}
	}
	l.pool = nil
	if p.users--; p.users == 0 {
		p.close()
	}
}

// close ends what is idle at once, and the rest when its session gives it back.
func (p *pool) close() {
	p.closed = true
	p.b.mu.Lock()
	delete(p.b.pools, p.key)
	p.b.mu.Unlock()
	p.budget.leave(p)
	for _, g := range p.groups {
		for _, c := range slices.Clone(g.waiting) { // for what does not come any more
			g.leave(c)
			c.depart()
		}
	}
	for _, s := range p.all() {
		if s.client == nil && s.is(isOpen) && !s.is(isOwnQuery|isOrphan|isHeldBack) {
			s.close(closedRetired)
		}
	}
}

func (p *pool) all() []*poolServer { return slices.Collect(maps.Keys(p.servers)) }

// trim gives up memory that a long statement has needed.
func (p *pool) trim() {
	if cap(p.scratch) > maxKeptUnnamed {
		p.scratch = nil
	}
}

func (p *pool) conf() *resource.PostgresPool { return p.f.filter.conf.Pool }

// group returns the group of a session.
func (p *pool) group(c *poolClient) *group {
	key := groupKey(&c.startup)
	g := p.groups[key]
	if g == nil {
		g = &group{p: p, key: key, message: c.startup, statements: statements{byKey: map[string]*statement{}}}
		if !p.key.session { // DISCARD ALL would give a session another's name; in mode Session it is nearly always its own
			g.message.Params = slices.DeleteFunc(slices.Clone(c.startup.Params), isApplicationName)
		}
		p.groups[key] = g
	}
	if g.facts == nil {
		g.facts = p.budget.told(key)
	}
	return g
}

// take gives a session a connection if there is one that is ready for it, else
// has it wait.
func (g *group) take(c *poolClient) bool {
	for n := len(g.idle) - 1; n >= 0; n-- {
		s := g.idle[n]
		g.idle[n] = nil
		g.idle = g.idle[:n]
		if s.conn.HungUp() || s.worn() {
			s.close(closedWorn)
			continue
		}
		g.p.stats.hits.Add(1)
		return s.serve(c)
	}
	c.state |= isQueued
	c.since = g.p.key.loop.Now()
	g.waiting = append(g.waiting, c)
	g.p.stats.waits.Add(1)
	g.p.watchWaiting()
	g.grow()
	return false
}

// leave takes a session out of the queues.
func (g *group) leave(c *poolClient) {
	drop := func(list []*poolClient) []*poolClient {
		if i := slices.Index(list, c); i >= 0 {
			return slices.Delete(list, i, i+1)
		}
		return list
	}
	g.waiting, g.greeted = drop(g.waiting), drop(g.greeted)
	c.state &^= isQueued
}

// watchWaiting sees to it that nobody waits for longer than limits.maxWait.
func (p *pool) watchWaiting() {
	if p.waitTimer != nil && p.waitTimer.Active() {
		return
	}
	first := int64(1<<63 - 1)
	for _, g := range p.groups {
		first = min(first, g.oldest())
	}
	if first == 1<<63-1 {
		return
	}
	p.waitTimer = p.key.loop.After(p.f.Conf.Limits.MaxWait-time.Duration(p.key.loop.Now()-first), p.turnAway)
}

// turnAway refuses those who have waited for too long.
func (p *pool) turnAway() {
	limit := p.f.Conf.Limits.MaxWait
	message := "dragoman: no connection to the database became free in " + limit.String()
	hint := "All " + strconv.FormatUint(uint64(p.conf().Size), 10) + " of the pool are in use: pool.size bounds them, limits.maxWait the wait."
	for _, g := range p.groups {
		for _, list := range [][]*poolClient{slices.Clone(g.waiting), slices.Clone(g.greeted)} {
			for _, c := range list {
				if time.Duration(p.key.loop.Now()-c.since) >= limit {
					c.s.refuse(database.TooMany, stateTooMany, message, hint)
				}
			}
		}
	}
	p.watchWaiting()
}

// watch looks from time to time for connections that are to leave.
func (p *pool) watch() {
	if p.sweeper == nil || !p.sweeper.Active() {
		p.sweeper = p.key.loop.After(sweepEvery, p.sweep)
	}
}

func (p *pool) sweep() {
	by, err := database.ReadCredentials(p.f.Context.Secrets, &p.f.Conf.Login)
	idle, now := p.conf().IdleTimeout, p.key.loop.Now()
	for _, s := range p.all() {
		if err == nil && s.is(isOpen) && s.by != by {
			s.state |= isWorn
		}
		switch {
		case !s.isIdle():
		case s.worn():
			s.close(closedWorn)
		case idle > 0 && time.Duration(now-s.idleSince) >= idle:
			s.close(closedIdle)
		}
	}
	for key, g := range p.groups {
		g.grow()
		if g.members == 0 && len(g.waiting)+len(g.greeted) == 0 && len(p.groups) > maxGroups {
			delete(p.groups, key)
		}
	}
	starving := p.starving() != nil
	if starving {
		p.budget.beg(p)
	}
	if len(p.servers) > 0 || starving {
		p.watch()
	}
}

// maxGroups is how many groups without connections are remembered: what servers
// have said of their settings lets sessions in without one.
const maxGroups = 32

// review looks at the connections after the cluster's endpoints have moved.
func (p *pool) review(deadline time.Duration) {
	p.key.loop.After(deadline/2, func() {
		table := p.f.Cluster.Table()
		for _, s := range p.all() {
			if s.to.Endpoint == nil || p.f.Route.Judge(table, s.to.Endpoint) == sqlroute.Stays {
				continue
			}
			s.state |= isWorn
			switch c := s.client; {
			case s.isIdle():
				s.close(closedWorn)
			case c != nil && (p.key.session || s.is(isPinned)):
				c.s.Drain(deadline / 2)
			case c != nil:
				p.key.loop.After(deadline/2, func() { s.overstays(c) })
			}
		}
	})
}

// reconsider looks at shared connections after roles or health have changed.
func (p *pool) reconsider() {
	table := p.f.Cluster.Table()
	for _, s := range p.all() {
		if s.to.Endpoint == nil || p.f.Route.Judge(table, s.to.Endpoint) != sqlroute.Demoted {
			continue
		}
		s.state |= isWorn
		switch c := s.client; {
		case s.isIdle():
			s.close(closedWorn)
		case c == nil:
		case !s.to.Endpoint.Healthy():
			c.s.Cut()
		case p.key.session || s.is(isPinned):
			c.s.Drain(p.f.RoleDeadline())
		default:
			p.key.loop.After(p.f.RoleDeadline(), func() { s.overstays(c) })
		}
	}
}
