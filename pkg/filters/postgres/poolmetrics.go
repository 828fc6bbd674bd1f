package postgres

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/database"
)

// closeReason says why a pooled connection was closed.
type closeReason uint8

const (
	closedIdle    closeReason = iota // idleTimeout
	closedWorn                       // maxAge, other credentials, its endpoint is gone
	closedEvicted                    // for others who wait
	closedRetired                    // the environment is another
	closedDirty                      // its session left in the middle of something
	closedFailed                     // it did not become as new
	closedByServer
	closeReasons
)

func (r closeReason) String() string {
	return [...]string{"idle", "worn", "evicted", "retired", "dirty", "failed", "server"}[r]
}

// poolStats are the counters of the pools of one listener on one loop.
type poolStats struct {
	open, active        atomic.Int64
	opened, failed      atomic.Uint64
	hits, waits, resets atomic.Uint64
	pinned, moved       atomic.Uint64
	prepared, reused    atomic.Uint64
	closed              [closeReasons]atomic.Uint64
	wait                database.Histogram
}

type poolDescs struct {
	connections, opened, failed, closed, assigned, wait, resets, pinned, moved, statements *prometheus.Desc
}

func newPoolDescs() poolDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return database.Desc("postgres", name, help, labels...)
	}
	return poolDescs{
		connections: desc("pool_server_connections", "Connections of the pool to servers, by whether a session uses them.", "state"),
		opened:      desc("pool_opened_total", "Connections of the pool that a server has let in."),
		failed:      desc("pool_open_failures_total", "Connections of the pool that no server has let in."),
		closed:      desc("pool_closed_total", "Connections of the pool that were closed, by reason.", "reason"),
		assigned:    desc("pool_assignments_total", "Connections given to sessions: at once, or after a wait.", "outcome"),
		wait:        desc("pool_wait_seconds", "How long sessions have waited for a connection that none was free for."),
		resets:      desc("pool_resets_total", "Reset queries."),
		pinned:      desc("pool_pinned_total", "Sessions that have kept their connection, since the server has state of theirs."),
		moved:       desc("pool_moved_total", "Sessions that have gone on in another environment."),
		statements:  desc("pool_statements_total", "Statements that sessions needed at a server: prepared there, or there already.", "outcome"),
	}
}

func (d *poolDescs) all() []*prometheus.Desc {
	return []*prometheus.Desc{d.connections, d.opened, d.failed, d.closed, d.assigned, d.wait, d.resets, d.pinned, d.moved, d.statements}
}

// collect exports the counters of pools, if there were any.
func (d *poolDescs) collect(c *database.Collection[poolStats]) {
	var open, active, opened int64
	for _, s := range c.All {
		open += s.open.Load()
		active += s.active.Load()
		opened += int64(s.opened.Load() + s.failed.Load())
	}
	if opened == 0 {
		return
	}
	gauge := func(v int64, state string) {
		c.To <- prometheus.MustNewConstMetric(d.connections, prometheus.GaugeValue, float64(max(v, 0)), c.Listener, state)
	}
	gauge(active, "active")
	gauge(open-active, "idle")
	c.Count(d.opened, func(s *poolStats) *atomic.Uint64 { return &s.opened })
	c.Count(d.failed, func(s *poolStats) *atomic.Uint64 { return &s.failed })
	for r := range closeReasons {
		c.Count(d.closed, func(s *poolStats) *atomic.Uint64 { return &s.closed[r] }, r.String())
	}
	c.Count(d.assigned, func(s *poolStats) *atomic.Uint64 { return &s.hits }, "at_once")
	c.Count(d.assigned, func(s *poolStats) *atomic.Uint64 { return &s.waits }, "waited")
	c.Count(d.resets, func(s *poolStats) *atomic.Uint64 { return &s.resets })
	c.Count(d.pinned, func(s *poolStats) *atomic.Uint64 { return &s.pinned })
	c.Count(d.moved, func(s *poolStats) *atomic.Uint64 { return &s.moved })
	c.Count(d.statements, func(s *poolStats) *atomic.Uint64 { return &s.prepared }, "prepared")
	c.Count(d.statements, func(s *poolStats) *atomic.Uint64 { return &s.reused }, "reused")
	c.Histogram(d.wait, func(s *poolStats) *database.Histogram { return &s.wait })
}
