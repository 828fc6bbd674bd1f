package redis

import (
	"math/bits"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Counters belong to one loop and are plain integers; a scrape visits the
// loops one after the other and adds them up.

// listenerStats are the counters of one listener on one loop. They outlive
// changes of configuration.
type listenerStats struct {
	commands   []commandStats // by command id
	histograms bool           // of the commands, as configured last

	connections, clientErrors, protocolErrors uint64
	slowClients, idleClients                  uint64
	redirections, messages                    uint64
	loginFailures, denied                     uint64
	active                                    int64
}

// commandStats count one command of one listener.
type commandStats struct {
	count, errors uint64
	sum           uint64 // ns
	latency       histogram
}

// histogram counts durations in buckets of powers of two of 16 us: the bounds
// are 16 us, 32 us, ... 8.4 s.
type histogram [histogramBuckets + 1]uint64

const (
	histogramBuckets = 20
	histogramShift   = 14 // 2^14 ns, about 16 us
)

func (h *histogram) observe(ns int64) {
	h[min(bits.Len64(uint64(max(ns, 0))>>histogramShift), histogramBuckets)]++
}

// bound is the upper bound of bucket i, in seconds.
func bound(i int) float64 { return float64(uint64(1)<<(histogramShift+i)) / 1e9 }

func (s *listenerStats) observe(c *command, took int64, failed bool) {
	st := &s.commands[c.id]
	st.count++
	st.sum += uint64(max(took, 0))
	st.latency.observe(took)
	if failed {
		st.errors++
	}
}

// endpointKey names an endpoint in the metrics.
type endpointKey struct {
	cluster, address, shard string
}

// endpointStats count what one loop saw of one endpoint.
type endpointStats struct {
	requests, errors, timeouts, refused, overflows uint64
	connects, connectFailures, disconnects         uint64
	active                                         int64 // connections
	sum                                            uint64
	latency                                        histogram
	seen                                           int64 // ns; when a cluster last had the endpoint, or a pool
}

// shardStats is what a pending request reports to.
type shardStats = endpointStats

func (s *endpointStats) observe(took int64, failed bool) {
	s.requests++
	s.sum += uint64(max(took, 0))
	s.latency.observe(took)
	if failed {
		s.errors++
	}
}

func (w *worker) endpointStats(cluster string, e *filters.Endpoint) *endpointStats {
	key := endpointKey{cluster, e.Address, e.Shard}
	s := w.endpoints[key]
	if s == nil {
		s = &endpointStats{seen: w.loop.Now()}
		w.endpoints[key] = s
	}
	return s
}

// forgetAfter is how long the counters of an endpoint that is gone are still
// there: enough for a last scrape. Where pods come and go each has an address of
// its own, and nobody else would ever take them away.
const forgetAfter = 10 * time.Minute

// forgetEndpoints drops the counters of endpoints that no cluster has any more.
func (w *worker) forgetEndpoints(current map[*filters.Endpoint]bool, now int64) {
	type place struct{ address, shard string }
	known := make(map[place]bool, len(current))
	for e := range current {
		if e != nil {
			known[place{e.Address, e.Shard}] = true
		}
	}
	for key, s := range w.endpoints {
		switch {
		case s.active > 0 || known[place{key.address, key.shard}]:
			s.seen = now
		case now-s.seen > int64(forgetAfter):
			delete(w.endpoints, key)
		}
	}
}

func (w *worker) listener(name string) *listenerStats {
	s := w.listeners[name]
	if s == nil {
		s = &listenerStats{commands: make([]commandStats, len(w.b.commands.all))}
		w.listeners[name] = s
	}
	return s
}
