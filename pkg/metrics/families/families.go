// Package families gathers series into metric families while a source is read.
package families

import (
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// DefaultLimit is how many series a Builder takes if it isn't told. It bounds
// memory while a source is read; what is kept of them is the adapter's to say.
const DefaultLimit = 100_000

// slab is how many series are made with one allocation.
const slab = 64

// Builder makes families of series that come in any order. The zero value is
// ready. It is not safe for concurrent use.
type Builder struct {
	// Limit is how many series are taken; 0 is DefaultLimit.
	Limit int

	list   []*dto.MetricFamily
	byName map[string]*Family
	series int
	past   int      // series beyond the limit
	wrong  []string // families of two types

	metrics  []dto.Metric
	values   []float64
	gauges   []dto.Gauge
	counters []dto.Counter
	untypeds []dto.Untyped
}

// Family is one that a Builder makes.
type Family struct {
	b  *Builder
	mf *dto.MetricFamily
}

// Family finds or makes the family of the name. The first help and type stay; a
// second type is counted, and told by Done.
func (b *Builder) Family(name, help string, typ dto.MetricType) *Family {
	if f, ok := b.byName[name]; ok {
		if f.mf.GetType() != typ {
			b.wrong = append(b.wrong, name)
		}
		return f
	}
	if b.byName == nil {
		b.byName = make(map[string]*Family)
	}
	f := &Family{b: b, mf: &dto.MetricFamily{Name: &name, Type: &typ}}
	if help != "" {
		f.mf.Help = &help
	}
	b.byName[name] = f
	b.list = append(b.list, f.mf)
	return f
}

// Gauge adds a series of a gauge family: labels are name, value, name, value.
func (b *Builder) Gauge(name, help string, v float64, labels ...string) {
	b.Family(name, help, dto.MetricType_GAUGE).Add(v, Labels(labels...))
}

// Counter adds a series of a counter family, with labels as Gauge has them.
func (b *Builder) Counter(name, help string, v float64, labels ...string) {
	b.Family(name, help, dto.MetricType_COUNTER).Add(v, Labels(labels...))
}

// Room reports whether another series is taken: who has many to make may stop.
func (b *Builder) Room() bool { return b.series < b.limit() }

func (b *Builder) limit() int {
	if b.Limit > 0 {
		return b.Limit
	}
	return DefaultLimit
}

// Add adds a series and returns it, nil if there are too many. Labels are kept,
// and may be shared between series; they are sorted by name.
func (f *Family) Add(v float64, labels []*dto.LabelPair) *dto.Metric {
	b := f.b
	if !b.Room() {
		b.past++
		return nil
	}
	b.series++
	m := take(&b.metrics)
	value := take(&b.values)
	*value = v
	m.Label = labels
	switch f.mf.GetType() {
	case dto.MetricType_COUNTER:
		m.Counter = take(&b.counters)
		m.Counter.Value = value
	case dto.MetricType_GAUGE:
		m.Gauge = take(&b.gauges)
		m.Gauge.Value = value
	default:
		m.Untyped = take(&b.untypeds)
		m.Untyped.Value = value
	}
	f.mf.Metric = append(f.mf.Metric, m)
	return m
}

// take returns the next element of a slab, and makes a new slab when it is used up.
func take[T any](s *[]T) *T {
	if len(*s) == 0 {
		*s = make([]T, slab)
	}
	v := &(*s)[0]
	*s = (*s)[1:]
	return v
}

// Done returns the families, sorted by name and without empty ones, never nil. The error
// says what could not be taken.
func (b *Builder) Done() ([]*dto.MetricFamily, error) {
	if b.list == nil {
		b.list = []*dto.MetricFamily{}
	}
	out := slices.DeleteFunc(b.list, func(mf *dto.MetricFamily) bool { return len(mf.Metric) == 0 })
	slices.SortFunc(out, func(x, y *dto.MetricFamily) int { return strings.Compare(x.GetName(), y.GetName()) })
	var said []string
	if b.past > 0 {
		said = append(said, fmt.Sprintf("%d series beyond the limit of %d were left out", b.past, b.limit()))
	}
	if len(b.wrong) > 0 {
		slices.Sort(b.wrong)
		said = append(said, fmt.Sprintf("two types were asked for %s: the first one stays", strings.Join(slices.Compact(b.wrong), ", ")))
	}
	if len(said) > 0 {
		return out, &PartialError{Dropped: b.past, Text: strings.Join(said, "; ")}
	}
	return out, nil
}

// PartialError says that a part of what a source has could not be taken.
type PartialError struct {
	Dropped int // series
	Text    string
}

func (e *PartialError) Error() string { return e.Text }

// Lost implements Loss.
func (e *PartialError) Lost() (reason string, count int) { return "series_limit", e.Dropped }

// Labels makes pairs of name, value, name, value, sorted by name.
func Labels(kv ...string) []*dto.LabelPair {
	if len(kv) == 0 {
		return nil
	}
	out := make([]*dto.LabelPair, 0, len(kv)/2)
	for i := 0; i+1 < len(kv); i += 2 {
		out = append(out, &dto.LabelPair{Name: &kv[i], Value: &kv[i+1]})
	}
	Sort(out)
	return out
}

// Sort sorts pairs by name, as Prometheus wants them.
func Sort(pairs []*dto.LabelPair) {
	slices.SortFunc(pairs, func(x, y *dto.LabelPair) int { return strings.Compare(x.GetName(), y.GetName()) })
}

// AddSummary adds a series of a summary family, if there is room.
func (f *Family) AddSummary(s *dto.Summary, labels []*dto.LabelPair) {
	if f.b.Room() {
		f.b.series++
		f.mf.Metric = append(f.mf.Metric, &dto.Metric{Label: labels, Summary: s})
		return
	}
	f.b.past++
}
