// Package http is the terminal network filter for HTTP: Envoy's
// HttpConnectionManager. Connections leave the event loops and are served by
// goroutines; requests pass a chain of HTTP filters.
//
// See README.md for what is supported and what becomes of connections when the
// configuration changes.
package http

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the HTTP connection managers of a process, and keeps their
// counters.
type Builder struct {
	chain   filters.HTTPChain
	log     *slog.Logger
	metrics *metrics
	logs    *logFiles
	live    filters.Live[*Filter] // with connections or requests, or not yet retired
}

// NewBuilder returns a builder whose chains are made of the filters of chain.
func NewBuilder(log *slog.Logger, chain filters.HTTPChain) *Builder {
	return &Builder{chain: chain, log: log, metrics: newMetrics(), logs: &logFiles{open: map[string]*logFile{}}}
}

// Build implements filters.Builder for a *resource.HTTPManager.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.HTTPManager)
	if !ok {
		return nil, fmt.Errorf("building an http filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	if ctx.Log == nil {
		ctx.Log = b.log
	}
	chain, err := b.newChain(conf, ctx)
	if err != nil {
		return nil, fmt.Errorf("building an http filter for listener %q: %w", ctx.Listener, err)
	}
	f := &Filter{builder: b, conf: conf, log: ctx.Log, chain: chain, server: newServer(conf, chain)}
	b.live.Add(f)
	return f, nil
}

// Drain implements filters.Drainer: connections end after the request that
// they are at, and are closed when ctx is done.
func (b *Builder) Drain(ctx context.Context) error {
	err := filters.Together(b.live.All(), func(f *Filter) error { return f.drain(ctx) })
	err = errors.Join(err, b.chain.Drain(ctx))
	b.logs.flush()
	return err
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) {
	b.metrics.describe(ch)
	b.chain.Describe(ch)
}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	b.metrics.collect(ch)
	b.chain.Collect(ch)
}
