package mapping_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

func parse(tb testing.TB, text string) *mapping.File {
	tb.Helper()
	f, errs := mapping.Parse("m.yml", []byte(text))
	if err := errs.Err(); err != nil {
		tb.Fatal(err)
	}
	return f
}

// match says what becomes of a metric: the name and the labels, or "-".
func match(f *mapping.File, name string, t mapping.Type) string {
	var m mapping.Match
	f.Match(&m, []byte(name), t)
	if m.Rule == nil {
		return "-"
	}
	out := string(m.Name)
	for i, l := range m.Rule.Labels {
		out += fmt.Sprintf(" %s=%s", l.Name, m.Values[i])
	}
	return out
}

func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, file string
		metric     string
		typ        mapping.Type
		want       string
	}{
		{"nothing", `mappings: [{match: "a", name: x}]`, "b", mapping.Counter, "-"},
		{"whole name", `mappings: [{match: "a.b", name: x}]`, "a.b", mapping.Counter, "x"},
		{"not a prefix", `mappings: [{match: "a.b", name: x}]`, "a.b.c", mapping.Counter, "-"},
		{"a star is one field", `mappings: [{match: "a.*", name: x}]`, "a.b.c", mapping.Counter, "-"},
		{"a star may be empty", `mappings: [{match: "a.*.c", name: x, labels: {l: "<$1>"}}]`, "a..c", mapping.Counter, "x l=<>"},
		{"captures", `mappings: [{match: "*.b.*", name: "${2}_$1", labels: {w: "$0", l: "${1}x$2", m: "$3$9"}}]`, "a.b.c", mapping.Gauge, "c_a l=axc m= w=a.b.c"},
		{"a reference swallows what may belong to it", `mappings: [{match: "*", name: "x", labels: {l: "a$1_b"}}]`, "z", mapping.Gauge, "x l=a"},
		{"percent and ten", `mappings: [{match: "*", name: "x", labels: {l: "100% $1 $10"}}]`, "z", mapping.Gauge, "x l=100% z "},
		{"first rule wins", `mappings: [{match: "*.b", name: x}, {match: "a.*", name: y}, {match: "a.b", name: z}]`, "a.b", mapping.Counter, "x"},
		{"first of equals", `mappings: [{match: "a.*", name: x}, {match: "a.*", name: y}]`, "a.b", mapping.Counter, "x"},
		{"beginning of another", `mappings: [{match: "a.b.c", name: x}, {match: "a.b", name: y}]`, "a.b", mapping.Counter, "y"},
		{"other type", `mappings: [{match: "*", name: x, match_metric_type: gauge}, {match: "*", name: y}]`, "a", mapping.Counter, "y"},
		{"own type", `mappings: [{match: "*", name: x, match_metric_type: observer}, {match: "*", name: y}]`, "a", mapping.Observer, "x"},
		{"old name of a type", `mappings: [{match: "*", name: x, match_metric_type: timer}]`, "a", mapping.Observer, "x"},
		{"back to another way", `mappings: [{match: "a.*.c.d", name: x}, {match: "a.b.*.e", name: y}]`, "a.b.c.d", mapping.Counter, "x"},
		{"unordered", `{defaults: {glob_disable_ordering: true}, mappings: [{match: "*.*", name: x}, {match: "a.*", name: y}]}`, "a.b", mapping.Counter, "y"},
		{"unordered, back", `{defaults: {glob_disable_ordering: true}, mappings: [{match: "*.b.c", name: x}, {match: "a.*.d", name: y}]}`, "a.b.c", mapping.Counter, "x"},
		{"globs before expressions", `mappings: [{match: ".*", match_type: regex, name: x}, {match: "a", name: y}]`, "a", mapping.Counter, "y"},
		{"expression", `mappings: [{match: "a(b+)(?P<n>c)?", match_type: regex, name: "x_$1", labels: {l: "${n}", m: "$0"}}]`, "zabbcz", mapping.Counter, "x_bb l=c m=abbc"},
		{"expression of another type", `mappings: [{match: ".", match_type: regex, match_metric_type: gauge, name: x}, {match: ".", match_type: regex, name: y}]`, "a", mapping.Counter, "y"},
		{"a name that comes to nothing", `mappings: [{match: "a(b)?", match_type: regex, name: "$1"}]`, "a", mapping.Counter, ""},
		{"expressions by default", `{defaults: {match_type: regex}, mappings: [{match: "^a.c", name: x}, {match: "a.*", match_type: glob, name: y}]}`, "abcd", mapping.Counter, "x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := match(parse(t, tt.file), tt.metric, tt.typ); got != tt.want {
				t.Errorf("%s: got %q, want %q", tt.metric, got, tt.want)
			}
		})
	}
}

