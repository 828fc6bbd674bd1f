package redis

import (
	"math/bits"

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
		s = &endpointStats{}
		w.endpoints[key] = s
	}
	return s
}

func (w *worker) listener(name string) *listenerStats {
	s := w.listeners[name]
	if s == nil {
		s = &listenerStats{commands: make([]commandStats, len(w.b.commands.all))}
		w.listeners[name] = s
	}
	return s
}
