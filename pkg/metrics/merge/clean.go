// Package merge makes valid metrics of what sources give, and one exposition of
// those of several sources. What is wrong costs the family or the series that it
// is wrong with, never the rest, and is counted.
package merge

import (
	"hash/maphash"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	dto "github.com/prometheus/client_model/go"
)

// Reasons for which series are left out.
const (
	SeriesLimit  = "series_limit"  // further ones than a source may have
	Broken       = "broken"        // no name, or values that do not fit the type
	TypeConflict = "type_conflict" // a family of the name has another type
	Duplicate    = "duplicate"     // the series is there already
	Collision    = "collision"     // its samples would be those of another family
)

// Reasons for which series were repaired.
const (
	BadName     = "name"         // characters that a name may not have became _
	InvalidUTF8 = "invalid_utf8" // became U+FFFD
	Reserved    = "reserved"     // a label le or quantile became exported_...
	SourceLabel = "source_label" // another source has the series: a label tells them apart
	EmptyLabel  = "empty_label"  // a label without a value is none
	LabelTwice  = "label_twice"  // the first stays
	BadExemplar = "exemplar"     // one with labels that are not valid is left out
)

// Counts says how many series of a source something happened to, by reason. Its
// methods may be called from any goroutine.
type Counts struct {
	mu       sync.Mutex
	byReason map[string]uint64
}

// Add counts n more.
func (c *Counts) Add(reason string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byReason == nil {
		c.byReason = map[string]uint64{}
	}
	c.byReason[reason] += uint64(n)
}

// ByReason gives the counts of now.
func (c *Counts) ByReason() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]uint64, len(c.byReason))
	maps.Copy(out, c.byReason)
	return out
}

// Cleaner makes the metrics of one source valid. It is not safe for concurrent
// use.
type Cleaner struct {
	limit    int
	dropped  *Counts
	repaired *Counts

	seed maphash.Seed
	seen map[uint64]struct{}
}