func TestMatchTakesNoMemory(t *testing.T) {
	f := parse(t, `mappings: [{match: "a.*.*", name: "x_${1}", labels: {l: "$2", m: "$0"}}, {match: "*.b.*", name: y}]`)
	var m mapping.Match
	name := []byte("a.b.c")
	f.Match(&m, name, mapping.Counter)
	if n := testing.AllocsPerRun(100, func() { f.Match(&m, name, mapping.Counter) }); n > 0 {
		t.Errorf("takes memory %v times", n)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	f := parse(t, `
defaults:
  observer_type: histogram
  ttl: 1h
  histogram_options: {buckets: [1, 2.5, .inf], native_histogram_max_buckets: 9}
  summary_options: {max_age: 30s, age_buckets: 3, quantiles: [{quantile: 0.5, error: 0.01}]}
mappings:
- match: a
  name: a
  help: Help.
  honor_labels: yes
  scale: 1e-3
  ttl: 0
- &second
  match: b
  name: b
  action: drop
  observer_type: summary
  summary_options: {buf_cap: 7}
- <<: *second
  match: c
  timer_type: summary
`)
	histogram := mapping.HistogramOptions{Buckets: []float64{1, 2.5}, NativeFactor: 1.1, NativeMaxBuckets: 9}
	all := [3]bool{true, true, true}
	summary := mapping.SummaryOptions{Quantiles: []mapping.Quantile{{Quantile: 0.5, Error: 0.01}}, MaxAge: 30 * time.Second, AgeBuckets: 3}
	own := summary
	own.BufCap = 7
	want := []*mapping.Rule{
		{Line: 8, Match: "a", Name: "a", Help: "Help.", HonorLabels: true, HasScale: true, Scale: 1e-3, TTL: time.Hour, Observer: mapping.Histogram, Histogram: histogram, Summary: summary, Types: all},
		{Line: 15, Match: "b", Name: "b", Drop: true, TTL: time.Hour, Histogram: histogram, Summary: own, Types: all},
		{Line: 20, Match: "c", Name: "b", Drop: true, TTL: time.Hour, Histogram: histogram, Summary: own, Types: all},
	}
	for i, r := range f.Rules {
		want[i].Line = r.Line // where anchors begin is YAML's business
	}
	if diff := cmp.Diff(want, f.Rules, cmpopts.IgnoreUnexported(mapping.Rule{})); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	if def := f.Default; def.Observer != mapping.Histogram || def.TTL != time.Hour || def.Name != "" {
		t.Errorf("default rule %+v", def)
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "\n", "# nothing\n", "mappings:\n", "{}", "null"} {
		want := &mapping.Rule{
			Types:     [3]bool{true, true, true},
			Summary:   mapping.SummaryOptions{Quantiles: []mapping.Quantile{{Quantile: 0.5, Error: 0.05}, {Quantile: 0.9, Error: 0.01}, {Quantile: 0.99, Error: 0.001}}},
			Histogram: mapping.HistogramOptions{Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}, NativeFactor: 1.1, NativeMaxBuckets: 256},
		}
		if diff := cmp.Diff(want, parse(t, text).Default, cmpopts.IgnoreUnexported(mapping.Rule{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, file, want string }{
		{"syntax", "mappings:\n- match: \"a\\w\"", `m.yml:2: found unknown escape character`},
		{"not a mapping", "- a", `m.yml:1: must be a mapping of keys to values`},
		{"two documents", "mappings: []\n---\nmappings: []", `m.yml: holds more than one YAML document; only one is read`},
		{"unknown key", "mappings:\n- match: a\n  name: b\n  mach: c", `m.yml:4: mappings[0].mach: there is no such key`},
		{"doubled key", "mappings:\n- match: a\n  name: b\n  name: c", `m.yml:4: mappings[0].name: is already given in line 3`},
		{"no name", "mappings:\n- match: a", `m.yml:2: mappings[0].name: is needed, also where the action is drop`},
		{"bad name", "mappings:\n- {match: a, name: 1a}", `m.yml:2: mappings[0].name: "1a" is no name of a metric: letters, digits, underscores and references ($1, ${1}), no digit first`},
		{"bad glob", "mappings:\n- {match: a.b*, name: x}", `m.yml:2: mappings[0].match: "a.b*" is no glob: fields of letters, digits, _ and -, or * for a whole field, separated by dots (match_type: regex for anything else)`},
		{"bad expression", "mappings:\n- {match: \"(\", name: x, match_type: regex}", "m.yml:2: mappings[0].match: is no regular expression: error parsing regexp: missing closing ): `(`"},
		{"bad label", "mappings:\n- match: a\n  name: x\n  labels:\n    b-c: d", `m.yml:5: mappings[0].labels.b-c: is no name of a label: letters, digits and underscores, no digit first`},
		{"several", "defaults:\n  ttl: soon\nmappings:\n- {match: a, name: x, scale: much}\n- {match: b, name: y, action: keep}\n- {match: c, name: z, match_type: fuzzy, match_metric_type: set, observer_type: gauge}", `m.yml:2: defaults.ttl: a duration such as 90s or 1h30m is wanted, not "soon"
m.yml:4: mappings[0].scale: a number is wanted, not "much"
m.yml:5: mappings[1].action: "map" or "drop" is wanted, not "keep"
m.yml:6: mappings[2].match_type: "glob" or "regex" is wanted, not "fuzzy"
m.yml:6: mappings[2].match_metric_type: "counter", "gauge" or "observer" is wanted, not "set"
m.yml:6: mappings[2].observer_type: "summary" or "histogram" is wanted, not "gauge"`},
		{"buckets", "mappings:\n- {match: a, name: x, observer_type: histogram, histogram_options: {buckets: [2, 1]}}", `m.yml:2: mappings[0].histogram_options.buckets[1]: buckets must increase: 1 is not above the one before it`},
		{"quantiles", "defaults:\n  summary_options:\n    quantiles:\n    - {quantile: 99, error: 1}", "m.yml:4: defaults.summary_options.quantiles[0].quantile: must be between 0 and 1, not 99\nm.yml:4: defaults.summary_options.quantiles[0].error: must be between 0 and 1, not 1"},
		{"options of the other", "mappings:\n- {match: a, name: x, observer_type: summary, histogram_options: {}}\n- {match: a, name: x, observer_type: histogram, summary_options: {}}", "m.yml:2: mappings[0].histogram_options: can't be used with the observer type summary\nm.yml:3: mappings[1].summary_options: can't be used with the observer type histogram"},
		{"too many", "mappings:\n- {match: a, name: x, summary_options: {age_buckets: 100000}}", `m.yml:2: mappings[0].summary_options.age_buckets: must be between 0 and 1000, not 100000`},
		{"negative", "mappings:\n- {match: a, name: x, ttl: -1s}", `m.yml:2: mappings[0].ttl: must not be negative, as -1s is`},
		{"list", "mappings: {}", `m.yml:1: mappings: must be a list`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, errs := mapping.Parse("m.yml", []byte(tt.file))
			if diff := cmp.Diff(tt.want, errs.Error()); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// TestManyAliases: a few lines that stand for very many values are refused soon.
func TestManyAliases(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("mappings:\n- &m\n  match: a\n  name: x\n  labels: &l {")
	for i := range 2000 {
		fmt.Fprintf(&b, "l%d: v, ", i)
	}
	b.WriteString("}\n")
	for range 3000 {
		b.WriteString("- {match: a, name: x, labels: *l}\n")
	}
	_, errs := mapping.Parse("m.yml", []byte(b.String()))
	if !strings.Contains(errs.Error(), "the file holds more than 262144 values") {
		t.Errorf("got %d errors: %.200s", len(errs), errs.Error())
	}
	if _, errs := mapping.Parse("m.yml", make([]byte, mapping.MaxSize+1)); len(errs) != 1 {
		t.Errorf("a file that is too large: %v", errs)
	}
}

// FuzzParse asserts that a file is refused with lines, or can be matched with.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`mappings: [{match: "*.b.*", name: "${2}_$1", labels: {w: "$0", l: "${1}x$2"}}]`, `{defaults: {glob_disable_ordering: true, match_type: regex}, mappings: [{match: "a(b)?", name: "$1"}]}`,
		"a: &a {b: *a}", "mappings: [{<<: [{match: a}, {name: b}], ttl: 1s}]", "mappings: [{match: a, name: x, histogram_options: {buckets: [.nan, 1]}}]",
	} {
		f.Add([]byte(s), "a.b.c")
	}
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		file, errs := mapping.Parse("m.yml", text)
		if (file == nil) != (len(errs) > 0) {
			t.Fatalf("a file %v with errors %v", file, errs)
		}
		if file == nil {
			return
		}
		var m mapping.Match
		for _, typ := range []mapping.Type{mapping.Counter, mapping.Gauge, mapping.Observer} {
			file.Match(&m, []byte(name), typ)
			if m.Rule != nil && (!m.Rule.Types[typ] || len(m.Values) != len(m.Rule.Labels)) {
				t.Fatalf("%q matches %+v with %q", name, m.Rule, m.Values)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var text strings.Builder
	text.WriteString("mappings:\n")
	for i := range 100 {
		fmt.Fprintf(&text, "- {match: \"app.service%d.*.*\", name: \"requests_%d\", labels: {l: \"$1\", m: \"$2\"}}\n", i, i)
	}
	f := parse(b, text.String())
	var m mapping.Match
	name := []byte("app.service77.get.200")
	b.ReportAllocs()
	for b.Loop() {
		f.Match(&m, name, mapping.Counter)
	}
}
