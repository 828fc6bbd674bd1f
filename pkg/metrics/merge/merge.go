package merge

import (
	"hash/maphash"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// sourceLabelName tells apart series that two sources have.
const sourceLabelName = "adapter_source"

// Part is what one source gives, made valid by a Cleaner.
type Part struct {
	Source   string
	Families []*dto.MetricFamily // sorted by name
	Dropped  *Counts
	Repaired *Counts
}

// Merger makes one exposition of several sources. It is not safe for concurrent
// use.
type Merger struct {
	seed maphash.Seed
	// split are families of which two sources had the same series once, by source
	// and name: the later source's keep the label from then on, also while the
	// other source is down. Otherwise a series would be another one each time.
	split map[[2]string]struct{}
}

// maxSplit bounds the memory of a Merger.
const maxSplit = 10_000

// NewMerger returns a merger.
func NewMerger() *Merger {
	return &Merger{seed: maphash.MakeSeed(), split: map[[2]string]struct{}{}}
}

// Merge returns the families of all parts, sorted by name, each name once. Of two
// sources that have a family with different types, the one that comes first has
// it. If they have the same series, those of the later one get the label
// adapter_source.
func (m *Merger) Merge(parts []Part) []*dto.MetricFamily {
	type entry struct {
		family *dto.MetricFamily
		part   *Part
	}
	var all []entry
	for i := range parts {
		for _, f := range parts[i].Families {
			all = append(all, entry{f, &parts[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b entry) int { return strings.Compare(a.family.GetName(), b.family.GetName()) })
	out := make([]*dto.MetricFamily, 0, len(all))
	owners := make([]*Part, 0, len(all))
	for _, e := range all {
		last := len(out) - 1
		switch {
		case last < 0 || out[last].GetName() != e.family.GetName():
			out, owners = append(out, m.labelled(e.family, e.part)), append(owners, e.part)
		case out[last].GetType() != e.family.GetType():
			e.part.Dropped.Add(TypeConflict, len(e.family.GetMetric()))
		default:
			out[last] = m.add(out[last], e.family, e.part)
		}
	}
	return withoutCollisions(out, owners)
}

// labelled gives a family its source's label, if it had to have it once.
func (m *Merger) labelled(f *dto.MetricFamily, p *Part) *dto.MetricFamily {
	if _, ok := m.split[[2]string{p.Source, f.GetName()}]; !ok {
		return f
	}
	return label(f, p)
}

// label gives all series of a family the label of their source.
func label(f *dto.MetricFamily, p *Part) *dto.MetricFamily {
	p.Repaired.Add(SourceLabel, len(f.GetMetric()))
	metrics := make([]*dto.Metric, len(f.GetMetric()))
	for i, s := range f.GetMetric() {
		metrics[i] = &dto.Metric{
			Label: withSource(s.GetLabel(), p.Source), Gauge: s.Gauge, Counter: s.Counter, Summary: s.Summary, Untyped: s.Untyped,
			Histogram: s.Histogram, TimestampMs: s.TimestampMs,
		}
	}
	return withMetrics(f, metrics)
}

func withSource(labels []*dto.LabelPair, source string) []*dto.LabelPair {
	name := sourceLabelName
	out := make([]*dto.LabelPair, 0, len(labels)+1)
	for _, l := range labels {
		if l.GetName() != name {
			out = append(out, l)
		}
	}
	out = append(out, &dto.LabelPair{Name: &name, Value: &source})
	slices.SortFunc(out, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}

// add puts the series of a family beside those of an earlier source.
func (m *Merger) add(to, f *dto.MetricFamily, p *Part) *dto.MetricFamily {
	key := [2]string{p.Source, f.GetName()}
	if _, known := m.split[key]; known || m.meet(to, f) {
		f = label(f, p)
		if known || len(m.split) < maxSplit {
			m.split[key] = struct{}{}
		}
	}
	return withMetrics(to, slices.Concat(to.GetMetric(), f.GetMetric()))
}

// meet reports whether two families have a series in common.
func (m *Merger) meet(a, b *dto.MetricFamily) bool {
	c := Cleaner{seed: m.seed}
	seen := make(map[uint64]struct{}, len(a.GetMetric()))
	for _, s := range a.GetMetric() {
		seen[c.hash(s.GetLabel())] = struct{}{}
	}
	for _, s := range b.GetMetric() {
		if _, ok := seen[c.hash(s.GetLabel())]; ok {
			return true
		}
	}
	return false
}

// withoutCollisions leaves out families whose name is that of the sums, counts or
// buckets of another one.
func withoutCollisions(families []*dto.MetricFamily, owners []*Part) []*dto.MetricFamily {
	taken := map[string]struct{}{}
	for _, f := range families {
		for _, suffix := range suffixes(f.GetType()) {
			taken[f.GetName()+suffix] = struct{}{}
		}
	}
	if len(taken) == 0 {
		return families
	}
	out := families[:0]
	for i, f := range families {
		if _, ok := taken[f.GetName()]; ok {
			owners[i].Dropped.Add(Collision, len(f.GetMetric()))
			continue
		}
		out = append(out, f)
	}
	return out
}

func suffixes(t dto.MetricType) []string {
	switch t {
	case dto.MetricType_HISTOGRAM, dto.MetricType_GAUGE_HISTOGRAM:
		return []string{"_bucket", "_count", "_sum"}
	case dto.MetricType_SUMMARY:
		return []string{"_count", "_sum"}
	case dto.MetricType_COUNTER, dto.MetricType_GAUGE, dto.MetricType_UNTYPED:
	}
	return nil
}
