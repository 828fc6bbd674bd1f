package database

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Buckets of a histogram: the first ends at 2^16 ns (66 us), and each further
// one at twice the end of the one before, the last at 69 s.
const (
	firstBucket = 16
	buckets     = 21
)

// bucketEnd is the upper end of a bucket.
func bucketEnd(i int) time.Duration { return 1 << (firstBucket + i) }

// Histogram counts durations. One loop writes, others read.
type Histogram struct {
	buckets [buckets + 1]atomic.Uint64
	sum     atomic.Uint64
}

// Observe counts one duration in ns.
func (h *Histogram) Observe(ns int64) {
	ns = max(ns, 1)
	h.buckets[min(bits.Len64(uint64(ns-1)>>firstBucket), buckets)].Add(1)
	h.sum.Add(uint64(ns))
}

// Export makes a metric of the sum of some histograms.
func Export(d *prometheus.Desc, all []*Histogram, labels ...string) prometheus.Metric {
	ends := make(map[float64]uint64, buckets)
	var count, sum uint64
	for i := range buckets + 1 {
		for _, h := range all {
			count += h.buckets[i].Load()
		}
		if i < buckets {
			ends[bucketEnd(i).Seconds()] = count
		}
	}
	for _, h := range all {
		sum += h.sum.Load()
	}
	return prometheus.MustNewConstHistogram(d, count, time.Duration(sum).Seconds(), ends, labels...)
}
