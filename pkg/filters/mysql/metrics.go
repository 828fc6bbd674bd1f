package mysql

import (
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/database"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// reason says why the filter refused or ended a session.
type reason uint8

const (
	badClient     reason = iota // its start-up is not what it should be
	slowClient                  // it did not say in time who it is
	badPassword                 // appAuth
	tooMany                     // limits
	noEndpoint                  // in time
	noSecret                    // in time
	connectFailed               // no server could be reached
	loginError                  // the server is not one to log in at
	serverRefused               // the server's own error
	protocolError
	serverClosed
	idleTimeout
	drained
	retired
	reasons
)

func (r reason) String() string {
	return [...]string{
		"bad_client", "slow_client", "bad_password", "too_many", "no_endpoint", "no_secret", "connect_failed", "login_error",
		"server_refused", "protocol_error", "server_closed", "idle_timeout", "drained", "retired",
	}[r]
}

// stats are the counters of one listener on one loop. They outlive filters.
type stats struct {
	accepted, logins, queued     atomic.Uint64
	queries, transactions        atomic.Uint64
	received, sent               atomic.Uint64
	kills, failedKills, ownKills atomic.Uint64
	connectFailures, slowQueries atomic.Uint64
	open                         atomic.Int64
	refused, closed              [reasons]atomic.Uint64
	latency, login, wait         database.Histogram
	mu                           sync.Mutex
	errors                       map[errorKind]uint64 // guarded by mu
}

// errorKind is what errors are counted by: the number, and the class of the
// SQLSTATE, "other" if there is none.
type errorKind struct {
	errno uint16
	class string
}

// maxKinds bounds how many kinds of errors a server can make up.
const maxKinds = 256

// failed counts an error that the client was told.
func (s *stats) failed(errno uint16, state string) {
	kind := errorKind{errno, "other"}
	if len(state) == 5 && plainClass(state[:2]) {
		kind.class = state[:2]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.errors[kind]; !known && len(s.errors) >= maxKinds {
		kind = errorKind{0, "other"}
	}
	s.errors[kind]++
}

func plainClass(class string) bool {
	for i := range len(class) {
		if c := class[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

type statsKey struct {
	listener string
	loop     *netloop.Loop
}

// metrics are the counters of all listeners.
type metrics struct {
	descs descs // read-only after construction

	mu  sync.Mutex
	all map[statsKey]*stats // guarded by mu
}

type descs struct {
	accepted, open, logins, queued, refused, closed, queries, transactions, received, sent *prometheus.Desc
	errors, cancels, connectFailures, slow, latency, login, wait                           *prometheus.Desc
}

func newMetrics() *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_mysql_"+name, help, append([]string{"listener"}, labels...), nil)
	}
	return &metrics{
		all: map[statsKey]*stats{},
		descs: descs{
			accepted:        desc("downstream_connections_total", "Connections accepted."),
			open:            desc("downstream_connections", "Connections open now."),
			logins:          desc("sessions_total", "Sessions that a server has let in."),
			queued:          desc("queued_total", "Sessions that had to wait for their turn at limits.maxConnections."),
			refused:         desc("refused_total", "Sessions refused before they began, by reason.", "reason"),
			closed:          desc("closed_total", "Sessions ended by the filter, by reason.", "reason"),
			queries:         desc("queries_total", "Queries and executions of prepared statements."),
			transactions:    desc("transactions_total", "Responses of a server after which no transaction was open."),
			received:        desc("downstream_received_bytes_total", "Bytes received from clients in sessions."),
			sent:            desc("downstream_sent_bytes_total", "Bytes sent to clients in sessions."),
			errors:          desc("errors_total", "Errors that clients were told, by their number and the class of their SQLSTATE.", "code", "class"),
			cancels:         desc("cancel_requests_total", "KILL that the filter has brought to a server itself, by what became of it.", "outcome"),
			connectFailures: desc("upstream_connect_failures_total", "Connects and logins that did not come to an end."),
			slow:            desc("slow_queries_total", "Queries that took as long as slowQuery says."),
			latency:         desc("query_duration_seconds", "From a command to the end of its response."),
			login:           desc("login_duration_seconds", "From the accept to the server's letting in."),
			wait:            desc("connection_wait_seconds", "From the accept to the server's greeting: a turn, credentials and a connection."),
		},
	}
}

// of returns the counters of a listener on a loop.
func (m *metrics) of(listener string, loop *netloop.Loop) *stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := statsKey{listener, loop}
	s := m.all[key]
	if s == nil {
		s = &stats{errors: map[errorKind]uint64{}}
		m.all[key] = s
	}
	return s
}

// byListener groups the counters.
func (m *metrics) byListener() map[string][]*stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string][]*stats{}
	for key, s := range m.all {
		out[key.listener] = append(out[key.listener], s)
	}
	return out
}

