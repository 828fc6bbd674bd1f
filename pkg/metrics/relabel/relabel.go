// Package relabel changes metrics of a source as a document says: a prefix and
// labels, rules for whole metrics, and Prometheus' relabelling of series.
package relabel

import (
	"fmt"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Config says what is changed. It is applied in the order of its fields.
type Config struct {
	Prefix  string
	Labels  map[string]string // for series that have none of the name
	Rules   []resource.MetricsRule
	Relabel []resource.Relabeling
}

// Relabeler changes families. It is not safe for concurrent use.
type Relabeler struct {
	// read-only after construction
	prefix string
	labels []*dto.LabelPair
	rules  []*rule
	series []*relabeling

	ages ages // of series that a rule forgets
}

// New compiles what is to be done.
func New(c Config) (*Relabeler, error) {
	r := &Relabeler{prefix: c.Prefix, labels: pairs(c.Labels)}
	for i := range c.Rules {
		compiled, err := newRule(&c.Rules[i])
		if err != nil {
			return nil, fmt.Errorf("rules[%d]: %w", i, err)
		}
		r.rules = append(r.rules, compiled)
	}
	for i := range c.Relabel {
		compiled, err := newRelabeling(&c.Relabel[i])
		if err != nil {
			return nil, fmt.Errorf("relabel[%d]: %w", i, err)
		}
		r.series = append(r.series, compiled)
	}
	return r, nil
}

// Apply changes families, which stay as they are: what is changed is copied. now
// is the time at which they were read. Several families of the result may have
// the same name.
func (r *Relabeler) Apply(families []*dto.MetricFamily, now time.Time) []*dto.MetricFamily {
	if r.prefix == "" && len(r.labels) == 0 && len(r.rules) == 0 && len(r.series) == 0 {
		return families
	}
	out := make([]*dto.MetricFamily, 0, len(families))
	for _, f := range families {
		if r.prefix != "" {
			f = withName(f, r.prefix+f.GetName())
		}
		if len(r.labels) > 0 {
			f = withMetrics(f, mapSeries(f.GetMetric(), func(m *dto.Metric) *dto.Metric { return withLabels(m, addMissing(m.GetLabel(), r.labels)) }))
		}
		out = append(out, f)
	}
	for i, rule := range r.rules {
		out = rule.apply(out, r.aging(i, now))
	}
	if len(r.series) > 0 {
		out = r.relabel(out)
	}
	r.ages.sweep(now)
	return out
}

// pairs gives labels sorted by name.
func pairs(labels map[string]string) []*dto.LabelPair {
	out := make([]*dto.LabelPair, 0, len(labels))
	for name, value := range labels {
		out = append(out, &dto.LabelPair{Name: &name, Value: &value})
	}
	sortLabels(out)
	return out
}
