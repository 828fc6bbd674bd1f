package relabel

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// rule is a resource.MetricsRule, compiled.
type rule struct {
	resource.MetricsRule
	match  *regexp.Regexp // nil: every name
	series []matcher      // sorted by label
	labels []string       // names of Labels, sorted
	names  names
}

// matcher is what a label must be like.
type matcher struct {
	label string
	re    *regexp.Regexp
}

// anchored compiles a regular expression for a whole text, in which a dot is any
// character, as Prometheus does.
func anchored(text string) (*regexp.Regexp, error) {
	return regexp.Compile("^(?s:" + text + ")$")
}

func newRule(c *resource.MetricsRule) (*rule, error) {
	r := &rule{MetricsRule: *c, labels: slices.Sorted(maps.Keys(c.Labels)), names: names{}}
	var err error
	if c.Match != "" {
		if r.match, err = anchored(c.Match); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.MatchLabels)) {
		re, err := anchored(c.MatchLabels[name])
		if err != nil {
			return nil, err
		}
		r.series = append(r.series, matcher{name, re})
	}
	return r, nil
}

// names remembers what a rule does with a name, so that a regular expression runs
// once for each name and not once for each scrape.
type names map[string]*plan

// maxNames bounds the memory.
const maxNames = 20_000

// plan is what a rule does with a name. nil: the name does not match.
type plan struct {
	name   string   // the new one
	values []string // of the labels
}

func (r *rule) plan(name string) *plan {
	if p, ok := r.names[name]; ok {
		return p
	}
	if len(r.names) >= maxNames {
		clear(r.names)
	}
	p := r.expand(name)
	r.names[strings.Clone(name)] = p
	return p
}

func (r *rule) expand(name string) *plan {
	at, re := []int(nil), r.match
	if re != nil {
		if at = re.FindStringSubmatchIndex(name); at == nil {
			return nil
		}
	}
	fill := func(template string) string {
		if re == nil || !strings.Contains(template, "$") {
			return template
		}
		return string(re.ExpandString(nil, template, name, at))
	}
	p := &plan{name: name}
	if r.Name != "" {
		p.name = fill(r.Name)
	}
	if r.Unit != nil {
		p.name = convertName(p.name, r.Unit)
	}
	for _, l := range r.labels {
		p.values = append(p.values, fill(r.Labels[l]))
	}
	return p
}

// apply changes the families that match.
func (r *rule) apply(families []*dto.MetricFamily, old aging) []*dto.MetricFamily {
	out := make([]*dto.MetricFamily, 0, len(families))
	for _, f := range families {
		p := r.plan(f.GetName())
		if p == nil || r.MatchType != nil && *r.MatchType != f.GetType() {
			out = append(out, f)
			continue
		}
		if len(r.series) == 0 {
			if !r.Drop {
				out = append(out, r.change(f, p, old))
			}
			continue
		}
		yes, no := r.split(f)
		if len(no) > 0 {
			out = append(out, withMetrics(f, no))
		}
		if len(yes) > 0 && !r.Drop {
			out = append(out, r.change(withMetrics(f, yes), p, old))
		}
	}
	return out
}

// split finds the series that match.
func (r *rule) split(f *dto.MetricFamily) (yes, no []*dto.Metric) {
	for _, m := range f.GetMetric() {
		if r.fits(m) {
			yes = append(yes, m)
		} else {
			no = append(no, m)
		}
	}
	return yes, no
}

func (r *rule) fits(m *dto.Metric) bool {
	for _, s := range r.series {
		if !s.re.MatchString(label(m.GetLabel(), s.label)) {
			return false
		}
	}
	return true
}

func (r *rule) change(f *dto.MetricFamily, p *plan, old aging) *dto.MetricFamily {
	name := f.GetName()
	if p.name != name {
		f = withName(f, p.name)
	}
	if r.Help != "" {
		f = withHelp(f, r.Help)
	}
	if r.Type != nil {
		f = retype(f, *r.Type)
	}
	if len(p.values) > 0 {
		f = withMetrics(f, mapSeries(f.GetMetric(), func(m *dto.Metric) *dto.Metric {
			labels := m.GetLabel()
			for i, l := range r.labels {
				labels = setLabel(labels, l, p.values[i])
			}
			return withLabels(m, labels)
		}))
	}
	if len(r.ValueMap) > 0 || r.Scale != 1 {
		f = withMetrics(f, mapSeries(f.GetMetric(), r.value))
	}
	if r.Unit != nil {
		f = withMetrics(f, mapSeries(f.GetMetric(), func(m *dto.Metric) *dto.Metric { return convert(m, r.Unit) }))
		f.Unit = nil
	}
	if r.TTL > 0 {
		f = withMetrics(f, mapSeries(f.GetMetric(), func(m *dto.Metric) *dto.Metric { return old.young(name, m, r.TTL) }))
	}
	return f
}

// value maps and scales a number.
func (r *rule) value(m *dto.Metric) *dto.Metric {
	v, ok := number(m)
	if !ok {
		return m
	}
	if mapped, ok := r.ValueMap[v]; ok {
		return withNumber(m, mapped)
	}
	return withNumber(m, v*r.Scale)
}