// Describe implements prometheus.Collector.
func (b *Builder) Describe(ch chan<- *prometheus.Desc) {
	d := &b.metrics.descs
	for _, desc := range []*prometheus.Desc{
		d.accepted, d.open, d.logins, d.queued, d.refused, d.closed, d.queries, d.transactions, d.received, d.sent,
		d.errors, d.cancels, d.connectFailures, d.slow, d.latency, d.login, d.wait,
	} {
		ch <- desc
	}
	b.dials.Describe(ch)
}

// Collect implements prometheus.Collector.
func (b *Builder) Collect(ch chan<- prometheus.Metric) {
	b.dials.Collect(ch)
	for name, all := range b.metrics.byListener() {
		c := collection{database.Collection[stats]{To: ch, Listener: name, All: all}}
		c.counters(&b.metrics.descs)
		c.reasons(&b.metrics.descs)
		c.Histogram(b.metrics.descs.latency, func(s *stats) *database.Histogram { return &s.latency })
		c.Histogram(b.metrics.descs.login, func(s *stats) *database.Histogram { return &s.login })
		c.Histogram(b.metrics.descs.wait, func(s *stats) *database.Histogram { return &s.wait })
	}
}

// collection exports the counters of one listener.
type collection struct{ database.Collection[stats] }

func (c *collection) counters(d *descs) {
	c.Count(d.accepted, func(s *stats) *atomic.Uint64 { return &s.accepted })
	c.Count(d.logins, func(s *stats) *atomic.Uint64 { return &s.logins })
	c.Count(d.queued, func(s *stats) *atomic.Uint64 { return &s.queued })
	c.Count(d.queries, func(s *stats) *atomic.Uint64 { return &s.queries })
	c.Count(d.transactions, func(s *stats) *atomic.Uint64 { return &s.transactions })
	c.Count(d.received, func(s *stats) *atomic.Uint64 { return &s.received })
	c.Count(d.sent, func(s *stats) *atomic.Uint64 { return &s.sent })
	c.Count(d.connectFailures, func(s *stats) *atomic.Uint64 { return &s.connectFailures })
	c.Count(d.slow, func(s *stats) *atomic.Uint64 { return &s.slowQueries })
	c.Count(d.cancels, func(s *stats) *atomic.Uint64 { return &s.kills }, "passed_on")
	c.Count(d.cancels, func(s *stats) *atomic.Uint64 { return &s.failedKills }, "failed")
	c.Count(d.cancels, func(s *stats) *atomic.Uint64 { return &s.ownKills }, "own")
	var open int64
	errors := map[errorKind]uint64{}
	for _, s := range c.All {
		open += s.open.Load()
		s.mu.Lock()
		for kind, n := range s.errors {
			errors[kind] += n
		}
		s.mu.Unlock()
	}
	c.To <- prometheus.MustNewConstMetric(d.open, prometheus.GaugeValue, float64(open), c.Listener)
	for kind, n := range errors {
		code := strconv.Itoa(int(kind.errno))
		c.To <- prometheus.MustNewConstMetric(d.errors, prometheus.CounterValue, float64(n), c.Listener, code, kind.class)
	}
}

func (c *collection) reasons(d *descs) {
	for r := range reasons {
		c.Count(d.refused, func(s *stats) *atomic.Uint64 { return &s.refused[r] }, r.String())
		c.Count(d.closed, func(s *stats) *atomic.Uint64 { return &s.closed[r] }, r.String())
	}
}
