package grpcjson

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// reason says why a call failed, as the metrics spell it.
type reason string

const (
	reasonUnknown     reason = "unknown_method" // no rule fits
	reasonUnready     reason = "no_descriptors" // reflection has not answered yet
	reasonRequest     reason = "bad_request"    // the client's message
	reasonLarge       reason = "request_too_large"
	reasonResponse    reason = "bad_response" // what came from upstream
	reasonLargeAnswer reason = "response_too_large"
	reasonStatus      reason = "status" // upstream's own error
	reasonBudget      reason = "budget" // too much is in memory
	reasonSlow        reason = "slow"   // the client has not sent its message in time
	reasonCut         reason = "cut"    // upstream or the connection to it ended early
)

// none is the method of requests that mean none.
const none = ""

// counters are the metrics of all filters.
type counters struct {
	requests *prometheus.CounterVec
	failures *prometheus.CounterVec
	messages *prometheus.CounterVec
}

func newCounters() *counters {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragoman_grpcjson_" + name, Help: help}, append([]string{"listener", "method"}, labels...))
	}
	return &counters{
		requests: vec("requests_total", "Requests that were taken for calls of a method of gRPC."),
		failures: vec("failures_total", "Calls that have failed, by reason.", "reason"),
		messages: vec("messages_total", "Messages that were converted, by direction: request or response.", "direction"),
	}
}

// Describe implements prometheus.Collector.
func (c *counters) Describe(ch chan<- *prometheus.Desc) {
	c.requests.Describe(ch)
	c.failures.Describe(ch)
	c.messages.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *counters) Collect(ch chan<- prometheus.Metric) {
	c.requests.Collect(ch)
	c.failures.Collect(ch)
	c.messages.Collect(ch)
}

// methodCounters are those of one method.
type methodCounters struct {
	all              *counters
	listener, name   string
	requests         prometheus.Counter
	taken, delivered prometheus.Counter // messages
}

func (c *counters) method(listener, name string) *methodCounters {
	return &methodCounters{
		all: c, listener: listener, name: name, requests: c.requests.WithLabelValues(listener, name),
		taken: c.messages.WithLabelValues(listener, name, "request"), delivered: c.messages.WithLabelValues(listener, name, "response"),
	}
}

func (m *methodCounters) failed(why reason) {
	m.all.failures.WithLabelValues(m.listener, m.name, string(why)).Inc()
}

// service is the methods that there are, with their counters.
type service struct {
	api     *transcode.API
	methods map[*transcode.Method]*methodCounters
	none    *methodCounters
}

func (c *counters) service(listener string, api *transcode.API) *service {
	s := &service{api: api, methods: make(map[*transcode.Method]*methodCounters), none: c.method(listener, none)}
	if api == nil {
		return s
	}
	for _, m := range api.Methods() {
		s.methods[m] = c.method(listener, m.Name)
	}
	return s
}

// of gives the counters of a method.
func (s *service) of(m *transcode.Method) *methodCounters {
	if c := s.methods[m]; c != nil {
		return c
	}
	return s.none
}
