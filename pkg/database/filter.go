package database

import (
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/linked"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Filter serves one listener in one configuration, as far as that is the same for
// all protocols: it knows the sessions and where they may go. A protocol's filter
// has one in it, and adds how sessions begin.
type Filter struct {
	// read-only after construction
	Conf     *resource.DatabaseFilter
	Context  filters.Context
	Cluster  filters.Cluster
	Route    *sqlroute.Route
	Rotation *Rotation
	Tracing  *Tracing // nil: no spans
	Log      *slog.Logger
	b        *Builder
	gate     *Gate
	unwatch  func()
	own      func(*Part) LoopPart

	sessions atomic.Int64
	failed   sync.Map // *filters.Endpoint: the latest session that it was to have failed

	mu      sync.Mutex // guards below
	parts   map[*netloop.Loop]*Part
	retired bool
	done    func() // of the retirement, until it is called
}

// Part is what a filter has on one loop. Only the loop's goroutine uses it.
type Part struct {
	*Filter
	Loop  *netloop.Loop
	Stats *Stats
	Own   LoopPart // the protocol's; nil: nothing

	sessions linked.List[*Session]
	latest   *Credentials // those that were read last
	next     *Part        // where sessions that are still beginning go on; nil until retired
	over     bool         // retired without a successor
	sweep    *netloop.Timer
}

// LoopPart is what a protocol has on a loop besides sessions, such as connections
// that they share. Its methods are called after those of the sessions.
type LoopPart interface {
	// Retire says that the filter's time is over; next is nil where nothing takes
	// its place.
	Retire(next *Part)
	// Review says that the cluster has other endpoints than before.
	Review(deadline time.Duration)
	// Reconsider says that roles or health of endpoints have changed.
	Reconsider()
}

// Part returns the part of f on a loop.
func (f *Filter) Part(loop *netloop.Loop) *Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.parts[loop]
	if p == nil {
		p = &Part{Filter: f, Loop: loop, Stats: f.b.Metrics.Of(f.Context.Listener, loop)}
		if f.own != nil {
			p.Own = f.own(p)
		}
		f.parts[loop] = p
	}
	return p
}

func (f *Filter) all() []*Part {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Values(f.parts))
}

// post has something done for each part on its loop, some time later.
func (f *Filter) post(fn func(*Part)) {
	for _, p := range f.all() {
		p.Loop.Post(func() { fn(p) })
	}
}

// each calls fn for every session, on the loops of each, some time later.
func (f *Filter) each(fn func(*Session)) {
	f.post(func(p *Part) { p.each(fn) })
}

func (p *Part) each(fn func(*Session)) {
	for s := range p.sessions.All() {
		fn(s)
	}
}

// add makes a session one of the filter's.
func (p *Part) add(s *Session) {
	s.Part, s.joined = p, true
	p.sessions.Add(s)
	p.Filter.sessions.Add(1)
	p.Stats.Open.Add(1)
	p.watchIdle()
}

func (p *Part) unlink(s *Session) {
	p.sessions.Remove(s)
	s.joined = false
	p.Stats.Open.Add(-1)
	p.Filter.sessions.Add(-1)
}

// watchIdle looks from time to time for sessions that have been quiet for long:
// one timer for all.
func (p *Part) watchIdle() {
	limit := p.Conf.Limits.IdleTimeout
	if limit <= 0 || p.sweep != nil {
		return
	}
	every := min(max(limit/8, 20*time.Millisecond), 30*time.Second)
	p.sweep = p.Loop.After(every, func() {
		p.sweep = nil
		p.each(func(s *Session) { s.checkIdle(limit) })
		if p.sessions.Len() > 0 {
			p.watchIdle()
		}
	})
}

// Open is the number of sessions.
func (f *Filter) Open() int { return int(f.sessions.Load()) }

// GateKey is whom the limits of the configuration are for.
func (f *Filter) GateKey() GateKey { return GateKey{f.Context.Listener, f.Conf.Cluster} }

// Retire implements filters.Network. Sessions that r.Next would have begun in
// the same way, at an endpoint that it still has, go on there; others end at a
// boundary of a transaction.
func (f *Filter) Retire(r filters.Retirement) {
	next := f.successor(r.Next)
	f.unwatch()
	f.mu.Lock()
	f.retired, f.done = true, r.Done
	f.mu.Unlock()
	f.post(func(p *Part) { p.retire(next, r) })
	f.settle()
}

