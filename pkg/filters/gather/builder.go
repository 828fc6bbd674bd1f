package gather

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes the filters of a process, and keeps their counters.
type Builder struct{ metrics *metrics }

// NewBuilder returns a builder without filters.
func NewBuilder() *Builder { return &Builder{newMetrics()} }

// BuildHTTP implements filters.HTTPBuilder for a *resource.GatherFilter.
func (b *Builder) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	if _, ok := cfg.(*resource.GatherFilter); !ok {
		return nil, fmt.Errorf("building a gather filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	return &filter{name: ctx.Filter, counters: b.metrics.of(ctx.Listener)}, nil
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range b.metrics.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	for _, c := range b.metrics.all() {
		c.Collect(ch)
	}
}

// metrics of all listeners.
type metrics struct {
	requests, partial, failed, leaves, hedges, panics *prometheus.CounterVec

	duration *prometheus.HistogramVec
}

// counters are those of one listener.
type counters struct {
	requests, partial, hedges, panics prometheus.Counter
	failed                            *prometheus.CounterVec // by reason
	leaves                            *prometheus.CounterVec // by outcome
	duration                          prometheus.Observer
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragoman_gather_" + name, Help: help}, append([]string{"listener"}, labels...))
	}
	return &metrics{
		requests: counter("requests_total", "Requests that were to be answered by several servers."),
		partial:  counter("partial_total", "Answers without what some servers should have added."),
		failed:   counter("failed_total", "Requests that were refused or had too few answers, by reason.", "reason"),
		leaves:   counter("leaves_total", "Servers that were asked, by what became of it.", "outcome"),
		hedges:   counter("hedges_total", "Requests that were sent once more since a server was late or failed."),
		panics:   counter("panics_total", "Branches that ended by a panic of a filter."),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dragoman_gather_duration_seconds", Help: "Time from a request to the answer made of several.",
			Buckets: []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, []string{"listener"}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.partial, m.failed, m.leaves, m.hedges, m.panics, m.duration}
}

func (m *metrics) of(listener string) *counters {
	own := prometheus.Labels{"listener": listener}
	return &counters{
		requests: m.requests.With(own), partial: m.partial.With(own), hedges: m.hedges.With(own), panics: m.panics.With(own),
		failed: m.failed.MustCurryWith(own), leaves: m.leaves.MustCurryWith(own), duration: m.duration.With(own),
	}
}
