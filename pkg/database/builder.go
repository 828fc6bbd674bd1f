package database

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/sqlroute"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder keeps what the filters for one protocol share in a process, and what
// outlives a configuration: counters, gates and who is connecting.
type Builder struct {
	// read-only after construction
	Metrics *Metrics
	Dials   *Dials
	// Patience is how long a login keeps its turn to connect while it waits for its
	// client.
	Patience time.Duration
	system   attribute.KeyValue
	title    string

	live filters.Live[*Filter]

	mu    sync.Mutex // guards below
	gates map[GateKey]*Gate
}

// usualPatience is more than a client on this machine needs that does nothing else,
// and less than those notice who wait for the turn of one that does.
const usualPatience = 250 * time.Millisecond

// GateKey is whom the number of sessions is limited to.
type GateKey struct{ Listener, Cluster string }

// NewBuilder returns one for a protocol whose system is known to traces by a
// name, as semconv.DBSystemNameMySQL. title is its name for people.
func NewBuilder(o MetricsOptions, system attribute.KeyValue, title string) *Builder {
	return &Builder{
		Metrics: NewMetrics(o), Dials: NewDials(o.Filter), Patience: usualPatience, system: system, title: title,
		gates: map[GateKey]*Gate{},
	}
}

// FilterOptions are a filter's own.
type FilterOptions struct {
	Conf       *resource.DatabaseFilter
	Context    filters.Context
	Log        *slog.Logger  // where Context has none
	OtherLimit time.Duration // for other credentials than those that a server refuses
	// Part makes what the protocol has on a loop besides sessions; nil: nothing.
	Part func(*Part) LoopPart
}

// NewFilter makes what filters of all protocols have. It is live from then on,
// until it is retired and its last session has left.
func (b *Builder) NewFilter(o FilterOptions) (*Filter, error) {
	conf, ctx := o.Conf, o.Context
	cluster, ok := ctx.Clusters.Cluster(conf.Cluster)
	if !ok {
		return nil, fmt.Errorf("no cluster %q", conf.Cluster)
	}
	log := ctx.Log // which names the listener
	if log == nil {
		log = o.Log.With("listener", ctx.Listener)
	}
	f := &Filter{
		b: b, Conf: conf, Context: ctx, Cluster: cluster, Log: log.With("cluster", conf.Cluster),
		Route: sqlroute.New(cluster, conf.Target), Rotation: NewRotation(o.OtherLimit, ctx.Secrets, &conf.Login),
		own: o.Part, parts: map[*netloop.Loop]*Part{},
	}
	f.Tracing = NewTracing(TracingOptions{
		Tracer: ctx.Tracer, Config: conf.Tracing, System: b.system, Environment: ctx.Environment, Listener: ctx.Listener, Log: f.Log,
	})
	f.unwatch = f.Route.Watch(f.rolesMoved)
	b.live.Add(f)
	b.mu.Lock()
	defer b.mu.Unlock()
	key := f.GateKey()
	if b.gates[key] == nil {
		b.gates[key] = &Gate{}
	}
	f.gate = b.gates[key]
	f.gate.Resize(conf.Limits.MaxSessions)
	return f, nil
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) {
	b.Metrics.Describe(ch)
	b.Dials.Describe(ch)
}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	b.Dials.Collect(ch)
	b.Metrics.Collect(ch)
}

// Open is the number of sessions.
func (b *Builder) Open() int {
	n := 0
	for _, f := range b.live.All() {
		n += f.Open()
	}
	return n
}

// Drain implements filters.Drainer: it asks every session to end at the next
// boundary of a transaction, and cuts what is left when ctx is done.
func (b *Builder) Drain(ctx context.Context) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(time.Minute)
	}
	for _, f := range b.live.All() {
		f.each(func(s *Session) { s.Drain(time.Until(deadline)) })
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for b.Open() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			n := b.Open()
			for _, f := range b.live.All() {
				f.each(func(s *Session) { s.self.Cut() })
			}
			return fmt.Errorf("closing %d sessions of %s: %w", n, b.title, ctx.Err())
		}
	}
	return nil
}
