// Package grpcjson is the HTTP filter between gRPC and JSON: clients with JSON
// before a gRPC server, and the other way round.
package grpcjson

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes filters.
type Builder struct {
	// read-only after construction
	log      *slog.Logger
	counters *counters
	budget   *bodies.Budget

	mu      sync.Mutex
	fetched []fetched // guarded by mu
}

// NewBuilder returns a builder, whose filters share a budget of memory.
func NewBuilder(log *slog.Logger, budget *bodies.Budget) *Builder {
	return &Builder{log: log, counters: newCounters(), budget: budget}
}

// BuildHTTP implements filters.HTTPBuilder for a *resource.GRPCJSONFilter.
// A file with descriptors is read here, and again when it changes.
func (b *Builder) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	conf, ok := cfg.(*resource.GRPCJSONFilter)
	if !ok {
		return nil, fmt.Errorf("building a filter between gRPC and JSON for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	f := &filter{name: ctx.Filter, listener: ctx.Listener, conf: conf, counters: b.counters, budget: b.budget, log: cmp.Or(ctx.Log, b.log)}
	f.service.Store(b.counters.service(ctx.Listener, conf.API))
	switch {
	case conf.File != "":
		d := &file{conf: conf}
		api, err := d.load()
		if err != nil {
			return nil, err
		}
		f.service.Store(b.counters.service(ctx.Listener, api))
		f.beside(func(running context.Context) { f.follow(running, d) })
	case conf.Reflection != "":
		if err := f.fetch(b, ctx); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) { b.counters.Describe(ch) }

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) { b.counters.Collect(ch) }

// filter is one listener's.
type filter struct {
	// read-only after construction
	name, listener string
	conf           *resource.GRPCJSONFilter
	counters       *counters
	budget         *bodies.Budget
	log            *slog.Logger
	stop           func() // of what looks for other descriptors; nil: nothing does

	service atomic.Pointer[service]
}

// Close implements filters.HTTP.
func (f *filter) Close() {
	if f.stop != nil {
		f.stop()
	}
}

// Handler implements filters.HTTP.
func (f *filter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conf, service := f.conf, f.service.Load()
		if own, ok := filters.ExchangeOf(r.Context()).FilterConfig(f.name).(*resource.GRPCJSONFilter); ok {
			conf = own
			service = f.counters.service(f.listener, own.API)
		}
		switch {
		case service.api == nil && f.conf.Reflection != "" && conf == f.conf:
			f.unready(w, r)
		case service.api == nil || len(service.methods) == 0 && !conf.Reverse: // no services: the filter is off
			next.ServeHTTP(w, r)
		case conf.Reverse:
			f.serveReverse(w, r, conf, service, next)
		default:
			f.serveForward(w, r, conf, service, next)
		}
	})
}

// unready answers while the descriptors are not there yet.
func (f *filter) unready(w http.ResponseWriter, r *http.Request) {
	f.service.Load().none.failed(reasonUnready)
	newProblem(http.StatusServiceUnavailable, reasonUnready, "the server's descriptors have not been fetched yet").answer(w, r)
}
