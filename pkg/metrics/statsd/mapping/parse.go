package mapping

import (
	"cmp"
	"math"
	"regexp"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// MaxSize bounds a mapping file, in bytes.
const MaxSize = 8 << 20

// Bounds of what one series may take.
const (
	maxAgeBuckets    = 1000
	maxBufCap        = 1 << 20
	maxNativeBuckets = 1 << 16
)

var (
	globPattern  = regexp.MustCompile(`^(\*|[a-zA-Z_][a-zA-Z0-9_\-]*)(\.\*|\.[a-zA-Z0-9_][a-zA-Z0-9_\-]*)*$`)
	namePattern  = regexp.MustCompile(`^([a-zA-Z_]|\$\{?\d+\}?)([a-zA-Z0-9_]|\$\{?\d+\}?)*$`)
	labelPattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
)

// unset is what a rule did not say, so that the defaults do.
type unset struct {
	rule      Rule
	node      *yaml.Node
	path      string
	regex     *bool
	observer  *ObserverType
	forType   *Type
	summary   *yaml.Node // where its options are
	histogram *yaml.Node
}

// defaults is the section of that name.
type defaults struct {
	unset
	regexes   bool
	unordered bool
}

// Parse reads a mapping file. On success the errors are empty; otherwise the
// file is nil, and the errors are all that is wrong with it. An empty file has
// no rules.
func Parse(file string, data []byte) (*File, problem.List) {
	d := &decoder{file: file}
	var (
		def   defaults
		rules []*unset
	)
	if root := d.document(data); root != nil {
		// The defaults are read first, wherever they are.
		d.mapping(root, "", map[string]field{
			"defaults": func(n *yaml.Node, path string) { d.defaults(n, path, &def) },
			"mappings": func(n *yaml.Node, path string) {
				d.sequence(n, path, func(n *yaml.Node, path string) { rules = append(rules, d.rule(n, path)) })
			},
		})
	}
	def.fill()
	f := &File{unordered: def.unordered, Default: &def.rule}
	for _, u := range rules {
		d.finish(u, &def)
		f.Rules = append(f.Rules, &u.rule)
	}
	if len(d.errs) > 0 {
		return nil, d.errs.Sorted()
	}
	f.compile()
	return f, nil
}

func (d *decoder) defaults(n *yaml.Node, path string, def *defaults) {
	fields := d.options(&def.unset)
	fields["match_type"] = choice(d, &def.regexes, matchTypes(), `"glob" or "regex"`)
	fields["glob_disable_ordering"] = d.flag(&def.unordered)
	d.mapping(n, path, fields)
	if def.observer != nil {
		def.rule.Observer = *def.observer
	}
}

// options are the fields that the defaults and a rule have in common.
func (d *decoder) options(u *unset) map[string]field {
	r := &u.rule
	observer := func(n *yaml.Node, path string) {
		u.observer = new(ObserverType)
		choice(d, u.observer, map[string]ObserverType{"summary": Summary, "histogram": Histogram, "": Summary}, `"summary" or "histogram"`)(n, path)
	}
	return map[string]field{
		"observer_type": observer,
		"timer_type":    observer,
		"ttl":           d.duration(&r.TTL),
		"buckets":       func(n *yaml.Node, path string) { d.buckets(n, path, &r.Histogram) },
		"quantiles":     func(n *yaml.Node, path string) { d.quantiles(n, path, &r.Summary) },
		"summary_options": func(n *yaml.Node, path string) {
			u.summary = n
			d.mapping(n, path, map[string]field{
				"quantiles":   func(n *yaml.Node, path string) { d.quantiles(n, path, &r.Summary) },
				"max_age":     d.duration(&r.Summary.MaxAge),
				"age_buckets": d.count(&r.Summary.AgeBuckets, maxAgeBuckets),
				"buf_cap":     d.count(&r.Summary.BufCap, maxBufCap),
			})
		},
		"histogram_options": func(n *yaml.Node, path string) {
			u.histogram = n
			d.mapping(n, path, map[string]field{
				"buckets":                        func(n *yaml.Node, path string) { d.buckets(n, path, &r.Histogram) },
				"native_histogram_bucket_factor": d.number(&r.Histogram.NativeFactor),
				"native_histogram_max_buckets":   d.count(&r.Histogram.NativeMaxBuckets, maxNativeBuckets),
			})
		},
	}
}

func matchTypes() map[string]bool { return map[string]bool{"glob": false, "": false, "regex": true} }

func (d *decoder) rule(n *yaml.Node, path string) *unset {
	u := &unset{node: n, path: path}
	r := &u.rule
	r.Line = n.Line
	fields := d.options(u)
	fields["match"] = d.text(&r.Match)
	fields["name"] = d.text(&r.Name)
	fields["help"] = d.text(&r.Help)
	fields["honor_labels"] = d.flag(&r.HonorLabels)
	fields["labels"] = func(n *yaml.Node, path string) { d.labels(n, path, r) }
	fields["scale"] = func(n *yaml.Node, path string) {
		r.HasScale = true
		d.number(&r.Scale)(n, path)
	}
	fields["action"] = choice(d, &r.Drop, map[string]bool{"map": false, "": false, "drop": true}, `"map" or "drop"`)
	fields["match_type"] = func(n *yaml.Node, path string) {
		u.regex = new(bool)
		choice(d, u.regex, matchTypes(), `"glob" or "regex"`)(n, path)
	}
	fields["match_metric_type"] = func(n *yaml.Node, path string) {
		u.forType = new(Type)
		choice(d, u.forType, map[string]Type{"counter": Counter, "gauge": Gauge, "observer": Observer, "timer": Observer},
			`"counter", "gauge" or "observer"`)(n, path)
	}
	d.mapping(n, path, fields)
	return u
}

func (d *decoder) labels(n *yaml.Node, path string, r *Rule) {
	d.each(n, path, func(key, value *yaml.Node) {
		at := join(path, key.Value)
		if !labelPattern.MatchString(key.Value) {
			d.fail(key, at, "is no name of a label: letters, digits and underscores, no digit first")
			return
		}
		l := Label{Name: key.Value}
		if value = d.resolve(value, at); value != nil && !isNull(value) {
			d.text(&l.Template)(value, at)
		}
		r.Labels = append(r.Labels, l)
	})
	slices.SortFunc(r.Labels, func(a, b Label) int { return cmp.Compare(a.Name, b.Name) })
}

func (d *decoder) buckets(n *yaml.Node, path string, h *HistogramOptions) {
	h.Buckets = nil
	d.sequence(n, path, func(n *yaml.Node, path string) {
		var bound float64
		d.number(&bound)(n, path)
		if k := len(h.Buckets); k > 0 && bound <= h.Buckets[k-1] || math.IsNaN(bound) {
			d.fail(n, path, "buckets must increase: %v is not above the one before it", bound)
		}
		h.Buckets = append(h.Buckets, bound)
	})
	if k := len(h.Buckets); k > 0 && math.IsInf(h.Buckets[k-1], 1) {
		h.Buckets = h.Buckets[:k-1] // every histogram has it
	}
}

func (d *decoder) quantiles(n *yaml.Node, path string, s *SummaryOptions) {
	s.Quantiles = nil
	d.sequence(n, path, func(n *yaml.Node, path string) {
		var q Quantile
		d.mapping(n, path, map[string]field{"quantile": d.number(&q.Quantile), "error": d.number(&q.Error)})
		if !(q.Quantile >= 0 && q.Quantile <= 1) {
			d.fail(n, path+".quantile", "must be between 0 and 1, not %v", q.Quantile)
		}
		if !(q.Error >= 0 && q.Error < 1) {
			d.fail(n, path+".error", "must be between 0 and 1, not %v", q.Error)
		}
		// Of the same quantile twice, the last one counts.
		s.Quantiles = slices.DeleteFunc(s.Quantiles, func(other Quantile) bool { return other.Quantile == q.Quantile })
		s.Quantiles = append(s.Quantiles, q)
	})
	slices.SortFunc(s.Quantiles, func(a, b Quantile) int { return cmp.Compare(a.Quantile, b.Quantile) })
}
