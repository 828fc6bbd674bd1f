package proxy

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// loopMetrics exports the event loops' counters.
type loopMetrics struct {
	group *netloop.Group
	descs []loopDesc
}

type loopDesc struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(netloop.Stats) float64
}

func newLoopMetrics(g *netloop.Group) *loopMetrics {
	m := &loopMetrics{group: g}
	add := func(name, help string, kind prometheus.ValueType, value func(netloop.Stats) float64) {
		d := prometheus.NewDesc("dragoman_loop_"+name, help, []string{"loop"}, nil)
		m.descs = append(m.descs, loopDesc{d, kind, value})
	}
	const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue
	add("iterations_total", "Turns of the event loop.", counter, func(s netloop.Stats) float64 { return float64(s.Iterations) })
	add("reads_total", "System calls that read.", counter, func(s netloop.Stats) float64 { return float64(s.Reads) })
	add("writes_total", "System calls that write.", counter, func(s netloop.Stats) float64 { return float64(s.Writes) })
	add("received_bytes_total", "Bytes read, both sides.", counter, func(s netloop.Stats) float64 { return float64(s.BytesIn) })
	add("sent_bytes_total", "Bytes written, both sides.", counter, func(s netloop.Stats) float64 { return float64(s.BytesOut) })
	add("busy_seconds_total", "Time not spent waiting.", counter,
		func(s netloop.Stats) float64 { return time.Duration(s.BusyNanos).Seconds() })
	add("downstream_connections", "Open connections of clients.", gauge, func(s netloop.Stats) float64 { return float64(s.Downstream) })
	add("upstream_connections", "Open connections to endpoints.", gauge, func(s netloop.Stats) float64 { return float64(s.Upstream) })
	add("buffer_bytes", "Memory of buffers, free ones included.", gauge,
		func(s netloop.Stats) float64 { return float64(s.PoolBytes + s.HeldBytes) })
	return m
}

// Describe implements prometheus.Collector.
func (m *loopMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		ch <- d.desc
	}
}

// Collect implements prometheus.Collector.
func (m *loopMetrics) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, l := range m.group.Loops() {
		stats, err := l.ReadStats(ctx)
		if err != nil {
			continue // stopped, or stuck: its absence shows
		}
		for _, d := range m.descs {
			ch <- prometheus.MustNewConstMetric(d.desc, d.kind, d.value(stats), l.Name())
		}
	}
}
