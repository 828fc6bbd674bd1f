package http

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// refusal says why a connection or request was turned away before any filter
// saw it.
type refusal uint8

const (
	refusedSocket    refusal = iota // the socket could not be taken over
	refusedMalformed                // what arrived is no HTTP
	refusedLarge
	refusedVersion
	refusedHost
	refusedPath
	refusedHeader
	refusedConnect
	refusedTLS   // the handshake has failed
	refusedFlood // a client of HTTP/2 makes work for nothing
	refusals
)

func (r refusal) String() string {
	return [...]string{"socket", "malformed", "too_large", "version", "host", "path", "header", "connect", "tls", "flood"}[r]
}

// counters are those of one listener. They outlive its filters.
type counters struct {
	requests, panics, cut, unlogged atomic.Uint64
	active                          atomic.Int64
	refused                         [refusals]atomic.Uint64
	classes                         [6]atomic.Uint64 // of responses, by the first digit of their status
}

type metrics struct {
	listeners filters.ByListener[counters]
	routes    *routeMetrics

	requests, responses, active, refused, panics, cut, unlogged *prometheus.Desc
}

func newMetrics() *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_http_"+name, help, append([]string{"listener"}, labels...), nil)
	}
	return &metrics{
		routes:    newRouteMetrics(),
		requests:  desc("downstream_requests_total", "Requests received."),
		responses: desc("downstream_responses_total", "Responses sent, by the class of their status; 0xx: ended without one.", "class"),
		active:    desc("downstream_requests_active", "Requests under way."),
		refused:   desc("downstream_refused_total", "Connections and requests turned away before any filter, by reason.", "reason"),
		panics:    desc("filter_panics_total", "Requests that a filter has panicked over."),
		cut:       desc("downstream_cut_total", "Requests ended because their configuration was replaced and the deadline had passed."),
		unlogged:  desc("access_log_lines_lost_total", "Lines of access logs that were lost, since their file could not keep up."),
	}
}

func (m *metrics) describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.requests, m.responses, m.active, m.refused, m.panics, m.cut, m.unlogged} {
		ch <- d
	}
	m.routes.describe(ch)
}

func (m *metrics) collect(ch chan<- prometheus.Metric) {
	m.routes.collect(ch)
	for name, c := range m.listeners.All() {
		count := func(d *prometheus.Desc, n uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{name}, labels...)...)
		}
		count(m.requests, c.requests.Load())
		count(m.panics, c.panics.Load())
		count(m.cut, c.cut.Load())
		count(m.unlogged, c.unlogged.Load())
		ch <- prometheus.MustNewConstMetric(m.active, prometheus.GaugeValue, float64(c.active.Load()), name)
		for class := range c.classes {
			count(m.responses, c.classes[class].Load(), string(rune('0'+class))+"xx")
		}
		for r := range refusals {
			count(m.refused, c.refused[r].Load(), r.String())
		}
	}
}
