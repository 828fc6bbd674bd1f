package statsd

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// fewAdditions is up to how many observations of the same value are added one
// by one, which rounds as it does where they came one by one.
const fewAdditions = 1000

func addTimes(sum, v float64, times int) float64 {
	if times > fewAdditions {
		return sum + v*float64(times)
	}
	for range times {
		sum += v
	}
	return sum
}

// histogram is a classic one and, if its options say so, a native one.
type histogram struct {
	bounds []float64 // read-only, shared
	counts []uint64  // not cumulative; above the last bound: the rest of count
	count  uint64
	sum    float64
	native *native // nil: none

	shown *dto.Histogram // filled in by write
	rows  []uint64       // what shown's buckets point to
}

func newHistogram(o *mapping.HistogramOptions) *histogram {
	h := &histogram{bounds: o.Buckets, counts: make([]uint64, len(o.Buckets))}
	if o.NativeFactor > 1 {
		h.native = newNative(o.NativeFactor, o.NativeMaxBuckets)
	}
	return h
}

func (h *histogram) observe(v float64, times int) {
	const fewBounds = 24 // up to which looking at one after the other is faster
	i := 0
	if len(h.bounds) > fewBounds {
		i, _ = slices.BinarySearch(h.bounds, v)
	} else {
		for i < len(h.bounds) && !(v <= h.bounds[i]) {
			i++
		}
	}
	if i < len(h.counts) {
		h.counts[i] += uint64(times)
	}
	h.count += uint64(times)
	h.sum = addTimes(h.sum, v, times)
	if h.native != nil {
		h.native.observe(v, uint64(times))
	}
}

// write fills in what is shown; the message stays the same.
func (h *histogram) write() {
	s := h.shown
	if s.SampleCount == nil {
		s.SampleCount, s.SampleSum = new(uint64), new(float64)
		h.rows = make([]uint64, len(h.bounds))
		buckets := make([]dto.Bucket, len(h.bounds))
		s.Bucket = make([]*dto.Bucket, len(h.bounds))
		for i := range buckets {
			buckets[i].UpperBound, buckets[i].CumulativeCount = &h.bounds[i], &h.rows[i]
			s.Bucket[i] = &buckets[i]
		}
	}
	*s.SampleCount, *s.SampleSum = h.count, h.sum
	var below uint64
	for i, n := range h.counts {
		below += n
		h.rows[i] = below
	}
	if h.native != nil {
		h.native.write(s)
	}
}

// Native histograms as client_golang has them: the same schemas, bounds and
// zero threshold, so that a scraper sees the same buckets.
const (
	zeroThreshold   = 2.938735877055719e-39 // 2^-128
	finestSchema    = 8
	coarsestSchema  = -4
	longestSmallGap = 2 // empty buckets that a span bridges
)

// native is a native histogram.
type native struct {
	schema   int32
	most     int // buckets, before they are made wider; 0: any number
	bounds   []float64
	zero     uint64
	positive sparse
	negative sparse

	threshold float64 // shown
	shownZero uint64
	shownOf   int32
}

// sparse is the buckets that are not empty, by index.
type sparse []bucket

type bucket struct {
	index int
	n     uint64
}

func newNative(factor float64, most int) *native {
	n := &native{most: most, threshold: zeroThreshold}
	floor := math.Floor(math.Log2(math.Log2(factor)))
	n.setSchema(-int32(max(-finestSchema, min(floor, -coarsestSchema))))
	return n
}

// setSchema prepares the bounds within one power of two: 2^schema of them.
func (n *native) setSchema(schema int32) {
	n.schema, n.bounds = schema, nil
	if schema <= 0 {
		return
	}
	n.bounds = make([]float64, 1<<schema)
	for i := range n.bounds {
		n.bounds[i] = math.Exp2(float64(i)/float64(len(n.bounds)) - 1)
	}
}

func (n *native) observe(v float64, times uint64) {
	if math.IsNaN(v) {
		return
	}
	switch i := n.index(math.Abs(v)); {
	case v > zeroThreshold:
		n.positive.add(i, times)
	case v < -zeroThreshold:
		n.negative.add(i, times)
	default:
		n.zero += times
	}
	for n.most > 0 && len(n.positive)+len(n.negative) > n.most && n.schema > coarsestSchema {
		n.setSchema(n.schema - 1)
		n.positive.widen()
		n.negative.widen()
	}
}

// index is the bucket of a value above 0.
func (n *native) index(v float64) int {
	inf := 0
	if math.IsInf(v, 1) {
		v, inf = math.MaxFloat64, 1 // the bucket behind the last
	}
	frac, exp := math.Frexp(v)
	if n.schema > 0 {
		i, _ := slices.BinarySearch(n.bounds, frac)
		return i + (exp-1)*len(n.bounds) + inf
	}
	if frac == 0.5 {
		exp--
	}
	offset := 1<<-n.schema - 1
	return (exp+offset)>>-n.schema + inf
}

func (s *sparse) add(index int, n uint64) {
	i, found := slices.BinarySearchFunc(*s, index, func(b bucket, index int) int { return b.index - index })
	if !found {
		*s = slices.Insert(*s, i, bucket{index: index})
	}
	(*s)[i].n += n
}

// widen makes one bucket of two neighbours.
func (s *sparse) widen() {
	wide := (*s)[:0]
	for _, b := range *s {
		b.index = (b.index + 1) >> 1 // rounded up: a bucket's bound is its upper one
		if k := len(wide); k > 0 && wide[k-1].index == b.index {
			wide[k-1].n += b.n
			continue
		}
		wide = append(wide, b)
	}
	*s = wide
}

func (n *native) write(to *dto.Histogram) {
	n.shownZero, n.shownOf = n.zero, n.schema
	to.Schema, to.ZeroThreshold, to.ZeroCount = &n.shownOf, &n.threshold, &n.shownZero
	to.NegativeSpan, to.NegativeDelta = n.negative.write(to.NegativeSpan, to.NegativeDelta[:0])
	to.PositiveSpan, to.PositiveDelta = n.positive.write(to.PositiveSpan, to.PositiveDelta[:0])
}

// write spells the buckets as spans and differences, into the memory of those
// that were spelled before.
func (s sparse) write(spans []*dto.BucketSpan, deltas []int64) ([]*dto.BucketSpan, []int64) {
	used, next := 0, 0
	var before int64
	add := func(n int64) {
		*spans[used-1].Length++
		deltas = append(deltas, n-before)
		before = n
	}
	for i, b := range s {
		gap := b.index - next
		if i == 0 || gap > longestSmallGap {
			if used == len(spans) {
				spans = append(spans, &dto.BucketSpan{Offset: new(int32), Length: new(uint32)})
			}
			*spans[used].Offset, *spans[used].Length = int32(gap), 0
			used++
		} else {
			for range gap {
				add(0)
			}
		}
		add(int64(b.n))
		next = b.index + 1
	}
	return spans[:used], deltas
}
