// Package tcp is the terminal network filter that forwards bytes: one upstream
// connection for each downstream one.
package tcp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes tcp filters and keeps their counters.
type Builder struct {
	metrics *metrics
	live    filters.Live[*Filter] // with connections, or not yet retired
}

// NewBuilder returns a builder without filters.
func NewBuilder() *Builder {
	return &Builder{metrics: newMetrics()}
}

// Build implements filters.Builder for a *resource.TCPFilter.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.TCPFilter)
	if !ok {
		return nil, fmt.Errorf("building a tcp filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	cluster, ok := ctx.Clusters.Cluster(conf.Cluster)
	if !ok {
		return nil, fmt.Errorf("building a tcp filter for listener %q: no cluster %q", ctx.Listener, conf.Cluster)
	}
	f := &Filter{
		builder: b, conf: conf, cluster: cluster, balancer: newBalancer(cluster),
		counters: b.metrics.listeners.Of(ctx.Listener), log: ctx.Log, sessions: map[*session]struct{}{},
	}
	b.live.Add(f)
	return f, nil
}

// Drain implements filters.Drainer: it waits for the connections to end and
// closes what is left when ctx is done.
func (b *Builder) Drain(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if b.connections() == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			n := b.connections()
			for _, f := range b.live.All() {
				f.cut()
			}
			return fmt.Errorf("closing %d tcp connections: %w", n, ctx.Err())
		}
	}
}

func (b *Builder) connections() int {
	n := 0
	for _, f := range b.live.All() {
		n += f.open()
	}
	return n
}

// Filter forwards the connections of one listener to one cluster.
type Filter struct {
	// read-only after construction
	builder  *Builder
	conf     *resource.TCPFilter
	cluster  filters.Cluster
	balancer *balancer
	counters *counters
	log      *slog.Logger

	mu       sync.Mutex
	sessions map[*session]struct{} // guarded by mu
	done     func()                // of the retirement, until it is called; guarded by mu
	retired  bool                  // guarded by mu
}

// Accept implements filters.Network.
func (f *Filter) Accept(c *netloop.Conn) netloop.Driver {
	s := &session{filter: f, down: c, tried: make([]*filters.Endpoint, 0, 1)}
	f.mu.Lock()
	f.sessions[s] = struct{}{}
	f.mu.Unlock()
	f.counters.accepted.Add(1)
	f.counters.open.Add(1)
	c.SetUnshared()
	s.start()
	return (*downstream)(s)
}

// Retire implements filters.Network. Connections whose endpoint r.Next also
// has go on there.
func (f *Filter) Retire(r filters.Retirement) {
	f.mu.Lock()
	f.retired = true
	f.done = r.Done
	sessions := slices.Collect(maps.Keys(f.sessions))
	f.mu.Unlock()
	next, _ := r.Next.(*Filter) // another kind of filter, or none, takes no connections over
	for _, s := range sessions {
		loop := s.down.Loop()
		loop.Post(func() { s.leave(loop, next, r) })
	}
	f.settle()
}

// EndpointsMoved implements filters.Mover.
func (f *Filter) EndpointsMoved(deadline time.Duration) {
	f.mu.Lock()
	sessions := slices.Collect(maps.Keys(f.sessions))
	f.mu.Unlock()
	for _, s := range sessions {
		loop := s.down.Loop()
		loop.Post(func() { s.review(loop, deadline) })
	}
}

// settle calls Done once the last connection has left.
func (f *Filter) settle() {
	f.mu.Lock()
	var done func()
	gone := f.retired && len(f.sessions) == 0
	if gone {
		done, f.done = f.done, nil
	}
	f.mu.Unlock()
	if gone {
		f.builder.live.Remove(f)
	}
	if done != nil {
		done()
	}
}

func (f *Filter) remove(s *session) {
	f.mu.Lock()
	delete(f.sessions, s)
	f.mu.Unlock()
	f.settle()
}

func (f *Filter) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// take adopts a session of a retired filter; false when it is retired itself.
func (f *Filter) take(s *session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retired {
		return false
	}
	f.sessions[s] = struct{}{}
	return true
}

// cut ends all connections.
func (f *Filter) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sessions {
		s.down.Loop().Post(func() { s.end(retired) })
	}
}
