// Package prom is a source that reads what another exporter shows: Prometheus'
// text format, OpenMetrics, or protobuf.
package prom

import (
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Parse reads a page of the text format or, if open is true, of OpenMetrics. It
// reads on after a line that is wrong; malformed counts those. Of further series
// than limit, which past counts, nothing is kept. The result shares memory with
// page.
//
// A counter of OpenMetrics has its suffix _total in its name, as in the text
// format. What only OpenMetrics has becomes the nearest: an info a gauge, a state
// set gauges, a gauge histogram and the unknown untyped.
func Parse(page string, open bool, limit int) (families []*dto.MetricFamily, malformed, past int) {
	p := parser{open: open, limit: limit, byName: map[string]*family{}}
	for line := range strings.SplitSeq(page, "\n") {
		line = strings.TrimRight(line, "\r \t")
		line = strings.TrimLeft(line, " \t")
		switch {
		case line == "":
		case line[0] == '#':
			if open && line == "# EOF" {
				return p.families(), p.malformed, p.past
			}
			p.comment(line)
		default:
			p.sample(line)
		}
	}
	return p.families(), p.malformed, p.past
}

type parser struct {
	open  bool
	limit int

	byName    map[string]*family // by the name of the head
	list      []*family
	series    int
	malformed int
	past      int
}

// family is one that is being read.
type family struct {
	name     string // of the head
	typ      dto.MetricType
	kind     string // as the page says
	help     *string
	samples  *dto.MetricFamily
	composed map[string]*dto.Metric // histograms and summaries, by their labels
}

// comment reads a line that begins with #.
func (p *parser) comment(line string) {
	c := scanner{s: line[1:]}
	keyword := c.word()
	if keyword != "HELP" && keyword != "TYPE" {
		return
	}
	c.blanks()
	var name string
	if strings.HasPrefix(c.s, `"`) {
		var err error
		if name, err = c.quoted(); err != nil {
			p.malformed++
			return
		}
	} else {
		name = c.word()
	}
	if name == "" {
		p.malformed++
		return
	}
	c.blanks()
	if f := p.byName[name]; f != nil && f.samples != nil {
		delete(p.byName, name) // a gauge and a counter may share a head
	}
	f := p.family(name)
	if keyword == "HELP" {
		help := unescapeHelp(c.s, p.open)
		f.help = &help
		return
	}
	f.kind = strings.ToLower(c.s)
	f.typ = typeOf(f.kind)
}

func typeOf(kind string) dto.MetricType {
	switch kind {
	case "counter":
		return dto.MetricType_COUNTER
	case "gauge", "info", "stateset":
		return dto.MetricType_GAUGE
	case "summary":
		return dto.MetricType_SUMMARY
	case "histogram":
		return dto.MetricType_HISTOGRAM
	}
	return dto.MetricType_UNTYPED
}

func unescapeHelp(s string, open bool) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	r := []string{`\\`, `\`, `\n`, "\n"}
	if open {
		r = append(r, `\"`, `"`)
	}
	return strings.NewReplacer(r...).Replace(s)
}

func (p *parser) family(name string) *family {
	f := p.byName[name]
	if f == nil {
		f = &family{name: name, typ: dto.MetricType_UNTYPED}
		p.byName[name] = f
		p.list = append(p.list, f)
	}
	return f
}

// owner finds the family of a sample, and what the sample's name has behind that
// of the family.
func (p *parser) owner(name string) (f *family, suffix string) {
	if f = p.byName[name]; f != nil {
		return f, ""
	}
	if i := strings.LastIndexByte(name, '_'); i > 0 {
		if f = p.byName[name[:i]]; f != nil && f.owns(name[i:], p.open) {
			return f, name[i:]
		}
	}
	return nil, ""
}

func (f *family) owns(suffix string, open bool) bool {
	switch f.kind {
	case "histogram":
		return suffix == "_bucket" || suffix == "_sum" || suffix == "_count" || open && suffix == "_created"
	case "summary":
		return suffix == "_sum" || suffix == "_count" || open && suffix == "_created"
	case "counter":
		return open && (suffix == "_total" || suffix == "_created")
	case "info":
		return open && suffix == "_info"
	}
	return false
}

func (p *parser) sample(line string) {
	c := scanner{s: line, open: p.open}
	var f *family
	suffix := ""
	s, err := c.sample(func(name string) string {
		if f, suffix = p.owner(name); f == nil {
			return ""
		}
		switch {
		case f.typ == dto.MetricType_HISTOGRAM && suffix == "_bucket":
			return "le"
		case f.typ == dto.MetricType_SUMMARY && suffix == "":
			return "quantile"
		}
		return ""
	})
	if err != nil {
		p.malformed++
		return
	}
	slices.SortStableFunc(s.labels, func(a, b *dto.LabelPair) int { return strings.Compare(a.GetName(), b.GetName()) })
	if f == nil {
		f = p.family(s.name)
	}
	switch {
	case f.typ == dto.MetricType_HISTOGRAM || f.typ == dto.MetricType_SUMMARY:
		p.compose(f, &s, suffix)
	case suffix == "_created":
		f.created(&s)
	default:
		p.simple(f, &s)
	}
}

// simple adds a series with one value.
func (p *parser) simple(f *family, s *sample) {
	if p.series >= p.limit {
		p.past++
		return
	}
	p.series++
	m := &dto.Metric{Label: s.labels, TimestampMs: s.stamp}
	switch f.typ {
	case dto.MetricType_COUNTER:
		m.Counter = &dto.Counter{Value: &s.value, Exemplar: s.exemplar}
	case dto.MetricType_GAUGE:
		m.Gauge = &dto.Gauge{Value: &s.value}
	default:
		m.Untyped = &dto.Untyped{Value: &s.value}
	}
	if f.samples == nil {
		name := s.name
		f.samples = &dto.MetricFamily{Name: &name, Type: f.typ.Enum()}
	}
	f.samples.Metric = append(f.samples.Metric, m)
}

// created notes when a counter began: its series comes before that.
func (f *family) created(s *sample) {
	metrics := f.samples.GetMetric()
	if len(metrics) == 0 {
		return
	}
	last := metrics[len(metrics)-1]
	if last.GetCounter() != nil && key(last.GetLabel()) == key(s.labels) {
		last.Counter.CreatedTimestamp = stamp(s.value)
	}
}

// compose adds a part of a histogram or a summary.
func (p *parser) compose(f *family, s *sample, suffix string) {
	if suffix == "" && f.typ == dto.MetricType_HISTOGRAM || s.bound == "" && (suffix == "_bucket" || suffix == "") {
		p.malformed++
		return
	}
	m := p.composed(f, s)
	if m == nil {
		return
	}
	bound := 0.0
	if s.bound != "" {
		v, err := number(s.bound)
		if err != nil {
			p.malformed++
			return
		}
		bound = v
	}
	if m.Histogram != nil {
		addHistogram(m.Histogram, s, suffix, bound)
		return
	}
	addSummary(m.Summary, s, suffix, bound)
}

func (p *parser) composed(f *family, s *sample) *dto.Metric {
	k := key(s.labels)
	if m := f.composed[k]; m != nil {
		return m
	}
	if p.series >= p.limit {
		p.past++
		return nil
	}
	p.series++
	m := &dto.Metric{Label: s.labels, TimestampMs: s.stamp}
	if f.typ == dto.MetricType_HISTOGRAM {
		m.Histogram = &dto.Histogram{}
	} else {
		m.Summary = &dto.Summary{}
	}
	if f.samples == nil {
		f.samples = &dto.MetricFamily{Name: &f.name, Type: f.typ.Enum()}
		f.composed = map[string]*dto.Metric{}
	}
	f.composed[k] = m
	f.samples.Metric = append(f.samples.Metric, m)
	return m
}

func addHistogram(h *dto.Histogram, s *sample, suffix string, bound float64) {
	switch suffix {
	case "_bucket":
		b := &dto.Bucket{UpperBound: &bound, Exemplar: s.exemplar}
		if whole, ok := count(s.value); ok {
			b.CumulativeCount = &whole
		} else {
			b.CumulativeCountFloat = &s.value
		}
		h.Bucket = append(h.Bucket, b)
	case "_sum":
		h.SampleSum = &s.value
	case "_count":
		if whole, ok := count(s.value); ok {
			h.SampleCount = &whole
		} else {
			h.SampleCountFloat = &s.value
		}
	case "_created":
		h.CreatedTimestamp = stamp(s.value)
	}
}

func addSummary(m *dto.Summary, s *sample, suffix string, bound float64) {
	switch suffix {
	case "":
		m.Quantile = append(m.Quantile, &dto.Quantile{Quantile: &bound, Value: &s.value})
	case "_sum":
		m.SampleSum = &s.value
	case "_count":
		if whole, ok := count(s.value); ok {
			m.SampleCount = &whole
		}
	case "_created":
		m.CreatedTimestamp = stamp(s.value)
	}
}

// count gives a whole number that is not negative.
func count(v float64) (uint64, bool) {
	if v < 0 || v >= math.MaxUint64 || v != math.Trunc(v) {
		return 0, false
	}
	return uint64(v), true
}

// stamp gives a time in seconds since 1970; nil for one that is out of range.
func stamp(seconds float64) *timestamppb.Timestamp {
	if math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return nil
	}
	whole, fraction := math.Modf(seconds)
	return timestamppb.New(time.Unix(int64(whole), int64(fraction*1e9)))
}

// key identifies a set of labels, which are sorted.
func key(labels []*dto.LabelPair) string {
	switch len(labels) {
	case 0:
		return ""
	case 1:
		return labels[0].GetName() + "\xff" + labels[0].GetValue()
	}
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.GetName())
		b.WriteByte(0xff)
		b.WriteString(l.GetValue())
		b.WriteByte(0xff)
	}
	return b.String()
}

// counted gives a histogram the count that its page has left out: that of its last
// bucket. Else it would be 0, below its buckets.
func counted(h *dto.Histogram) {
	if len(h.GetBucket()) == 0 || h.SampleCount != nil || h.SampleCountFloat != nil {
		return
	}
	last := h.GetBucket()[len(h.GetBucket())-1]
	h.SampleCount, h.SampleCountFloat = last.CumulativeCount, last.CumulativeCountFloat
}

// families gives those that have series, in the order of the page.
func (p *parser) families() []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(p.list))
	for _, f := range p.list {
		if f.samples == nil {
			continue
		}
		f.samples.Help = f.help
		for _, m := range f.samples.GetMetric() {
			if h := m.GetHistogram(); h != nil {
				slices.SortStableFunc(h.GetBucket(), func(a, b *dto.Bucket) int {
					switch {
					case a.GetUpperBound() < b.GetUpperBound():
						return -1
					case a.GetUpperBound() > b.GetUpperBound():
						return 1
					}
					return 0
				})
				counted(h)
			}
		}
		out = append(out, f.samples)
	}
	return out
}