// based is a filter that has a Filter in it.
type based interface{ base() *Filter }

func (f *Filter) base() *Filter { return f }

// successor is the part of another filter that is the same for all protocols; nil
// if that is of another kind, which takes no sessions over.
func (f *Filter) successor(n filters.Network) *Filter {
	if next, ok := n.(based); ok && next.base().b == f.b {
		return next.base()
	}
	return nil
}

func (p *Part) retire(next *Filter, r filters.Retirement) {
	p.over = next == nil
	if next != nil {
		p.next = next.Part(p.Loop)
	}
	p.each(func(s *Session) { s.leave(r) })
	if p.Own != nil {
		p.Own.Retire(p.next)
	}
}

// Latest is the last of the parts that have taken each other's place, or p.
func (p *Part) Latest() *Part {
	for p.next != nil {
		p = p.next
	}
	return p
}

// successor is where sessions may go on; nil: nowhere.
func (p *Part) successor() *Part {
	last := p.Latest()
	if last == p || last.over || last.Retired() {
		return nil
	}
	return last
}

// Over reports whether the filter has been retired and nothing takes its place.
func (p *Part) Over() bool { return p.over }

// Retired reports whether the filter's time is over.
func (f *Filter) Retired() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.retired
}

// settle calls Done once the last session has left.
func (f *Filter) settle() {
	f.mu.Lock()
	var done func()
	gone := f.retired && f.Open() == 0
	if gone {
		done, f.done = f.done, nil
	}
	f.mu.Unlock()
	if gone {
		f.b.live.Remove(f)
	}
	if done != nil {
		done()
	}
}

// EndpointsMoved implements filters.Mover. An endpoint that is gone only for a
// moment, as the answers of a name server may come and go, costs no session.
func (f *Filter) EndpointsMoved(deadline time.Duration) {
	f.post(func(p *Part) {
		p.each(func(s *Session) { s.review(deadline) })
		if p.Own != nil {
			p.Own.Review(deadline)
		}
	})
}

// rolesMoved has sessions look at the roles and the health of their servers.
func (f *Filter) rolesMoved() {
	f.post(func(p *Part) {
		p.each((*Session).reconsider)
		if p.Own != nil {
			p.Own.Reconsider()
		}
	})
}

// RoleDeadline bounds what a session may go on for at a server that has lost its
// role.
func (f *Filter) RoleDeadline() time.Duration {
	const usual = 30 * time.Second
	if f.Context.DrainDeadline > 0 {
		return f.Context.DrainDeadline
	}
	return usual
}

// SameTarget reports whether a session of f could as well be one of other, as far
// as that is the same for all protocols.
func (f *Filter) SameTarget(other *Filter) bool {
	a, b := f.Conf, other.Conf
	return a.Cluster == b.Cluster && a.Login == b.Login && a.ReadOnly == b.ReadOnly && a.TLSOptional == b.TLSOptional &&
		a.Target == b.Target && equal(a.StatementTimeout, b.StatementTimeout)
}

func equal(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }

// Report tells the cluster what an endpoint did wrong.
func (f *Filter) Report(e *filters.Endpoint, o filters.Outcome) {
	f.failed.Store(e, struct{}{})
	if o == filters.ConnectFailure {
		e.NoteRefusal()
	}
	f.Cluster.Report(e, o)
	f.Route.Refresh("a server fails")
}

// letIn tells the cluster of an endpoint that has failed, and does not any more.
func (f *Filter) letIn(e *filters.Endpoint) {
	if _, was := f.failed.LoadAndDelete(e); was {
		f.Cluster.Report(e, filters.Success)
	}
}

// Credentials reads those of the environment, as they are now.
func (p *Part) Credentials() (*Credentials, error) {
	by, err := ReadCredentials(p.Context.Secrets, &p.Conf.Login)
	if err != nil {
		return nil, err
	}
	if p.latest == nil || *p.latest != by {
		p.latest = &by // one for all sessions
	}
	return p.latest, nil
}
