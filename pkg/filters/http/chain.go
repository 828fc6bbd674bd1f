package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// chain is the filters of one configuration with the requests that pass them.
type chain struct {
	// read-only after construction
	conf     *resource.HTTPManager
	log      *slog.Logger
	handler  http.Handler
	filters  []filters.HTTP
	counters *counters

	mu      sync.Mutex
	running map[*exchange]struct{} // guarded by mu
	waiter  chan struct{}          // closed when running is empty; nil: nobody waits; guarded by mu
}

// newChain builds the filters. On an error those that were built are closed.
func (b *Builder) newChain(conf *resource.HTTPManager, ctx filters.Context) (*chain, error) {
	c := &chain{
		conf: conf, log: ctx.Log, counters: b.metrics.listener(ctx.Listener),
		running: map[*exchange]struct{}{},
	}
	for i := range conf.Filters {
		f := &conf.Filters[i]
		ctx.Filter = f.Name
		built, err := b.chain.BuildHTTP(f.Config, ctx)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("filter %q: %w", f.Name, err)
		}
		c.filters = append(c.filters, built)
	}
	c.handler = http.HandlerFunc(notFound)
	for _, f := range slices.Backward(c.filters) {
		c.handler = f.Handler(c.handler)
	}
	return c, nil
}

// notFound answers what no filter has answered.
func notFound(w http.ResponseWriter, r *http.Request) {
	filters.ExchangeOf(r.Context()).Explain("NR", "no_filter_answers")
	w.WriteHeader(http.StatusNotFound)
}

// serve has the filters answer one request.
func (c *chain) serve(w http.ResponseWriter, r *http.Request) {
	x := &exchange{chain: c}
	ctx, cancel := context.WithCancelCause(filters.WithExchange(r.Context(), x))
	x.cancel = cancel
	c.enter(x)
	defer func() {
		c.leave(x)
		cancel(nil)
		if p := recover(); p != nil {
			c.recovered(p)
		}
	}()
	c.handler.ServeHTTP(w, r.WithContext(ctx))
}

// recovered reports a filter's panic, and ends the connection.
func (c *chain) recovered(p any) {
	if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
		c.counters.panics.Add(1)
		c.log.Error("a filter has panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	panic(http.ErrAbortHandler)
}

func (c *chain) enter(x *exchange) {
	c.counters.requests.Add(1)
	c.counters.active.Add(1)
	c.mu.Lock()
	c.running[x] = struct{}{}
	c.mu.Unlock()
}

func (c *chain) leave(x *exchange) {
	c.counters.active.Add(-1)
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.running, x)
	if len(c.running) == 0 && c.waiter != nil {
		close(c.waiter)
		c.waiter = nil
	}
}

// wait returns when no request is under way, or with an error when ctx is done.
func (c *chain) wait(ctx context.Context) error {
	c.mu.Lock()
	if len(c.running) == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.waiter == nil {
		c.waiter = make(chan struct{})
	}
	waiter := c.waiter
	c.mu.Unlock()
	select {
	case <-waiter:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errRetired ends requests whose configuration is gone.
var errRetired = errors.New("the configuration of the request has been replaced")

// cut ends the requests under way and tells how many there were.
func (c *chain) cut() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for x := range c.running {
		x.cancel(errRetired)
	}
	return len(c.running)
}

func (c *chain) close() {
	for _, f := range c.filters {
		f.Close()
	}
}
