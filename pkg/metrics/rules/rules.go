// Package rules turns documents into series: what a metric is called, which
// parts of the document it is made of, and what they are worth. How a part is
// found is a [Language]'s: JSONPath, paths of XML, columns.
package rules

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/model"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
)

// Rule says how series of one metric are made.
type Rule struct {
	Name string // of the metric
	Help string // "": none
	Type dto.MetricType
	// Each finds the parts of the document of which each is a series; "": the
	// document itself.
	Each string
	// Value is a template for the number: text with paths in it; "": the part itself.
	Value string
	// Values are several at once: a template by what is put behind the name, with
	// an underscore between. Either these or Value.
	Values map[string]string
	// Labels are templates by label name, Constants texts that are always the same.
	Labels    map[string]string
	Constants map[string]string
	// Words are what a text counts for, before it is read as a number; "*" is what
	// any other text counts for that is no number.
	Words map[string]float64
	// Scale is what the number is multiplied with; 0 means 1.
	Scale float64
	// Timestamp is a template for milliseconds since 1970; "": none.
	Timestamp string
}

// Template is text with paths in it, compiled.
type Template[E any] interface {
	// Append appends the text that the template is for the element.
	Append(dst []byte, e E) ([]byte, error)
	// Constant reports whether the text is the same for every element.
	Constant() bool
}

// Language finds parts of documents of one kind. E is such a part.
type Language[E any] interface {
	// Each compiles a path: the function calls yield for each part that it finds.
	Each(path string) (func(doc E, yield func(E)) error, error)
	// Value compiles a template for a number, Label one for a label.
	Value(template string) (Template[E], error)
	Label(template string) (Template[E], error)
}

// ErrNotFound is a path that leads nowhere.
var ErrNotFound = errors.New("not found")

// Set is a list of rules, compiled. It is read-only.
type Set[E any] struct{ rules []rule[E] }

type rule[E any] struct {
	Rule
	each    func(doc E, yield func(E)) error // nil: the document itself
	outputs []output[E]
	labels  []label[E] // sorted by name
	stamp   Template[E]
}

type output[E any] struct {
	name  string
	value Template[E]
}

type label[E any] struct {
	name     string
	value    Template[E]
	constant *dto.LabelPair
}

// Compile checks rules and makes them ready. The error says which rule and field
// is wrong.
func Compile[E any](list []Rule, lang Language[E]) (*Set[E], error) {
	set := &Set[E]{}
	for i := range list {
		r, err := compile(list[i], lang)
		if err != nil {
			return nil, fmt.Errorf("rules[%d] (%q): %w", i, list[i].Name, err)
		}
		set.rules = append(set.rules, *r)
	}
	return set, nil
}

func compile[E any](r Rule, lang Language[E]) (*rule[E], error) {
	out := &rule[E]{Rule: r}
	if r.Scale == 0 {
		out.Scale = 1
	}
	if err := out.check(); err != nil {
		return nil, err
	}
	var err error
	if r.Each != "" {
		if out.each, err = lang.Each(r.Each); err != nil {
			return nil, fmt.Errorf("each: %w", err)
		}
	}
	if err := out.compileOutputs(lang); err != nil {
		return nil, err
	}
	for name, value := range r.Constants {
		out.labels = append(out.labels, label[E]{name: name, constant: pair(name, value)})
	}
	for name := range r.Labels {
		l := label[E]{name: name}
		if l.value, err = lang.Label(r.Labels[name]); err != nil {
			return nil, fmt.Errorf("labels.%s: %w", name, err)
		}
		if l.value.Constant() {
			var none E
			text, err := l.value.Append(nil, none)
			if err != nil {
				return nil, fmt.Errorf("labels.%s: %w", name, err)
			}
			l.constant = pair(name, string(text))
		}
		out.labels = append(out.labels, l)
	}
	slices.SortFunc(out.labels, func(a, b label[E]) int { return strings.Compare(a.name, b.name) })
	if r.Timestamp != "" {
		if out.stamp, err = lang.Value(r.Timestamp); err != nil {
			return nil, fmt.Errorf("timestamp: %w", err)
		}
	}
	return out, nil
}

func (r *rule[E]) compileOutputs(lang Language[E]) error {
	if len(r.Values) == 0 {
		t, err := lang.Value(r.Value)
		if err != nil {
			return fmt.Errorf("value: %w", err)
		}
		r.outputs = []output[E]{{name: r.Name, value: t}}
		return nil
	}
	for _, suffix := range slices.Sorted(maps.Keys(r.Values)) {
		t, err := lang.Value(r.Values[suffix])
		if err != nil {
			return fmt.Errorf("values.%s: %w", suffix, err)
		}
		name := r.Name + "_" + suffix
		if !model.LegacyValidation.IsValidMetricName(name) {
			return fmt.Errorf("values.%s: %q is not the name of a metric; use letters, digits and _", suffix, name)
		}
		r.outputs = append(r.outputs, output[E]{name: name, value: t})
	}
	return nil
}

func (r *rule[E]) check() error {
	if !model.LegacyValidation.IsValidMetricName(r.Name) {
		return fmt.Errorf("name: %q is not the name of a metric; use letters, digits and _", r.Name)
	}
	switch r.Type {
	case dto.MetricType_GAUGE, dto.MetricType_COUNTER, dto.MetricType_UNTYPED:
	default:
		return fmt.Errorf("type: %s cannot be made of single values; use gauge, counter or untyped", strings.ToLower(r.Type.String()))
	}
	if r.Value != "" && len(r.Values) > 0 {
		return errors.New("value: at most one of value and values may be there")
	}
	for _, name := range slices.AppendSeq(slices.Collect(maps.Keys(r.Labels)), maps.Keys(r.Constants)) {
		if !model.LegacyValidation.IsValidLabelName(name) || strings.HasPrefix(name, "__") {
			return fmt.Errorf("labels.%s: is not the name of a label; use letters, digits and _, not __ at the beginning", name)
		}
	}
	if math.IsNaN(r.Scale) || math.IsInf(r.Scale, 0) {
		return errors.New("scale: must be a number")
	}
	return nil
}

