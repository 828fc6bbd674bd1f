package http

import (
	"cmp"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// routeCounters are those of all routes of one name at a listener.
type routeCounters struct {
	classes  [6]atomic.Uint64 // of responses, by the first digit of their status
	duration prometheus.Observer
}

// routeMetrics are the counters of named routes, which outlive their
// configurations.
type routeMetrics struct {
	responses *prometheus.Desc
	durations *prometheus.HistogramVec

	mu     sync.Mutex
	routes map[routeKey]*routeCounters // guarded by mu
}

type routeKey struct{ listener, route string }

func newRouteMetrics() *routeMetrics {
	labels := []string{"listener", "route"}
	return &routeMetrics{
		responses: prometheus.NewDesc("dragoman_http_route_responses_total",
			"Responses to requests of a route that has a name, by the class of their status; 0xx: ended without one.", append(labels, "class"), nil),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "dragoman_http_route_duration_seconds", Help: "Time from the head of a request to the end of its response, by the route's name.",
			Buckets: []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		}, labels),
		routes: map[routeKey]*routeCounters{},
	}
}

func (m *routeMetrics) of(listener, name string) *routeCounters {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := routeKey{listener, name}
	c, ok := m.routes[key]
	if !ok {
		c = &routeCounters{duration: m.durations.WithLabelValues(listener, name)}
		m.routes[key] = c
	}
	return c
}

// all gives the counters of a configuration's routes; those without a name have
// none.
func (m *routeMetrics) all(listener string, config *resource.RouteConfig) map[*resource.Route]*routeCounters {
	counters := map[*resource.Route]*routeCounters{}
	for i := range config.VirtualHosts {
		routes := config.VirtualHosts[i].Routes
		for j := range routes {
			if name := cmp.Or(routes[j].StatPrefix, routes[j].Name); name != "" {
				counters[&routes[j]] = m.of(listener, name)
			}
		}
	}
	return counters
}

func (m *routeMetrics) describe(ch chan<- *prometheus.Desc) {
	ch <- m.responses
	m.durations.Describe(ch)
}

func (m *routeMetrics) collect(ch chan<- prometheus.Metric) {
	m.durations.Collect(ch)
	m.mu.Lock()
	defer m.mu.Unlock()
	for key, c := range m.routes {
		for class := range c.classes {
			ch <- prometheus.MustNewConstMetric(m.responses, prometheus.CounterValue, float64(c.classes[class].Load()), key.listener, key.route, string(rune('0'+class))+"xx")
		}
	}
}
