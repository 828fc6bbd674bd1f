package tcp

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// reason says why the filter ended a connection.
type reason uint8

const (
	noEndpoint reason = iota
	connectFailure
	idleTimeout
	maxDuration
	retired
	reasons
)

func (r reason) String() string {
	return [...]string{"no_endpoint", "connect_failure", "idle_timeout", "max_duration", "retired"}[r]
}

// counters are those of one listener. They outlive its filters.
type counters struct {
	accepted, connects, failures atomic.Uint64
	received, sent               atomic.Uint64 // bytes
	open                         atomic.Int64
	closed                       [reasons]atomic.Uint64
}

type metrics struct {
	listeners filters.ByListener[counters]

	accepted, open, received, sent, connects, failures, closed *prometheus.Desc
}

func newMetrics() *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_tcp_"+name, help, append([]string{"listener"}, labels...), nil)
	}
	return &metrics{
		accepted: desc("downstream_connections_total", "Connections accepted."),
		open:     desc("downstream_connections", "Connections open now."),
		received: desc("downstream_received_bytes_total", "Bytes received from clients."),
		sent:     desc("downstream_sent_bytes_total", "Bytes sent to clients."),
		connects: desc("upstream_connects_total", "Upstream connections made."),
		failures: desc("upstream_connect_failures_total", "Upstream connects that failed."),
		closed:   desc("closed_total", "Connections ended by the filter, by reason.", "reason"),
	}
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) {
	m := b.metrics
	for _, d := range []*prometheus.Desc{m.accepted, m.open, m.received, m.sent, m.connects, m.failures, m.closed} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	m := b.metrics
	for name, c := range m.listeners.All() {
		count := func(d *prometheus.Desc, n uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{name}, labels...)...)
		}
		count(m.accepted, c.accepted.Load())
		count(m.received, c.received.Load())
		count(m.sent, c.sent.Load())
		count(m.connects, c.connects.Load())
		count(m.failures, c.failures.Load())
		ch <- prometheus.MustNewConstMetric(m.open, prometheus.GaugeValue, float64(c.open.Load()), name)
		for r := range reasons {
			count(m.closed, c.closed[r].Load(), r.String())
		}
	}
}
