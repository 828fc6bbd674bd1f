package resource

import (
	"cmp"
	"math"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	metricsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/metrics/v1"
)

func (r *reader) extractions(list []*metricsv1.Extraction, path string, needed bool) []Extraction {
	if needed && len(list) == 0 {
		r.fail(path, "is empty")
	}
	var out []Extraction
	for i, p := range list {
		at := index(path, i)
		x := Extraction{
			Name: p.GetName(), Path: p.GetPath(), Query: p.GetQuery(), Value: p.GetValue(), Labels: r.labels(p.GetLabels(), join(at, "labels")),
			Type: dto.MetricType_GAUGE, Help: p.GetHelp(), ValueMap: p.GetValueMap(), Scale: 1,
		}
		if !isMetricName(x.Name) {
			r.fail(join(at, "name"), "%q is not the name of a metric", x.Name)
		}
		if (x.Path != "") == (x.Query != "") {
			r.fail(at, "needs exactly one of path and query")
		}
		if t := r.metricType(p.GetType(), join(at, "type"), false); t != nil {
			x.Type = *t
		}
		if v := p.GetScale(); v != nil {
			x.Scale = r.factor(v.GetValue(), join(at, "scale"))
		}
		out = append(out, x)
	}
	return out
}

// factor refuses what a value can not be multiplied with.
func (r *reader) factor(v float64, path string) float64 {
	if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
		r.fail(path, "must be a finite number other than 0")
		return 1
	}
	return v
}

func (r *reader) metricsRules(list []*metricsv1.Rule, path string) []MetricsRule {
	var out []MetricsRule
	for i, p := range list {
		out = append(out, r.metricsRule(p, index(path, i)))
	}
	return out
}

func (r *reader) metricsRule(p *metricsv1.Rule, path string) MetricsRule {
	m := MetricsRule{
		Match:       r.pattern(p.GetMatch(), join(path, "match")),
		MatchType:   r.metricType(p.GetMatchType(), join(path, "match_type"), true),
		MatchLabels: p.GetMatchLabels(), Drop: p.GetDrop(), Name: p.GetName(), Labels: r.labels(p.GetLabels(), join(path, "labels")),
		Type: r.metricType(p.GetType(), join(path, "type"), false),
		Help: p.GetHelp(), Scale: 1, TTL: r.duration(p.GetTtl(), join(path, "ttl"), 0),
	}
	for name, text := range m.MatchLabels {
		r.pattern(text, join(path, "match_labels."+name))
	}
	if m.Name != "" && !strings.Contains(m.Name, "$") && !isMetricName(m.Name) {
		r.fail(join(path, "name"), "%q is not the name of a metric", m.Name)
	}
	if v := p.GetScale(); v != nil {
		m.Scale = r.factor(v.GetValue(), join(path, "scale"))
	}
	if u := p.GetUnit(); u != nil {
		m.Unit = &UnitConversion{From: u.GetFrom(), To: u.GetTo(), Scale: r.factor(u.GetScale(), join(path, "unit.scale")), Offset: u.GetOffset()}
		if !isMetricName(m.Unit.From) || !isMetricName(m.Unit.To) || math.IsNaN(m.Unit.Offset) || math.IsInf(m.Unit.Offset, 0) {
			r.fail(join(path, "unit"), "needs from, to and a finite offset")
		}
	}
	for i, v := range p.GetValueMap() {
		if m.ValueMap == nil {
			m.ValueMap = make(map[float64]float64)
		}
		if math.IsNaN(v.GetFrom()) {
			r.fail(index(join(path, "value_map"), i), "maps what is no number")
		}
		m.ValueMap[v.GetFrom()] = v.GetTo()
	}
	return m
}

// relabelActions are those of Prometheus.
func relabelActions() []string {
	return []string{"replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase", "uppercase", "keepequal", "dropequal"}
}

func (r *reader) relabelings(list []*metricsv1.Relabeling, path string) []Relabeling {
	var out []Relabeling
	for i, p := range list {
		at := index(path, i)
		c := Relabeling{
			SourceLabels: p.GetSourceLabels(), Separator: ";", Regex: r.pattern(cmp.Or(p.GetRegex(), "(.*)"), join(at, "regex")),
			Modulus: p.GetModulus(), TargetLabel: p.GetTargetLabel(), Replacement: "$1", Action: cmp.Or(strings.ToLower(p.GetAction()), "replace"),
		}
		if v := p.GetSeparator(); v != nil {
			c.Separator = v.GetValue()
		}
		if v := p.GetReplacement(); v != nil {
			c.Replacement = v.GetValue()
		}
		if !slices.Contains(relabelActions(), c.Action) {
			r.fail(join(at, "action"), "%q is not an action", c.Action)
		}
		if (c.Action == "hashmod") != (c.Modulus > 0) {
			r.fail(join(at, "modulus"), "goes with hashmod, which needs one")
		}
		out = append(out, c)
	}
	return out
}
