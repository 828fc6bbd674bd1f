package rules_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// rows is a language for tests: a document is rows of columns, a path "*" is each
// row, a template "$column" is a cell, "bad" does not compile, others are text.
type rows struct{}

type doc struct {
	row  map[string]string
	rows []map[string]string
}

var errBad = errors.New("it is bad")

func (rows) Each(path string) (func(doc, func(doc)) error, error) {
	switch path {
	case "bad":
		return nil, errBad
	case "nowhere":
		return func(doc, func(doc)) error { return rules.ErrNotFound }, nil
	}
	return func(d doc, yield func(doc)) error {
		for _, r := range d.rows {
			yield(doc{row: r})
		}
		return nil
	}, nil
}

type cell struct{ name, text string }

func (rows) Value(t string) (rules.Template[doc], error) {
	if t == "bad" {
		return nil, errBad
	}
	if name, ok := strings.CutPrefix(t, "$"); ok {
		return cell{name: name}, nil
	}
	return cell{text: t}, nil
}

func (l rows) Label(t string) (rules.Template[doc], error) { return l.Value(t) }

func (c cell) Constant() bool { return c.name == "" }

func (c cell) Append(dst []byte, d doc) ([]byte, error) {
	if c.Constant() {
		return append(dst, c.text...), nil
	}
	v, ok := d.row[c.name]
	if !ok {
		return dst, rules.ErrNotFound
	}
	return append(dst, v...), nil
}

func table() doc {
	return doc{rows: []map[string]string{
		{"name": "one", "n": "7", "state": "up", "at": "1700000000000"},
		{"name": "two\xff", "n": `"8.5"`, "state": "down", "at": "soon"},
		{"name": "'three'", "state": "odd"},
		{"n": "x", "state": "true"},
	}}
}

func TestRun(t *testing.T) {
	t.Parallel()
	const gauge = dto.MetricType_GAUGE
	tests := []struct {
		name string
		rule rules.Rule
		want string
		errs string
	}{
		{
			"a value each, with labels, a scale and times",
			rules.Rule{Name: "n", Help: "Numbers.", Type: dto.MetricType_COUNTER, Each: "*", Value: "$n", Labels: map[string]string{"name": "$name", "fixed": "text"}, Constants: map[string]string{"a": "b"}, Scale: 10, Timestamp: "$at"},
			"# HELP n Numbers.\n# TYPE n counter\nn{a=\"b\",fixed=\"text\",name=\"one\"} 70 1700000000000\nn{a=\"b\",fixed=\"text\",name=\"two\uFFFD\"} 85\n",
			`metric n: not found (and 1 more)`,
		},
		{
			"several values",
			rules.Rule{Name: "m", Type: gauge, Each: "*", Values: map[string]string{"n": "$n", "one": "1"}, Labels: map[string]string{"name": "$name"}},
			"# TYPE m_n gauge\nm_n{name=\"one\"} 7\nm_n{name=\"two\uFFFD\"} 8.5\n# TYPE m_one gauge\nm_one{name=\"one\"} 1\nm_one{name=\"two\uFFFD\"} 1\nm_one{name=\"three\"} 1\nm_one{name=\"\"} 1\n",
			`metric m_n: not found (and 1 more)`,
		},
		{
			"words",
			rules.Rule{Name: "s", Type: gauge, Each: "*", Value: "$state", Words: map[string]float64{"up": 1, "down": 0, "*": -1}},
			"# TYPE s gauge\ns 1\ns 0\ns -1\ns 1\n", "",
		},
		{"a path that leads nowhere", rules.Rule{Name: "s", Type: gauge, Each: "nowhere", Value: "1"}, "", "metric s: not found"},
		{"the document itself", rules.Rule{Name: "s", Type: dto.MetricType_UNTYPED, Value: " true "}, "# TYPE s untyped\ns 1\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			set, err := rules.Compile([]rules.Rule{tt.rule}, rows{})
			if err != nil {
				t.Fatal(err)
			}
			b := &families.Builder{}
			said := ""
			if err := set.Run(table(), b); err != nil {
				said = err.Error()
				var problem *rules.Problem
				if !errors.As(err, &problem) || !errors.Is(err, rules.ErrNotFound) {
					t.Errorf("error %T", err)
				}
			}
			list, err := b.Done()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, tooltest.Text(t, list)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if said != tt.errs {
				t.Errorf("error %q, want %q", said, tt.errs)
			}
		})
	}
}

func TestCompileRefuses(t *testing.T) {
	t.Parallel()
	const gauge = dto.MetricType_GAUGE
	for want, r := range map[string]rules.Rule{
		`rules[0] ("a b"): name: "a b" is not the name of a metric`: {Name: "a b", Type: gauge},
		`type: histogram cannot be made of single values`:           {Name: "a", Type: dto.MetricType_HISTOGRAM},
		`value: at most one of value and values`:                    {Name: "a", Type: gauge, Value: "1", Values: map[string]string{"x": "1"}},
		`values.x-y: "a_x-y" is not the name of a metric`:           {Name: "a", Type: gauge, Values: map[string]string{"x-y": "1"}},
		`values.x: it is bad`:                                       {Name: "a", Type: gauge, Values: map[string]string{"x": "bad"}},
		`value: it is bad`:                                          {Name: "a", Type: gauge, Value: "bad"},
		`each: it is bad`:                                           {Name: "a", Type: gauge, Each: "bad"},
		`labels.l: it is bad`:                                       {Name: "a", Type: gauge, Labels: map[string]string{"l": "bad"}},
		`labels.__l: is not the name of a label`:                    {Name: "a", Type: gauge, Constants: map[string]string{"__l": "v"}},
		`labels.l-m: is not the name of a label`:                    {Name: "a", Type: gauge, Labels: map[string]string{"l-m": "v"}},
		`timestamp: it is bad`:                                      {Name: "a", Type: gauge, Timestamp: "bad"},
	} {
		if _, err := rules.Compile([]rules.Rule{r}, rows{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	words := map[string]float64{"on": 1, "1": 5}
	for give, want := range map[string]float64{" 12.5\n": 12.5, "-1e3": -1000, "true": 1, "F": 0, "on": 1, "1": 5} {
		if got, err := rules.Number(give, words); err != nil || got != want {
			t.Errorf("%q: %v, %v", give, got, err)
		}
	}
	for give, want := range map[string]string{"": `"" is not a number`, "1e999": "beyond what a float64 holds", strings.Repeat("x", 100): "xxx...", "1 2": "is not a number"} {
		if _, err := rules.Number(give, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", give, err, want)
		}
	}
}

// TestOf: labels in quotes are texts, others are paths.
func TestOf(t *testing.T) {
	t.Parallel()
	got := rules.AllOf([]resource.Extraction{{Name: "n", Help: "h", Path: "p", Value: "v", Scale: 2, Labels: map[string]string{"text": `"a b"`, "path": ".x", "odd": `"`}}})
	want := []rules.Rule{{Name: "n", Help: "h", Each: "p", Value: "v", Scale: 2, Constants: map[string]string{"text": "a b"}, Labels: map[string]string{"path": ".x", "odd": `"`}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if names := slices.Sorted(maps.Keys(got[0].Labels)); len(names) != 2 {
		t.Errorf("labels %q", names)
	}
}
