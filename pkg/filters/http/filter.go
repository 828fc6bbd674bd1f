package http

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Filter is one listener's HTTP: a server for its connections, and the chain
// that its requests pass. A connection outlives the configuration it was
// accepted with: the successor takes the servers over, and the next request on
// each connection passes the successor's chain.
type Filter struct {
	// read-only after construction
	builder *Builder
	conf    *resource.HTTPManager
	log     *slog.Logger
	chain   *chain
	server  *server

	mu      sync.Mutex
	adopted []*server // of filters before this one, with connections; guarded by mu
	retired bool      // guarded by mu
}

// Accept implements filters.Network. The connection leaves the loop, unless the
// loop can serve it: see README.md.
func (f *Filter) Accept(c *netloop.Conn) netloop.Driver {
	cfg := c.ListenerTLS()
	if rt := f.chain.router; rt != nil && cfg == nil && f.conf.Codec != resource.HTTPTwo {
		return f.server.accept(c, rt)
	}
	socket, err := c.Detach()
	if err != nil {
		f.chain.counters.refused[refusedSocket].Add(1)
		f.log.Warn("a connection could not be taken over", "error", err)
		return nil
	}
	f.server.take(socket, cfg)
	return nil
}

// Retire implements filters.Network. Where there is a successor, connections
// go on there; requests under way end here.
func (f *Filter) Retire(r filters.Retirement) {
	f.mu.Lock()
	f.retired = true
	servers := append(slices.Clone(f.adopted), f.server)
	f.adopted = nil
	f.mu.Unlock()
	next, _ := r.Next.(*Filter)
	switch {
	case r.Cut:
		for _, s := range servers {
			s.close()
		}
	case next != nil && next.adopt(servers):
	default:
		next = nil
	}
	go f.leave(r, next, servers)
}

// leave waits for what is under way, for the deadline at most.
func (f *Filter) leave(r filters.Retirement, next *Filter, servers []*server) {
	defer r.Done()
	ctx, cancel := context.WithTimeout(context.Background(), r.Deadline)
	defer cancel()
	if next == nil && !r.Cut {
		shutdown(ctx, servers)
	}
	if r.Cut {
		f.chain.cut()
	}
	if err := f.chain.running.Wait(ctx); err != nil {
		f.chain.counters.cut.Add(uint64(f.chain.cut()))
		const farewell = 5 * time.Second
		last, stop := context.WithTimeout(context.Background(), farewell)
		defer stop()
		_ = f.chain.running.Wait(last) // a filter that does not heed its context
	}
	f.chain.close()
	f.builder.live.Remove(f)
}

// shutdown lets servers end, and closes them when ctx is done.
func shutdown(ctx context.Context, servers []*server) {
	var wg sync.WaitGroup
	for _, s := range servers {
		wg.Go(func() { _ = s.shutdown(ctx) }) // an error says that it had to be closed
	}
	wg.Wait()
}

// adopt takes servers over, whose connections then pass this filter's chain. It
// refuses where their limits are not the ones they would have here.
func (f *Filter) adopt(servers []*server) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.retired {
		return false
	}
	for _, s := range servers {
		if !s.suits(f.conf) {
			return false
		}
	}
	for _, s := range servers {
		if s.connections() == 0 {
			s.close()
			continue
		}
		s.chain.Store(f.chain)
		f.adopted = append(f.adopted, s)
	}
	return true
}

// drain ends all connections at the end of their requests, or of ctx.
func (f *Filter) drain(ctx context.Context) error {
	f.mu.Lock()
	servers := append(slices.Clone(f.adopted), f.server)
	f.mu.Unlock()
	shutdown(ctx, servers)
	return ctx.Err()
}
