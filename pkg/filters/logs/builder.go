// Package logs is the filter of logs adapters, the one filter of an internal
// listener: nobody connects to it. From when the listener is committed until it is
// retired it ships logs, by a pipeline of pkg/logs.
package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/logs"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/elasticsearch"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/loki"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/otlp"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/peer"
	"github.com/dragoman-mesh/dragoman/pkg/logs/sink/stdout"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes filters, and keeps the metrics of each listener.
type Builder struct {
	// read-only after construction
	log  *slog.Logger
	out  io.Writer
	host map[string]string
	// positions is the folder for files of positions that no document names; "": they
	// are beside the logs.
	positions string
	lag       *prometheus.Desc
	running   filters.Live[*filter]

	mu       sync.Mutex
	counters map[string]*logs.Counters // by listener; guarded by mu
}

// Options of a Builder; the zero value is the process' own.
type Options struct {
	// Stdout is what the sink stdout writes to.
	Stdout io.Writer
	// Getenv tells pod, namespace and node, and by DRAGOMAN_LOG_POSITIONS the folder
	// for files of positions that no document names.
	Getenv func(string) string
}

// NewBuilder returns a builder without filters.
func NewBuilder(log *slog.Logger, o Options) *Builder {
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	b := &Builder{
		log: log, out: o.Stdout, host: map[string]string{}, positions: o.Getenv("DRAGOMAN_LOG_POSITIONS"), counters: map[string]*logs.Counters{},
		lag: prometheus.NewDesc("dragoman_logs_lag_bytes", "Bytes of the files that have not been delivered yet.", []string{"adapter", "source"}, nil),
	}
	for variable, attribute := range map[string]string{
		"POD_NAME": "k8s.pod.name", "POD_NAMESPACE": "k8s.namespace.name", "NODE_NAME": "k8s.node.name",
		"POD_UID": "k8s.pod.uid",
	} {
		if v := o.Getenv(variable); v != "" {
			b.host[attribute] = v
		}
	}
	return b
}

// Build implements filters.Builder for a *resource.LogsFilter. Nothing is read
// before the filter is started.
func (b *Builder) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	conf, ok := cfg.(*resource.LogsFilter)
	if !ok {
		return nil, fmt.Errorf("building a logs filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	log := b.log
	if ctx.Log != nil {
		log = ctx.Log
	}
	to, err := b.sink(conf, ctx, log)
	if err != nil {
		return nil, err
	}
	p, err := logs.New(logs.Options{Config: b.placed(conf), Sink: to, Host: b.host, Metrics: b.countersOf(ctx.Listener), Log: log})
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return &filter{builder: b, listener: ctx.Listener, pipeline: p, sink: to, log: log}, nil
}

// placed is a configuration with the place that this process has for positions.
func (b *Builder) placed(conf *resource.LogsFilter) *resource.LogsFilter {
	if b.positions == "" || !conf.PositionsByDefault {
		return conf
	}
	own := *conf // it is compared with others, and must stay
	own.Positions = filepath.Join(b.positions, filepath.Base(conf.Positions))
	return &own
}

func (b *Builder) countersOf(listener string) *logs.Counters {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.counters[listener]
	if c == nil {
		c = logs.NewCounters(listener)
		b.counters[listener] = c
	}
	return c
}

func (b *Builder) sink(conf *resource.LogsFilter, ctx filters.Context, log *slog.Logger) (sink.Sink, error) {
	config := conf.Sink.Peer()
	if config == nil {
		return stdout.New(b.out), nil
	}
	cluster, ok := ctx.Clusters.Cluster(config.Cluster)
	if !ok {
		return nil, fmt.Errorf("no cluster %q", config.Cluster)
	}
	if s, ok := conf.Sink.(*resource.LogsLoki); ok {
		whole := *config // the configuration is compared with others, and must stay
		whole.Headers = loki.Headers(config.Headers, s.Tenant)
		config = &whole
	}
	p := peer.New(config, cluster, ctx.Secrets)
	switch s := conf.Sink.(type) {
	case *resource.LogsOTLP:
		return otlp.New(s, p, log)
	case *resource.LogsElasticsearch:
		return elasticsearch.New(p, s.Index, log)
	case *resource.LogsLoki:
		return loki.New(p, s.Labels, s.LabelsFrom), nil
	}
	return nil, fmt.Errorf("a sink is a %T", conf.Sink)
}

// Drain implements filters.Drainer: what is in the files is delivered, as far as
// there is time.
func (b *Builder) Drain(ctx context.Context) error {
	return filters.Together(b.running.All(), func(f *filter) error { return f.drain(ctx) })
}

// Describe implements prometheus.Collector. Of adapters that are not there yet
// nothing is known: the collector is an unchecked one.
func (b *Builder) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.counters {
		c.Collect(ch)
	}
	for _, f := range b.running.All() {
		for source, bytes := range f.pipeline.Lag() {
			ch <- prometheus.MustNewConstMetric(b.lag, prometheus.GaugeValue, float64(bytes), f.listener, source)
		}
	}
}
