// Package transform is the HTTP filter of API adapters: it changes requests on
// their way to an app, and its responses, as the route of the request says.
package transform

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes filters, which share a budget of memory.
type Builder struct {
	budget  *bodies.Budget
	metrics *metrics
	uploads sync.WaitGroup // of bodies that are changed on their way
	record  func(Step)     // nil: nobody listens
}

// budgetBytes is how much of all bodies together may be in memory, in one
// process.
const budgetBytes = 256 << 20

// NewBuilder returns a builder.
func NewBuilder() *Builder {
	return &Builder{budget: bodies.NewBudget(budgetBytes), metrics: newMetrics()}
}

// BuildHTTP implements filters.HTTPBuilder for a *resource.TransformFilter.
func (b *Builder) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	conf, ok := cfg.(*resource.TransformFilter)
	if !ok {
		return nil, fmt.Errorf("building a transform filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	b.metrics.open(ctx.Listener)
	return &filter{builder: b, conf: conf, name: ctx.Filter, listener: ctx.Listener}, nil
}

// Drain implements filters.Drainer: it waits for bodies that are still read.
func (b *Builder) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		b.uploads.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ending uploads: %w", ctx.Err())
	}
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) { b.metrics.Describe(ch) }

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) { b.metrics.Collect(ch) }

// filter is one listener's.
type filter struct {
	// read-only after construction
	builder  *Builder
	conf     *resource.TransformFilter
	name     string // in the chain, by which routes configure it
	listener string
}

// Close implements filters.HTTP.
func (f *filter) Close() { f.builder.metrics.close(f.listener) }

// Handler implements filters.HTTP.
func (f *filter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(w, r, next, 0) })
}

// serve has next answer as the route of a request says. depth counts routes that
// a request had before.
func (f *filter) serve(w http.ResponseWriter, r *http.Request, next http.Handler, depth int) {
	conf, ok := filters.ExchangeOf(r.Context()).FilterConfig(f.name).(*resource.TransformRoute)
	if !ok {
		next.ServeHTTP(w, r)
		return
	}
	x := &exchange{filter: f, conf: conf, w: w, in: r, values: newValues(r, conf.Path), depth: depth}
	defer x.release()
	x.serve(next)
}