// NewCleaner returns a cleaner that lets so many series pass. Buckets and
// quantiles are series, as Prometheus counts them.
func NewCleaner(limit int, dropped, repaired *Counts) *Cleaner {
	return &Cleaner{limit: limit, dropped: dropped, repaired: repaired, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
}

// Clean returns valid families, sorted by name, each name once, and how many
// series they have. The families it is given stay as they are; what is changed
// is copied.
func (c *Cleaner) Clean(families []*dto.MetricFamily) (out []*dto.MetricFamily, series int) {
	out = make([]*dto.MetricFamily, 0, len(families))
	for _, f := range families {
		if f == nil || len(f.GetMetric()) == 0 {
			continue
		}
		if f = c.name(f); f != nil {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	out = c.join(out)
	kept := out[:0]
	for _, f := range out {
		f, n := c.family(f, c.limit-series)
		series += n
		if len(f.GetMetric()) > 0 {
			kept = append(kept, f)
		}
	}
	return kept, series
}

// name gives a family a valid name, or nil if there is none to be had.
func (c *Cleaner) name(f *dto.MetricFamily) *dto.MetricFamily {
	name := f.GetName()
	if validName(name, true) {
		return f
	}
	if name == "" {
		c.dropped.Add(Broken, len(f.GetMetric()))
		return nil
	}
	c.repaired.Add(BadName, len(f.GetMetric()))
	fixed := repairName(name, true)
	return &dto.MetricFamily{Name: &fixed, Help: f.Help, Type: f.Type, Metric: f.Metric, Unit: f.Unit}
}

// join puts families of the same name together. The first says what type.
func (c *Cleaner) join(sorted []*dto.MetricFamily) []*dto.MetricFamily {
	out := sorted[:0]
	owned := false // the last of out is a copy
	for _, f := range sorted {
		last := len(out) - 1
		switch {
		case last < 0 || out[last].GetName() != f.GetName():
			out, owned = append(out, f), false
		case out[last].GetType() != f.GetType():
			c.dropped.Add(TypeConflict, len(f.GetMetric()))
		default:
			if !owned {
				out[last] = withMetrics(out[last], slices.Clone(out[last].GetMetric()))
				owned = true
			}
			out[last].Metric = append(out[last].Metric, f.GetMetric()...)
		}
	}
	return out
}

func withMetrics(f *dto.MetricFamily, metrics []*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Metric: metrics, Unit: f.Unit}
}

// family makes the series of a family valid, and takes as many as there is room
// for.
func (c *Cleaner) family(f *dto.MetricFamily, room int) (_ *dto.MetricFamily, series int) {
	if f.Help != nil && !utf8.ValidString(f.GetHelp()) {
		help := strings.ToValidUTF8(f.GetHelp(), "\uFFFD")
		f = withMetrics(f, f.GetMetric())
		f.Help = &help
	}
	metrics := f.GetMetric()
	reserved := reservedLabel(f.GetType())
	clear(c.seen)
	var out []*dto.Metric // nil: all up to here are as they were
	for i, m := range metrics {
		fixed, n := c.metric(f.GetType(), m, reserved, len(metrics) > 1)
		if fixed != nil && n > room-series {
			c.dropped.Add(SeriesLimit, n)
			fixed = nil
		}
		if fixed != m && out == nil {
			out = append(make([]*dto.Metric, 0, len(metrics)), metrics[:i]...)
		}
		if fixed == nil {
			continue
		}
		series += n
		if out != nil {
			out = append(out, fixed)
		}
	}
	if out == nil {
		return f, series
	}
	return withMetrics(f, out), series
}

// metric gives a valid series, and how many it counts for; nil for one that is
// left out.
func (c *Cleaner) metric(t dto.MetricType, m *dto.Metric, reserved string, many bool) (*dto.Metric, int) {
	n := seriesOf(t, m)
	if n == 0 {
		c.dropped.Add(Broken, 1)
		return nil, 0
	}
	if labels := c.labels(m.GetLabel(), reserved); labels != nil {
		m = &dto.Metric{
			Label: labels, Gauge: m.Gauge, Counter: m.Counter, Summary: m.Summary, Untyped: m.Untyped,
			Histogram: m.Histogram, TimestampMs: m.TimestampMs,
		}
	}
	m = c.exemplars(m)
	if many {
		h := c.hash(m.GetLabel())
		if _, twice := c.seen[h]; twice {
			c.dropped.Add(Duplicate, n)
			return nil, 0
		}
		c.seen[h] = struct{}{}
	}
	return m, n
}

// hash identifies a set of labels, which are sorted. It is seeded, so that nobody
// can make two that meet.
func (c *Cleaner) hash(labels []*dto.LabelPair) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for _, l := range labels {
		_, _ = h.WriteString(l.GetName())
		_ = h.WriteByte(0xff)
		_, _ = h.WriteString(l.GetValue())
		_ = h.WriteByte(0xff)
	}
	return h.Sum64()
}

// seriesOf says how many series Prometheus makes of one; 0: its values do not
// fit the type.
func seriesOf(t dto.MetricType, m *dto.Metric) int {
	switch t {
	case dto.MetricType_COUNTER:
		return one(m.GetCounter() != nil && m.GetCounter().Value != nil)
	case dto.MetricType_GAUGE:
		return one(m.GetGauge() != nil && m.GetGauge().Value != nil)
	case dto.MetricType_UNTYPED:
		return one(m.GetUntyped() != nil && m.GetUntyped().Value != nil)
	case dto.MetricType_SUMMARY:
		return summarySeries(m.GetSummary())
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return histogramSeries(m.GetHistogram())
	}
	return 0
}

func one(ok bool) int {
	if ok {
		return 1
	}
	return 0
}

func summarySeries(s *dto.Summary) int {
	if s == nil {
		return 0
	}
	seen := math.Inf(-1)
	for _, q := range s.GetQuantile() {
		if v := q.GetQuantile(); !(v >= 0 && v <= 1) || v == seen {
			return 0
		}
		seen = q.GetQuantile()
	}
	return len(s.GetQuantile()) + 2
}

// histogramSeries wants buckets in order, which count what is in those before.
func histogramSeries(h *dto.Histogram) int {
	if h == nil {
		return 0
	}
	bound, count := math.Inf(-1), uint64(0)
	countFloat := 0.0
	for i, b := range h.GetBucket() {
		v := b.GetUpperBound()
		if math.IsNaN(v) || i > 0 && v <= bound || b.GetCumulativeCount() < count || b.GetCumulativeCountFloat() < countFloat {
			return 0
		}
		bound, count, countFloat = v, b.GetCumulativeCount(), b.GetCumulativeCountFloat()
	}
	if h.SampleCount != nil && count > h.GetSampleCount() {
		return 0
	}
	n := len(h.GetBucket()) + 2
	if n == 2 || !math.IsInf(bound, 1) {
		n++
	}
	return n
}

// reservedLabel is the label that the exposition itself uses for a type.
func reservedLabel(t dto.MetricType) string {
	switch t {
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return "le"
	case dto.MetricType_SUMMARY:
		return "quantile"
	case dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
	}
	return ""
}
