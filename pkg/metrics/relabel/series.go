package relabel

import (
	"crypto/md5" //nolint:gosec // as Prometheus hashes: no secret
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// nameLabel is the name of a metric among the labels.
const nameLabel = "__name__"

// relabeling is Prometheus' relabel_config, compiled.
type relabeling struct {
	resource.Relabeling
	re *regexp.Regexp
}

func newRelabeling(c *resource.Relabeling) (*relabeling, error) {
	re, err := anchored(c.Regex)
	return &relabeling{*c, re}, err
}

// relabel applies all relabelings to all series. A series whose name has changed
// moves to another family.
func (r *Relabeler) relabel(families []*dto.MetricFamily) []*dto.MetricFamily {
	var out []*dto.MetricFamily
	for _, f := range families {
		first := len(out)
		for _, m := range f.GetMetric() {
			name, labels := f.GetName(), m.GetLabel()
			keep := true
			for _, c := range r.series {
				if name, labels, keep = c.apply(name, labels); !keep {
					break
				}
			}
			if !keep || name == "" {
				continue
			}
			out = into(out, first, f, name, withLabels(m, withoutMeta(labels)))
		}
	}
	return out
}

// into adds a series to the family of its name among those that f has become,
// which begin at first.
func into(out []*dto.MetricFamily, first int, f *dto.MetricFamily, name string, m *dto.Metric) []*dto.MetricFamily {
	for i := len(out) - 1; i >= first; i-- {
		if out[i].GetName() == name {
			out[i].Metric = append(out[i].Metric, m)
			return out
		}
	}
	return append(out, &dto.MetricFamily{Name: &name, Help: f.Help, Type: f.Type, Unit: f.Unit, Metric: []*dto.Metric{m}})
}

// withoutMeta removes labels that are there for relabelling alone.
func withoutMeta(labels []*dto.LabelPair) []*dto.LabelPair {
	for _, l := range labels {
		if strings.HasPrefix(l.GetName(), "__") {
			labels = setLabel(labels, l.GetName(), "")
		}
	}
	return labels
}

// apply changes one series. false: it is dropped.
func (c *relabeling) apply(name string, labels []*dto.LabelPair) (string, []*dto.LabelPair, bool) {
	get := func(l string) string {
		if l == nameLabel {
			return name
		}
		return label(labels, l)
	}
	set := func(l, value string) {
		if l == nameLabel {
			name = value
			return
		}
		labels = setLabel(labels, l, value)
	}
	values := make([]string, len(c.SourceLabels))
	for i, l := range c.SourceLabels {
		values[i] = get(l)
	}
	text := strings.Join(values, c.Separator)
	switch c.Action {
	case "keep":
		return name, labels, c.re.MatchString(text)
	case "drop":
		return name, labels, !c.re.MatchString(text)
	case "keepequal":
		return name, labels, get(c.TargetLabel) == text
	case "dropequal":
		return name, labels, get(c.TargetLabel) != text
	case "lowercase":
		set(c.TargetLabel, strings.ToLower(text))
	case "uppercase":
		set(c.TargetLabel, strings.ToUpper(text))
	case "hashmod":
		sum := md5.Sum([]byte(text)) //nolint:gosec // as above
		set(c.TargetLabel, strconv.FormatUint(binary.BigEndian.Uint64(sum[8:])%c.Modulus, 10))
	case "labelmap", "labeldrop", "labelkeep":
		labels = c.byName(labels)
	default:
		c.replace(text, set)
	}
	return name, labels, true
}

func (c *relabeling) replace(text string, set func(name, value string)) {
	at := c.re.FindStringSubmatchIndex(text)
	if at == nil {
		return
	}
	target := c.TargetLabel
	if strings.Contains(target, "$") {
		target = string(c.re.ExpandString(nil, target, text, at))
	}
	if target == "" {
		return
	}
	set(target, string(c.re.ExpandString(nil, c.Replacement, text, at)))
}

// byName does the actions that look at names of labels.
func (c *relabeling) byName(labels []*dto.LabelPair) []*dto.LabelPair {
	out := labels
	for _, l := range labels {
		matches := c.re.MatchString(l.GetName())
		switch {
		case c.Action == "labelmap" && matches:
			out = setLabel(out, c.re.ReplaceAllString(l.GetName(), c.Replacement), l.GetValue())
		case c.Action == "labeldrop" && matches, c.Action == "labelkeep" && !matches:
			out = setLabel(out, l.GetName(), "")
		}
	}
	return out
}
