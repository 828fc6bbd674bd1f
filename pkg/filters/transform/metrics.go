package transform

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// direction is a request or a response.
type direction string

const (
	request  direction = "request"
	response direction = "response"
)

// metrics are those of all filters, by listener and route.
type metrics struct {
	conversions *prometheus.CounterVec
	failures    *prometheus.CounterVec
	read        *prometheus.CounterVec
	written     *prometheus.CounterVec
	seconds     *prometheus.HistogramVec

	mu   sync.Mutex
	live map[string]int // filters by listener; guarded by mu
}

func newMetrics() *metrics {
	counter := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragoman_transform_" + name, Help: help},
			append([]string{"listener", "route", "direction"}, more...))
	}
	return &metrics{
		conversions: counter("conversions_total", "Bodies that were changed."),
		failures:    counter("failures_total", "Requests and responses that were refused, by the reason.", "reason"),
		read:        counter("read_bytes_total", "Bytes of bodies that were changed, before."),
		written:     counter("written_bytes_total", "Bytes of bodies that were changed, after."),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dragoman_transform_duration_seconds", Help: "How long changing a body took; of a stream, until its end.",
			Buckets: prometheus.ExponentialBuckets(5e-6, 4, 10),
		}, []string{"listener", "route", "direction"}),
		live: map[string]int{},
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.conversions, m.failures, m.read, m.written, m.seconds}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(ch)
	}
}

func (m *metrics) open(listener string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live[listener]++
}

// close forgets what is counted of a listener that is gone.
func (m *metrics) close(listener string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live[listener]--; m.live[listener] > 0 {
		return
	}
	delete(m.live, listener)
	labels := prometheus.Labels{"listener": listener}
	for _, v := range []*prometheus.CounterVec{m.conversions, m.failures, m.read, m.written} {
		v.DeletePartialMatch(labels)
	}
	m.seconds.DeletePartialMatch(labels)
}

// converted counts a body that was changed.
func (x *exchange) converted(d direction, before, after int, took time.Duration) {
	m, listener, route := x.filter.builder.metrics, x.filter.listener, x.conf.Name
	m.conversions.WithLabelValues(listener, route, string(d)).Inc()
	m.read.WithLabelValues(listener, route, string(d)).Add(float64(before))
	m.written.WithLabelValues(listener, route, string(d)).Add(float64(after))
	m.seconds.WithLabelValues(listener, route, string(d)).Observe(took.Seconds())
}

// failed counts a refusal.
func (x *exchange) failed(d direction, e *refusal) {
	x.filter.builder.metrics.failures.WithLabelValues(x.filter.listener, x.conf.Name, string(d), e.reason).Inc()
}
