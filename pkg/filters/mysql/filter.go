package mysql

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Filter serves one listener in one configuration.
type Filter struct {
	// read-only after construction
	b        *Builder
	conf     *resource.MySQLFilter
	ctx      filters.Context
	cluster  filters.Cluster
	log      *slog.Logger
	tracing  *database.Tracing // nil: no spans
	gate     *database.Gate
	route    *sqlroute.Route
	unwatch  func()
	rotation *database.Rotation

	sessions atomic.Int64
	failed   sync.Map // *filters.Endpoint: the latest session that it was to have failed

	mu      sync.Mutex // guards below
	locals  map[*netloop.Loop]*local
	retired bool
	done    func() // of the retirement, until it is called
}

// local is the part of a filter on one loop. Only the loop's goroutine uses it.
type local struct {
	*Filter
	loop  *netloop.Loop
	stats *stats

	sessions *session              // list
	latest   *database.Credentials // those that were read last
	next     *local                // where sessions that are still beginning go on; nil until retired
	over     bool                  // retired without a successor
	sweep    *netloop.Timer
}

// Accept implements filters.Network.
func (f *Filter) Accept(c *netloop.Conn) netloop.Driver {
	l := f.local(c.Loop())
	c.SetUnshared()
	s := &session{down: c}
	l.add(s)
	l.stats.accepted.Add(1)
	s.begin()
	return (*greeter)(s)
}

// local returns the part of f on a loop.
func (f *Filter) local(loop *netloop.Loop) *local {
	f.mu.Lock()
	defer f.mu.Unlock()
	l := f.locals[loop]
	if l == nil {
		l = &local{Filter: f, loop: loop, stats: f.b.metrics.of(f.ctx.Listener, loop)}
		f.locals[loop] = l
	}
	return l
}

func (l *local) add(s *session) {
	s.f = l
	s.prev, s.next = nil, l.sessions
	if l.sessions != nil {
		l.sessions.prev = s
	}
	l.sessions = s
	l.Filter.sessions.Add(1)
	l.stats.open.Add(1)
	l.watchIdle()
}

func (l *local) remove(s *session) {
	l.unlink(s)
	l.settle()
}

func (l *local) unlink(s *session) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.sessions = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.prev, s.next = nil, nil
	l.stats.open.Add(-1)
	l.Filter.sessions.Add(-1)
}

// watchIdle looks from time to time for sessions that have been quiet for long:
// one timer for all.
func (l *local) watchIdle() {
	limit := l.conf.Limits.IdleTimeout
	if limit <= 0 || l.sweep != nil {
		return
	}
	every := min(max(limit/8, 20*time.Millisecond), 30*time.Second)
	l.sweep = l.loop.After(every, func() {
		l.sweep = nil
		for s := l.sessions; s != nil; {
			next := s.next
			s.checkIdle(limit)
			s = next
		}
		if l.sessions != nil {
			l.watchIdle()
		}
	})
}

// open is the number of sessions.
func (f *Filter) open() int { return int(f.sessions.Load()) }

// each calls fn for every session, on the loops of each, some time later.
func (f *Filter) each(fn func(*session)) {
	for _, l := range f.parts() {
		l.loop.Post(func() { l.each(fn) })
	}
}

func (l *local) each(fn func(*session)) {
	for s := l.sessions; s != nil; {
		next := s.next
		fn(s)
		s = next
	}
}

func (f *Filter) parts() []*local {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.locals))
}

// Retire implements filters.Network. Sessions that r.Next would have begun in
// the same way, at an endpoint that it still has, go on there; others end at a
// boundary of a transaction.
func (f *Filter) Retire(r filters.Retirement) {
	next, _ := r.Next.(*Filter) // another kind of filter, or none, takes no sessions over
	f.unwatch()
	f.mu.Lock()
	f.retired, f.done = true, r.Done
	f.mu.Unlock()
	for _, l := range f.parts() {
		l.loop.Post(func() { l.retire(next, r) })
	}
	f.settle()
}

func (l *local) retire(next *Filter, r filters.Retirement) {
	l.over = next == nil
	if next != nil {
		l.next = next.local(l.loop)
	}
	l.each(func(s *session) { s.leave(r) })
}

// settle calls Done once the last session has left.
func (f *Filter) settle() {
	f.mu.Lock()
	var done func()
	gone := f.retired && f.open() == 0
	if gone {
		done, f.done = f.done, nil
	}
	f.mu.Unlock()
	if gone {
		f.b.forget(f)
	}
	if done != nil {
		done()
	}
}

// EndpointsMoved implements filters.Mover. An endpoint that is gone only for a
// moment, as the answers of a name server may come and go, costs no session.
func (f *Filter) EndpointsMoved(deadline time.Duration) {
	f.each(func(s *session) { s.review(deadline) })
}

// Refusal is what a client above the listener's own limit is told.
func (*Filter) Refusal() []byte {
	return errorPacket(0, mysqlproto.ErrnoTooManyConnections, "", "dragoman: too many connections at this listener")
}

// sameTarget reports whether a session of f could as well be one of other.
func (f *Filter) sameTarget(other *Filter) bool {
	a, b := f.conf, other.conf
	return a.Cluster == b.Cluster && a.Login == b.Login && a.ReadOnly == b.ReadOnly && a.TLSOptional == b.TLSOptional &&
		a.Target == b.Target && equal(a.StatementTimeout, b.StatementTimeout)
}

func equal(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }

// report tells the cluster what an endpoint did wrong.
func (f *Filter) report(e *filters.Endpoint, o filters.Outcome) {
	f.failed.Store(e, struct{}{})
	f.cluster.Report(e, o)
	f.route.Refresh("a server fails")
}
