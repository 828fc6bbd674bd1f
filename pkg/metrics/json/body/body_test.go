package body_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/body"
)

var (
	now   = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)
	query = url.Values{"a": {"x", "y"}, "n": {"7"}}
)

func TestTemplates(t *testing.T) {
	t.Parallel()
	for template, want := range map[string]string{
		"plain":             "plain",
		"{{/* nothing */}}": "",
		"{{ .a }} {{ .a | first }} {{ last .a }}":                                                          "[x y] x y",
		"{{ .missing | first }}|{{ .missing }}":                                                            "<no value>|[]",
		"{{ index . \"a\" | join \"-\" }}":                                                                 "x-y",
		"{{ duration `95` }} {{ duration 3600 }}":                                                          "1m35s 1h0m0s",
		"{{ if .a }}yes{{ else }}no{{ end }}":                                                              "yes",
		"{{ if eq (first .n) \"7\" }}7{{ end }}":                                                           "7",
		"{{ range $i, $v := .a }}{{ $i }}={{ $v }},{{ end }}{{ range .b }}{{ else }}none{{ end }}":         "0=x,1=y,none",
		"{{ with .a | first }}<{{ . }}>{{ end }}":                                                          "<x>",
		"{{ $x := 1 }}{{ $x = add $x 2 }}{{ $x }}":                                                         "3",
		"{{ now | date `2006-01-02` }} {{ now | unixEpoch }} {{ now | dateModify `-24h` | date `01-02` }}": "2024-02-29 1709208000 02-28",
		"{{ .n | first | int | mul 6 }} {{ div 7 2 }} {{ mod 7 2 }} {{ sub 1 2 }}":                         "42 3 1 -1",
		"{{ default `d` `` }} {{ coalesce `` `c` }} {{ ternary 1 2 true }} {{ empty .b }}":                 "d c 1 true",
		"{{ `A b` | lower | replace ` ` `-` | quote }} {{ `x` | b64enc }} {{ toJson .a }}":                 `"a-b" eA== ["x","y"]`,
		"{{ `a,b` | splitList `,` | last }} {{ trimPrefix `a` `ab` }} {{ printf `%03d` 7 }}":               "b b 007",
		"{{ and .a .b }}{{ or .b `o` }}{{ not .b }} {{ len .a }} {{ hasPrefix `a` `ab` }}":                 "[]otrue 2 true",
	} {
		tmpl, err := body.Parse(template)
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		if got, err := tmpl.Execute(query, now); got != want || err != nil {
			t.Errorf("%s gives %q, %v, want %q", template, got, err, want)
		}
	}
}

func TestBadTemplates(t *testing.T) {
	t.Parallel()
	for _, template := range []string{
		"{{", "{{ env `HOME` }}", "{{ define `x` }}{{ end }}", "{{ .a.b }}", "{{ first `x` }}", "{{ div 1 0 }}", "{{ $x }}", "{{ add `x` 1 }}",
		"{{ randInt 2 1 }}", "{{ template `x` }}", "{{ printf `%*d` 100000000 1 }}", "{{ 1 | 2 }}", "{{ upper }}", "{{ range 5 }}{{ end }}",
	} {
		tmpl, err := body.Parse(template)
		if err == nil {
			_, err = tmpl.Execute(query, now)
		}
		if err == nil {
			t.Errorf("%s is taken", template)
		}
	}
}

// FuzzExecute: what is parsed ends, with a text of bounded length.
func FuzzExecute(f *testing.F) {
	f.Add("{{ range .a }}{{ . | upper }}{{ end }}{{ $x := now }}{{ date `2006` $x }}")
	f.Add("{{ printf `%s` (list 1 2 | join `x`) }}")
	f.Fuzz(func(t *testing.T, template string) {
		tmpl, err := body.Parse(template)
		if err != nil || strings.Contains(template, "printf") && strings.ContainsAny(template, "0123456789") {
			return // a width of many digits is the author's wish
		}
		if out, _ := tmpl.Execute(query, now); len(out) > 2<<20 {
			t.Errorf("%d bytes", len(out))
		}
	})
}
