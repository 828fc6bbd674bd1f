package server

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the server's own. Label values are bounded: types outside the
// protocol's six are one.
type metrics struct {
	connected   *prometheus.Desc
	resources   *prometheus.Desc
	pushes      *prometheus.CounterVec
	sentCount   *prometheus.CounterVec
	sentBytes   *prometheus.CounterVec
	nacks       *prometheus.CounterVec
	stale       prometheus.Counter
	refusals    *prometheus.CounterVec
	coalesced   prometheus.Counter
	convergence prometheus.Histogram

	mu sync.Mutex
	// mu guards below
	meters map[rank]*typeMeter
}

// typeMeter counts what goes out of one type.
type typeMeter struct {
	pushes, resources, bytes, nacks prometheus.Counter
}

func (m *typeMeter) sent(r *response) {
	m.pushes.Inc()
	m.resources.Add(float64(r.count))
	m.bytes.Add(float64(r.bytes))
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragoman_xds_server_" + name, Help: help}, labels)
	}
	return &metrics{
		connected: prometheus.NewDesc("dragoman_xds_server_connected_streams", "Streams of admitted nodes.", []string{"protocol"}, nil),
		resources: prometheus.NewDesc("dragoman_xds_server_resources", "Resources that exist.", nil, nil),
		pushes:    counter("pushes_total", "Responses sent.", "type"),
		sentCount: counter("resources_sent_total", "Resources sent, removals included.", "type"),
		sentBytes: counter("sent_bytes_total", "Bytes of responses sent.", "type"),
		nacks:     counter("nacks_total", "Responses that clients have refused.", "type"),
		refusals:  counter("refused_total", "Streams and names refused.", "reason"),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragoman_xds_server_stale_nonces_total", Help: "Requests that answered a response which is no longer the newest.",
		}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "dragoman_xds_server_coalesced_total", Help: "Changes that were overtaken by the next one before they were sent.",
		}),
		convergence: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "dragoman_xds_server_convergence_seconds",
			Help:    "From the observation of a change to a node's ACK of it.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 30},
		}),
		meters: map[rank]*typeMeter{},
	}
}

// label is a type in metrics.
func (r rank) label() string {
	switch r {
	case rankCluster:
		return "cds"
	case rankEndpoint:
		return "eds"
	case rankListener:
		return "lds"
	case rankRoute:
		return "rds"
	case rankSecret:
		return "sds"
	case rankExtension:
		return "ecds"
	default:
		return "other"
	}
}

func (m *metrics) of(typeURL string) *typeMeter {
	r := rankOf(typeURL)
	m.mu.Lock()
	defer m.mu.Unlock()
	meter := m.meters[r]
	if meter == nil {
		label := r.label()
		meter = &typeMeter{
			pushes: m.pushes.WithLabelValues(label), resources: m.sentCount.WithLabelValues(label),
			bytes: m.sentBytes.WithLabelValues(label), nacks: m.nacks.WithLabelValues(label),
		}
		m.meters[r] = meter
	}
	return meter
}

func (m *metrics) refuse(reason refusalReason) { m.refusals.WithLabelValues(string(reason)).Inc() }

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.pushes, m.sentCount, m.sentBytes, m.nacks, m.refusals, m.stale, m.coalesced, m.convergence}
}

// Describe is part of prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	ch <- s.metrics.connected
	ch <- s.metrics.resources
	for _, c := range s.metrics.collectors() {
		c.Describe(ch)
	}
}

// Collect is part of prometheus.Collector.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	var streams [2]int
	for _, n := range s.registry.list() {
		if n.admitted.Load() {
			streams[n.protocol]++
		}
	}
	for p, count := range streams {
		ch <- prometheus.MustNewConstMetric(s.metrics.connected, prometheus.GaugeValue, float64(count), Protocol(p).String())
	}
	ch <- prometheus.MustNewConstMetric(s.metrics.resources, prometheus.GaugeValue, float64(s.resources.Load()))
	for _, c := range s.metrics.collectors() {
		c.Collect(ch)
	}
}
