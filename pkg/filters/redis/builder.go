// Package redis is the Redis filter: it makes one Redis of many servers.
//
// A client's commands are parsed only as far as they must be to find their end,
// their name and their keys; the bytes are forwarded as they came, over a few
// connections per server that all clients of a loop share. Replies are frames
// that are found and passed on, in the order of the requests.
//
// See README.md for what each class of command becomes.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the Redis filters of a process and keeps what they share: per
// loop the pools and the counters, and the logs of slow commands and hot keys.
type Builder struct {
	log      *slog.Logger
	commands *commandTable
	slow     slowLog
	hot      hotKeys

	mu      sync.Mutex // guards below
	workers map[*netloop.Loop]*worker
}

// NewBuilder returns a builder that logs to log.
func NewBuilder(log *slog.Logger) *Builder {
	return &Builder{log: log, commands: newCommandTable(), workers: map[*netloop.Loop]*worker{}}
}

// Build makes a filter of a *resource.RedisFilter.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	rc, ok := cfg.(*resource.RedisFilter)
	if !ok {
		return nil, fmt.Errorf("redis filter: configuration is a %T", cfg)
	}
	return newFilter(b, rc, ctx)
}

// worker returns the filter's part of a loop.
func (b *Builder) worker(l *netloop.Loop) *worker {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.workers[l]
	if w == nil {
		w = newWorker(b, l)
		b.workers[l] = w
	}
	return w
}

func (b *Builder) allWorkers() []*worker {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]*worker, 0, len(b.workers))
	for _, w := range b.workers {
		all = append(all, w)
	}
	return all
}

// serverVersion is the Redis version that HELLO names: the oldest whose
// commands are all understood.
func (b *Builder) serverVersion() string { return "7.0.0" }

// Drain asks every client to finish: those between two requests are closed at
// once, the others when they have their replies, at the latest when ctx ends.
func (b *Builder) Drain(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	left := b.allWorkers()
	for _, w := range left {
		w.loop.Post(func() {
			for _, f := range w.filters {
				f.seeOff(time.Until(deadline))
			}
		})
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if b.clients(ctx) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// clients counts the connected clients. A loop that did not answer in time has
// some.
func (b *Builder) clients(ctx context.Context) int {
	n := 0
	for _, w := range b.allWorkers() {
		err := w.loop.Call(ctx, func() {
			for _, f := range w.filters {
				n += f.clients.Len()
			}
		})
		if err != nil && !errors.Is(err, netloop.ErrStopped) {
			n++
		}
	}
	return n
}

// seeOff closes the clients of a filter without a successor.
func (f *localFilter) seeOff(deadline time.Duration) {
	if f.clients.Len() > 0 {
		f.closeAll(deadline)
	}
}

var (
	_ filters.Builder = (*Builder)(nil)
	_ filters.Drainer = (*Builder)(nil)
)

// Describe sends nothing: the metrics depend on the listeners.
func (b *Builder) Describe(chan<- *prometheus.Desc) {}
