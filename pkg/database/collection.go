package database

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Collection exports what the loops of one listener have counted, each in an S
// of its own, added up. The listener is the first label of everything.
type Collection[S any] struct {
	To       chan<- prometheus.Metric
	Listener string
	All      []*S
}

// Count exports the sum of a counter, with further labels.
func (c *Collection[S]) Count(d *prometheus.Desc, of func(*S) *atomic.Uint64, labels ...string) {
	var sum uint64
	for _, s := range c.All {
		sum += of(s).Load()
	}
	c.To <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(sum), append([]string{c.Listener}, labels...)...)
}

// Histogram exports the sum of a histogram.
func (c *Collection[S]) Histogram(d *prometheus.Desc, of func(*S) *Histogram) {
	all := make([]*Histogram, len(c.All))
	for i, s := range c.All {
		all[i] = of(s)
	}
	c.To <- Export(d, all, c.Listener)
}
