package relabel

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// Families are never changed in place: they are the source's. These functions
// make shallow copies of as much as changes.

func withName(f *dto.MetricFamily, name string) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Help: f.Help, Type: f.Type, Metric: f.Metric, Unit: f.Unit}
}

func withHelp(f *dto.MetricFamily, help string) *dto.MetricFamily {
	return &dto.MetricFamily{Name: f.Name, Help: &help, Type: f.Type, Metric: f.Metric, Unit: f.Unit}
}

func withMetrics(f *dto.MetricFamily, metrics []*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: f.Name, Help: f.Help, Type: f.Type, Metric: metrics, Unit: f.Unit}
}

// mapSeries leaves out those for which change returns nil.
func mapSeries(metrics []*dto.Metric, change func(*dto.Metric) *dto.Metric) []*dto.Metric {
	out := make([]*dto.Metric, 0, len(metrics))
	for _, m := range metrics {
		if m = change(m); m != nil {
			out = append(out, m)
		}
	}
	return out
}

func copySeries(m *dto.Metric) *dto.Metric {
	return &dto.Metric{
		Label: m.Label, Gauge: m.Gauge, Counter: m.Counter, Summary: m.Summary, Untyped: m.Untyped,
		Histogram: m.Histogram, TimestampMs: m.TimestampMs,
	}
}

func withLabels(m *dto.Metric, labels []*dto.LabelPair) *dto.Metric {
	out := copySeries(m)
	out.Label = labels
	return out
}

func sortLabels(labels []*dto.LabelPair) {
	slices.SortFunc(labels, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
}

func label(labels []*dto.LabelPair, name string) string {
	for _, l := range labels {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// addMissing adds those of extra that labels do not have.
func addMissing(labels, extra []*dto.LabelPair) []*dto.LabelPair {
	out := slices.Clone(labels)
	for _, e := range extra {
		if !slices.ContainsFunc(labels, func(l *dto.LabelPair) bool { return l.GetName() == e.GetName() }) {
			out = append(out, e)
		}
	}
	sortLabels(out)
	return out
}

// setLabel gives a copy with a label set, or without it if the value is "".
func setLabel(labels []*dto.LabelPair, name, value string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, 0, len(labels)+1)
	for _, l := range labels {
		if l.GetName() != name {
			out = append(out, l)
		}
	}
	if value != "" {
		out = append(out, &dto.LabelPair{Name: &name, Value: &value})
	}
	sortLabels(out)
	return out
}

// number gives the one value of a series; a histogram or summary has none.
func number(m *dto.Metric) (float64, bool) {
	switch {
	case m.Counter != nil:
		return m.GetCounter().GetValue(), true
	case m.Gauge != nil:
		return m.GetGauge().GetValue(), true
	case m.Untyped != nil:
		return m.GetUntyped().GetValue(), true
	}
	return 0, false
}

// withNumber gives a copy with another value, of the same type.
func withNumber(m *dto.Metric, v float64) *dto.Metric {
	out := copySeries(m)
	switch {
	case m.Counter != nil:
		out.Counter = &dto.Counter{Value: &v, CreatedTimestamp: m.Counter.CreatedTimestamp}
	case m.Gauge != nil:
		out.Gauge = &dto.Gauge{Value: &v}
	case m.Untyped != nil:
		out.Untyped = &dto.Untyped{Value: &v}
	}
	return out
}

// retype gives the family another type, if its series have one number each.
func retype(f *dto.MetricFamily, t dto.MetricType) *dto.MetricFamily {
	if f.GetType() == t {
		return f
	}
	for _, m := range f.GetMetric() {
		if _, ok := number(m); !ok {
			return f
		}
	}
	out := withMetrics(f, mapSeries(f.GetMetric(), func(m *dto.Metric) *dto.Metric {
		v, _ := number(m)
		c := &dto.Metric{Label: m.Label, TimestampMs: m.TimestampMs}
		switch t {
		case dto.MetricType_COUNTER:
			c.Counter = &dto.Counter{Value: &v}
		case dto.MetricType_GAUGE:
			c.Gauge = &dto.Gauge{Value: &v}
		default:
			c.Untyped = &dto.Untyped{Value: &v}
		}
		return c
	}))
	out.Type = &t
	return out
}