// Problem is what could not be made of a document.
type Problem struct {
	Metric string
	Count  int   // of series
	First  error // why the first of them could not
}

func (p *Problem) Error() string {
	if p.Count > 1 {
		return fmt.Sprintf("metric %s: %v (and %d more)", p.Metric, p.First, p.Count-1)
	}
	return fmt.Sprintf("metric %s: %v", p.Metric, p.First)
}

// Unwrap gives the first reason.
func (p *Problem) Unwrap() error { return p.First }

// Lost implements families.Loss.
func (p *Problem) Lost() (reason string, count int) { return "unreadable", p.Count }

// Run makes the series of a document. The error joins the [Problem] of every
// metric that had one; what could be made is in out.
func (s *Set[E]) Run(doc E, out *families.Builder) error {
	var errs []error
	for i := range s.rules {
		run := running[E]{rule: &s.rules[i], out: out}
		errs = append(errs, run.all(doc)...)
	}
	return errors.Join(errs...)
}

// running is one rule at work.
type running[E any] struct {
	*rule[E]
	out      *families.Builder
	families []*families.Family
	problems []Problem // per output
	text     []byte
	pairs    []dto.LabelPair
	values   []string
}

func (r *running[E]) all(doc E) []error {
	r.problems = make([]Problem, len(r.outputs))
	for i := range r.outputs {
		r.families = append(r.families, r.out.Family(r.outputs[i].name, r.Help, r.Type))
	}
	var err error
	if r.each == nil {
		r.one(doc)
	} else {
		err = r.each(doc, r.one)
	}
	var errs []error
	if err != nil {
		errs = append(errs, &Problem{Metric: r.Name, Count: 1, First: err})
	}
	for i := range r.problems {
		if p := &r.problems[i]; p.Count > 0 {
			p.Metric = r.outputs[i].name
			errs = append(errs, p)
		}
	}
	return errs
}

// one makes the series of one element.
func (r *running[E]) one(e E) {
	var labels []*dto.LabelPair
	for i := range r.outputs {
		v, err := r.number(r.outputs[i].value, e)
		if err != nil {
			p := &r.problems[i]
			p.Count++
			if p.First == nil {
				p.First = err
			}
			continue
		}
		if labels == nil {
			labels = r.label(e)
		}
		if m := r.families[i].Add(v, labels); m != nil && r.stamp != nil {
			m.TimestampMs = r.timestamp(e)
		}
	}
}

func (r *running[E]) number(t Template[E], e E) (float64, error) {
	text, err := t.Append(r.text[:0], e)
	r.text = text
	if err != nil {
		return 0, err
	}
	v, err := Number(unquote(text), r.Words)
	return v * r.Scale, err
}

// label makes the pairs of an element; a label that cannot be made is empty, as
// json_exporter has it.
func (r *running[E]) label(e E) []*dto.LabelPair {
	out := make([]*dto.LabelPair, 0, len(r.labels))
	for i := range r.labels {
		l := &r.labels[i]
		if l.constant != nil {
			out = append(out, l.constant)
			continue
		}
		text, err := l.value.Append(r.text[:0], e)
		r.text = text
		if err != nil {
			text = nil
		}
		if len(r.pairs) == 0 {
			const slab = 64
			r.pairs, r.values = make([]dto.LabelPair, slab), make([]string, slab)
		}
		r.values[0] = strings.ToValidUTF8(unquote(text), "\uFFFD")
		r.pairs[0].Name, r.pairs[0].Value = &l.name, &r.values[0]
		out = append(out, &r.pairs[0])
		r.pairs, r.values = r.pairs[1:], r.values[1:]
	}
	return out
}

func (r *running[E]) timestamp(e E) *int64 {
	text, err := r.stamp.Append(r.text[:0], e)
	r.text = text
	if err != nil {
		return nil
	}
	ms, err := strconv.ParseInt(unquote(text), 10, 64)
	if err != nil {
		return nil
	}
	return &ms
}

func pair(name, value string) *dto.LabelPair {
	value = strings.ToValidUTF8(value, "\uFFFD")
	return &dto.LabelPair{Name: &name, Value: &value}
}

// unquote takes the quotes off a text that is in quotes as a whole, since
// documents have numbers in strings in strings.
func unquote(b []byte) string {
	n := len(b)
	if n < 2 || b[0] != b[n-1] || b[0] != '"' && b[0] != '\'' {
		return string(b)
	}
	s := string(b)
	if b[0] == '\'' {
		return s[1 : n-1]
	}
	if inner, err := strconv.Unquote(s); err == nil {
		return inner
	}
	return s
}

// Number reads a text as a number, or as true or false, or as one of the words
// with a number of their own.
func Number(s string, words map[string]float64) (float64, error) {
	s = strings.TrimSpace(s)
	if v, ok := words[s]; ok {
		return v, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err == nil {
		return v, nil
	}
	if errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("%s is beyond what a float64 holds", clip(s))
	}
	if b, err := strconv.ParseBool(s); err == nil {
		if b {
			return 1, nil
		}
		return 0, nil
	}
	if v, ok := words["*"]; ok {
		return v, nil
	}
	return 0, fmt.Errorf("%q is not a number", clip(s))
}

// clip keeps an error short, whatever the document holds.
func clip(s string) string {
	const most = 40
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
