package jsonpath_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/jsonpath"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
)

const document = `{"n": 1200000, "s": "text", "b": true, "null": null, "o": {"x": {"y": 5}}, "a.b": 6,
"l": [{"k": "one", "v": 1}, {"k": "two", "v": 2}, {"k": "three"}], "e": []}`

// TestTemplates holds what is ours alone: the tests of pkg/metrics/json compare
// the rest with kubectl's own.
func TestTemplates(t *testing.T) {
	t.Parallel()
	doc := parse(t, document)
	tests := map[string]string{
		"":                                  "",
		"text":                              "text",
		"{.n}":                              "1200000",
		"{.o.x.y}{.s}":                      "5text",
		`{.a\.b}`:                           "6",
		`{['a\.b']}`:                        "6",
		"{.l[*].k}":                         "one two three",
		"{.l[?(@.v==2)].k}":                 "two", // a number, as the path writes it
		"{.l[?(@.v>=1.0)].k}":               "one two",
		"{.l[?(@.v!=1)].k}":                 "two", // the third has no v
		"{.l[?(@.k=='three')].k}":           "three",
		"{.l[?(@.v)].k}":                    "one two",
		"{.e[*]}":                           "",
		"{range .l[*]}{.k}{','}{end}":       "one,two,three,",
		"{range .l[*]}{.k}{range .l}{end} ": "error",
		"{..y}":                             "5",
		"{.l[0,2].k}":                       "one three",
		"{.l[-1].k}":                        "three",
		"{.o}":                              `{"x":{"y":5}}`,
		"{true}{1.50}{'q'}":                 "true1.5q",
		"{.missing}":                        "error",
		"{.s.x}":                            "error",
		"{.n[0]}":                           "error",
		"{.e[0]}":                           "error",
		"{.l[?(@.k>1)]}":                    "error",
		"{.o[?(@.x)]}":                      "error",
		"{end}":                             "error",
		"{.l[1:0]}":                         "error",
		"{.l[0:2:0]}":                       "error",
	}
	for template, want := range tests {
		got, err := apply(template, doc)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s gives %q (%v), want %q", template, got, err, want)
		}
	}
}

func TestBadTemplatesAreRefused(t *testing.T) {
	t.Parallel()
	for _, template := range []string{
		"{", "{.a", "{.a[}", "{.a[x]}", "{.a[?(@.b}", "{.a[?(@.b)}", "{....a}", "{foo}", "{'a}", "{.a}{end}", "{range .a}", "{!}", "{1.2.3}",
		"{.a[?(@.b=!1)]}", "{.a[99999999999999999999]}", strings.Repeat("{range .a}", 100), "{.a[?(@.b == range)]}", strings.Repeat("x", 5000),
		strings.Repeat("{.a[?(@.x", 50),
	} {
		if _, err := jsonpath.Parse(template); err == nil {
			t.Errorf("%.40s is taken", template)
		}
	}
}

func TestNumbersOfJSONExporter(t *testing.T) {
	t.Parallel()
	p, err := jsonpath.Parse("{.n}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Floats().Append(nil, parse(t, document))
	if string(got) != "1.2e+06" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestNothingFoundCanBeTold(t *testing.T) {
	t.Parallel()
	if _, err := apply("{.o.z}", parse(t, document)); !errors.Is(err, rules.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// TestExplosionIsBounded: a path whose results would not fit into memory ends.
func TestExplosionIsBounded(t *testing.T) {
	t.Parallel()
	doc := parse(t, strings.Repeat("[", 200)+"1"+strings.Repeat("]", 200))
	path := "{" + strings.Repeat("..[*]", 8) + "}"
	if _, err := apply(path, doc); !errors.Is(err, jsonpath.ErrTooMany) {
		t.Errorf("got %v, want ErrTooMany", err)
	}
}

// FuzzParse: whatever is taken as a template can be applied, gives the same a
// second time, and does not end in a panic.
func FuzzParse(f *testing.F) {
	for _, template := range []string{"{.a[?(@.b==1)].c}", "{range .l[*]}{.k} {end}", "{..y}x{['a','b']}", "{.l[-1:0:2]}", `{"\n"}`} {
		f.Add(template)
	}
	parsed, err := tree.Parse(document, tree.Limits{})
	if err != nil {
		f.Fatal(err)
	}
	doc := parsed.Root()
	f.Fuzz(func(t *testing.T, template string) {
		p, err := jsonpath.Parse(template)
		if err != nil {
			return
		}
		first, errFirst := p.Append(nil, doc)
		second, errSecond := p.Append([]byte("before"), doc)
		if (errFirst == nil) != (errSecond == nil) || errFirst == nil && "before"+string(first) != string(second) {
			t.Errorf("%q: %q, %v and then %q, %v", template, first, errFirst, second, errSecond)
		}
		if p.Constant() && errFirst == nil && string(first) != template {
			t.Errorf("%q is constant, and gives %q", template, first)
		}
	})
}

func parse(t *testing.T, doc string) tree.Value {
	t.Helper()
	d, err := tree.Parse(doc, tree.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return d.Root()
}

func apply(template string, doc tree.Value) (string, error) {
	p, err := jsonpath.Parse(template)
	if err != nil {
		return "", err
	}
	out, err := p.Append(nil, doc)
	return string(out), err
}
