package database

import (
	"github.com/prometheus/client_golang/prometheus"
)

// dialDescs are the metrics of a Dials.
type dialDescs struct{ connecting, queue, queued, delayed, left *prometheus.Desc }

// dialTotals are counted for all endpoints; guarded by Dials.mu.
type dialTotals struct{ queued, delayed, left uint64 }

// newDialDescs names them for one filter, as in "postgres".
func newDialDescs(filter string) dialDescs {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("dragoman_"+filter+"_upstream_"+name, help, labels, nil)
	}
	return dialDescs{
		connecting: desc("connecting", "Connects and logins under way, by endpoint (limits.maxConnecting).", "endpoint"),
		queue:      desc("connect_queue", "Sessions that wait to connect, because so many others do, by endpoint.", "endpoint"),
		queued:     desc("connect_queued_total", "Connects that had to wait for others."),
		delayed:    desc("connect_delayed_total", "Connects that were put off for some milliseconds, because many sessions had just been lost."),
		left:       desc("connect_queue_left_total", "Connects that were given up before their turn: limits.maxWait was over, or the client gone."),
	}
}

// Describe implements prometheus.Collector.
func (d *Dials) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{d.descs.connecting, d.descs.queue, d.descs.queued, d.descs.delayed, d.descs.left} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector. Endpoints that nobody connects to are
// left out.
func (d *Dials) Collect(ch chan<- prometheus.Metric) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for at, in := range d.doors {
		open, waiting := in.gate.numbers()
		ch <- prometheus.MustNewConstMetric(d.descs.connecting, prometheus.GaugeValue, float64(open), at.address)
		ch <- prometheus.MustNewConstMetric(d.descs.queue, prometheus.GaugeValue, float64(waiting), at.address)
	}
	ch <- prometheus.MustNewConstMetric(d.descs.queued, prometheus.CounterValue, float64(d.totals.queued))
	ch <- prometheus.MustNewConstMetric(d.descs.delayed, prometheus.CounterValue, float64(d.totals.delayed))
	ch <- prometheus.MustNewConstMetric(d.descs.left, prometheus.CounterValue, float64(d.totals.left))
}
