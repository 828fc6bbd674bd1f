package scrape

import (
	"maps"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Families that tell of the sources themselves.
const (
	familyDropped  = "adapter_source_dropped_total"
	familyDuration = "adapter_source_scrape_duration_seconds"
	familyRepaired = "adapter_source_repaired_total"
	familySeries   = "adapter_source_series"
	familyUp       = "adapter_source_up"
)

// reserved reports whether a name is one of those: a source's own family of this
// name is left out.
func reserved(name string) bool {
	switch name {
	case familyDropped, familyDuration, familyRepaired, familySeries, familyUp:
		return true
	}
	return false
}

// report tells of the sources, in families sorted by name.
func (s *Scraper) report(fetches []*Fetch) []*dto.MetricFamily {
	dropped := newFamily(familyDropped, "Series and events of a source that are left out, by reason", dto.MetricType_COUNTER)
	repaired := newFamily(familyRepaired, "Repairs of what a source gives, by reason", dto.MetricType_COUNTER)
	duration := newFamily(familyDuration, "Time that the source took for its last answer", dto.MetricType_GAUGE)
	series := newFamily(familySeries, "Series that the source has", dto.MetricType_GAUGE)
	up := newFamily(familyUp, "Whether the source gave all that it has", dto.MetricType_GAUGE)
	for i, p := range s.parts {
		f := fetches[i]
		ok := 0.0
		if f.Err == nil {
			ok = 1
		}
		add(up, ok, p.Name, "")
		add(duration, f.Took.Seconds(), p.Name, "")
		add(series, float64(p.series), p.Name, "")
		counts := p.Runner.dropped.ByReason()
		for reason, n := range p.Runner.losses() {
			counts[reason] += n
		}
		for _, reason := range slices.Sorted(maps.Keys(counts)) {
			add(dropped, float64(counts[reason]), p.Name, reason)
		}
		repairs := p.Runner.repaired.ByReason()
		for _, reason := range slices.Sorted(maps.Keys(repairs)) {
			add(repaired, float64(repairs[reason]), p.Name, reason)
		}
	}
	all := []*dto.MetricFamily{dropped, repaired, duration, series, up}
	all = slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return len(f.GetMetric()) == 0 })
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return all
}

func newFamily(name, help string, t dto.MetricType) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &t}
}

// add adds a series of a source, with a reason if there is one.
func add(f *dto.MetricFamily, v float64, source, reason string) {
	m := &dto.Metric{}
	if reason != "" {
		m.Label = append(m.Label, &dto.LabelPair{Name: new("reason"), Value: &reason})
	}
	m.Label = append(m.Label, &dto.LabelPair{Name: new("source"), Value: &source})
	if f.GetType() == dto.MetricType_COUNTER {
		m.Counter = &dto.Counter{Value: &v}
	} else {
		m.Gauge = &dto.Gauge{Value: &v}
	}
	f.Metric = append(f.Metric, m)
}

// proxyFamilies are the metrics of the process. Those that every Go program has
// get a prefix: an app in Go has them, too.
func proxyFamilies(g prometheus.Gatherer) []*dto.MetricFamily {
	families, _ := g.Gather() // an error with families: those that could be had
	out := make([]*dto.MetricFamily, 0, len(families))
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "go_") || strings.HasPrefix(f.GetName(), "process_") {
			name := "dragoman_" + f.GetName()
			f = &dto.MetricFamily{Name: &name, Help: f.Help, Type: f.Type, Metric: f.Metric, Unit: f.Unit}
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return out
}
