// Package metrics is the HTTP filter that answers a scraper with the metrics of
// all sources of an adapter. It is the last of its chain.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/relabel"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/scrape"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/standard"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes filters, and keeps the sources of the same configuration from one
// filter to the next: their sockets and what they have counted.
type Builder struct {
	// read-only after construction
	kinds   *standard.Registry
	sockets *sockets.Pool
	writer  *expose.Writer
	metrics *counters
	log     *slog.Logger

	closing sync.WaitGroup // sources that are being closed

	mu      sync.Mutex
	sources []*source // guarded by mu
}

// source is one that runs.
type source struct {
	// read-only after construction
	listener, name string
	kind           resource.MetricsKind
	maxSeries      uint32
	maxBytes       int64
	runner         *scrape.Runner

	filters int // that have it; guarded by Builder.mu
}

// NewBuilder returns a builder without filters.
func NewBuilder(log *slog.Logger) *Builder {
	pool := sockets.NewPool()
	pool.Log = log
	return &Builder{
		kinds: standard.Kinds(), sockets: pool, writer: expose.NewWriter(), metrics: newCounters(), log: log,
	}
}

// BuildHTTP implements filters.HTTPBuilder for a *resource.MetricsFilter.
// Sources that are new are opened, and so have their ports when it returns.
func (b *Builder) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	conf, ok := cfg.(*resource.MetricsFilter)
	if !ok {
		return nil, fmt.Errorf("building a metrics filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	f := &filter{builder: b, path: conf.Path, counters: b.metrics.of(ctx.Listener), turns: make(chan struct{}, maxScrapes)}
	options := scrape.Options{MinInterval: conf.MinInterval}
	if !conf.ExcludeProxy {
		options.Proxy = ctx.Metrics
	}
	var errs []error
	for i := range conf.Sources {
		part, err := b.part(f, conf, &conf.Sources[i], ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("sources[%d] (%s): %w", i, conf.Sources[i].Name, err))
			continue
		}
		options.Parts = append(options.Parts, part)
	}
	if err := errors.Join(errs...); err != nil {
		f.Close()
		return nil, err
	}
	f.scraper = scrape.New(options)
	return f, nil
}

// part makes a source run for the filter.
func (b *Builder) part(f *filter, conf *resource.MetricsFilter, s *resource.MetricsSource, ctx filters.Context) (scrape.Part, error) {
	relabeler, err := relabel.New(relabel.Config{
		Prefix: s.Prefix, Labels: s.Labels,
		Rules: slices.Concat(s.Rules, conf.Rules), Relabel: slices.Concat(s.Relabel, conf.Relabel),
	})
	if err != nil {
		return scrape.Part{}, err
	}
	running, err := b.open(conf, s, ctx)
	if err != nil {
		return scrape.Part{}, err
	}
	f.sources = append(f.sources, running)
	return scrape.Part{Name: s.Name, Runner: running.runner, Relabeler: relabeler, MaxSeries: int(conf.SeriesPerSource)}, nil
}

// open finds the source that runs with this configuration already, or makes one.
func (b *Builder) open(conf *resource.MetricsFilter, s *resource.MetricsSource, ctx filters.Context) (*source, error) {
	want := &source{
		listener: ctx.Listener, name: s.Name, kind: s.Kind, maxSeries: conf.SeriesPerSource, maxBytes: conf.BytesPerSource, filters: 1,
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, running := range b.sources {
		if running.same(want) {
			running.filters++
			return running, nil
		}
	}
	log := b.logger(ctx).With("source", s.Name)
	opened, err := b.kinds.Open(s.Kind, metrics.Env{
		Name: s.Name, MaxSeries: int(conf.SeriesPerSource), MaxBytes: conf.BytesPerSource, Secrets: ctx.Secrets, Sockets: b.sockets, Log: log,
	})
	if err != nil {
		return nil, err
	}
	want.runner = scrape.NewRunner(opened, log)
	b.sources = append(b.sources, want)
	return want, nil
}

func (b *Builder) logger(ctx filters.Context) *slog.Logger {
	if ctx.Log != nil {
		return ctx.Log
	}
	return b.log
}

func (s *source) same(other *source) bool {
	return s.listener == other.listener && s.name == other.name && s.maxSeries == other.maxSeries && s.maxBytes == other.maxBytes &&
		reflect.DeepEqual(s.kind, other.kind)
}

// release closes the sources that no filter has any more. That may take as long
// as a source is being asked something, and so goes on beside.
func (b *Builder) release(sources []*source) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range sources {
		if s.filters--; s.filters > 0 {
			continue
		}
		b.sources = slices.DeleteFunc(b.sources, func(other *source) bool { return other == s })
		b.closing.Go(func() {
			if err := s.runner.Close(); err != nil {
				b.log.Warn("closing a source of metrics", "listener", s.listener, "source", s.name, "error", err)
			}
		})
	}
}

// Drain implements filters.Drainer: it waits for sources that are being closed.
func (b *Builder) Drain(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		b.closing.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing sources of metrics: %w", ctx.Err())
	}
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) { b.metrics.Describe(ch) }

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) { b.metrics.Collect(ch) }
