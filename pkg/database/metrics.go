package database

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// MetricsOptions is what the metrics of one protocol call their own.
type MetricsOptions struct {
	Filter     string // in names, as in "postgres"
	LostCancel string // what has become of Stats.LostCancels

	// Helps of metrics that do not count quite the same in all protocols.
	Queries, Transactions, Errors, Cancels, Latency, Wait string
}

// Metrics are the counters of all listeners of one protocol.
type Metrics struct {
	PerLoop[Stats]

	// read-only after construction
	lostCancel string
	descs      sessionDescs
}

type sessionDescs struct {
	accepted, open, logins, queued, refused, closed, queries, transactions, received, sent *prometheus.Desc
	errors, cancels, connectFailures, slow, latency, login, wait                           *prometheus.Desc
}

// Desc describes a metric of a listener, by the name of the filter and its own,
// with labels besides the listener.
func Desc(filter, name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("dragoman_"+filter+"_"+name, help, append([]string{"listener"}, labels...), nil)
}

// NewMetrics returns some that have counted nothing.
func NewMetrics(o MetricsOptions) *Metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return Desc(o.Filter, name, help, labels...)
	}
	return &Metrics{
		lostCancel: o.LostCancel,
		descs: sessionDescs{
			accepted:        desc("downstream_connections_total", "Connections accepted."),
			open:            desc("downstream_connections", "Connections open now."),
			logins:          desc("sessions_total", "Sessions that a server has let in."),
			queued:          desc("queued_total", "Sessions that had to wait for their turn at limits.maxConnections."),
			refused:         desc("refused_total", "Sessions refused before they began, by reason.", "reason"),
			closed:          desc("closed_total", "Sessions ended by the filter, by reason.", "reason"),
			queries:         desc("queries_total", o.Queries),
			transactions:    desc("transactions_total", o.Transactions),
			received:        desc("downstream_received_bytes_total", "Bytes received from clients in sessions."),
			sent:            desc("downstream_sent_bytes_total", "Bytes sent to clients in sessions."),
			errors:          desc("errors_total", o.Errors, "code", "class"),
			cancels:         desc("cancel_requests_total", o.Cancels, "outcome"),
			connectFailures: desc("upstream_connect_failures_total", "Connects and logins that did not come to an end."),
			slow:            desc("slow_queries_total", "Queries that took as long as slowQuery says."),
			latency:         desc("query_duration_seconds", o.Latency),
			login:           desc("login_duration_seconds", "From the accept to the server's letting in."),
			wait:            desc("connection_wait_seconds", o.Wait),
		},
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	d := &m.descs
	for _, desc := range []*prometheus.Desc{
		d.accepted, d.open, d.logins, d.queued, d.refused, d.closed, d.queries, d.transactions, d.received, d.sent,
		d.errors, d.cancels, d.connectFailures, d.slow, d.latency, d.login, d.wait,
	} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	for name, all := range m.ByListener() {
		c := Collection[Stats]{To: ch, Listener: name, All: all}
		m.counters(&c)
		m.sums(&c)
		c.Histogram(m.descs.latency, func(s *Stats) *Histogram { return &s.Latency })
		c.Histogram(m.descs.login, func(s *Stats) *Histogram { return &s.Login })
		c.Histogram(m.descs.wait, func(s *Stats) *Histogram { return &s.Wait })
	}
}

func (m *Metrics) counters(c *Collection[Stats]) {
	d := &m.descs
	c.Count(d.accepted, func(s *Stats) *atomic.Uint64 { return &s.Accepted })
	c.Count(d.logins, func(s *Stats) *atomic.Uint64 { return &s.Logins })
	c.Count(d.queued, func(s *Stats) *atomic.Uint64 { return &s.Queued })
	c.Count(d.queries, func(s *Stats) *atomic.Uint64 { return &s.Queries })
	c.Count(d.transactions, func(s *Stats) *atomic.Uint64 { return &s.Transactions })
	c.Count(d.received, func(s *Stats) *atomic.Uint64 { return &s.Received })
	c.Count(d.sent, func(s *Stats) *atomic.Uint64 { return &s.Sent })
	c.Count(d.connectFailures, func(s *Stats) *atomic.Uint64 { return &s.ConnectFailures })
	c.Count(d.slow, func(s *Stats) *atomic.Uint64 { return &s.SlowQueries })
	c.Count(d.cancels, func(s *Stats) *atomic.Uint64 { return &s.Cancels }, "passed_on")
	c.Count(d.cancels, func(s *Stats) *atomic.Uint64 { return &s.LostCancels }, m.lostCancel)
	c.Count(d.cancels, func(s *Stats) *atomic.Uint64 { return &s.OwnCancels }, "own")
	for r := range reasons {
		c.Count(d.refused, func(s *Stats) *atomic.Uint64 { return &s.Refused[r] }, r.String())
		c.Count(d.closed, func(s *Stats) *atomic.Uint64 { return &s.Closed[r] }, r.String())
	}
}

// sums exports what is more than a counter of each.
func (m *Metrics) sums(c *Collection[Stats]) {
	var open int64
	errors := map[ErrorKind]uint64{}
	for _, s := range c.All {
		open += s.Open.Load()
		s.addErrors(errors)
	}
	c.To <- prometheus.MustNewConstMetric(m.descs.open, prometheus.GaugeValue, float64(open), c.Listener)
	for kind, n := range errors {
		c.To <- prometheus.MustNewConstMetric(m.descs.errors, prometheus.CounterValue, float64(n), c.Listener, kind.Code, kind.Class)
	}
}
