package problem_test

import (
	"fmt"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

func TestYAML(t *testing.T) {
	t.Parallel()
	cases := map[string]struct{ text, want string }{
		"tab in the first line":       {"\ta: 1\n", "1: found a tab character that violates indentation (indent with spaces)"},
		"tab before a key":            {"a:\n  b:\n\t  c: 1\n", "3: found a tab character that violates indentation (indent with spaces)"},
		"tab behind a value":          {"a:\n  b: x\n\tc: 1\n", "3: found a tab character that violates indentation (indent with spaces)"},
		"tab behind spaces":           {"a:\n  b: x\n \tc: 1\n", "3: found a tab character that violates indentation (indent with spaces)"},
		"tab in a block of text":      {"a:\n  b: |\n\tx\n", "3: found a tab character where an indentation space is expected (indent with spaces)"},
		"a value that begins with @":  {"a: 1\nb: @x\n", "2: found character that cannot start any token (a value that begins with @, % or ` is written in quotes)"},
		"a value that begins with *":  {"a: 1\nb: *-prod\n", "2: unknown anchor '-prod' referenced (a value that begins with * or & is written in quotes)"},
		"a pattern":                   {"a: 1\nb: *.prod\n", "2: did not find expected alphabetic or numeric character (a value that begins with * or & is written in quotes)"},
		"a brace that is not closed":  {"a: 1\nb: {c: 1\nd: 2\n", "2: did not find expected ',' or '}' (a { is not closed, or a comma is missing)"},
		"the end of the text":         {"a: [", "1: did not find expected node content (a bracket is not closed, or a value that begins with : is not in quotes)"},
		"IPv6 without quotes":         {"a: 1\nb: {c: ::1:6379}\n", "2: did not find expected node content (a bracket is not closed, or a value that begins with : is not in quotes)"},
		"a list out of line":          {"a:\n  - b\n - c\n", "3: did not find expected key (keys of one mapping, and entries of one list, begin in the same column)"},
		"a key without a colon":       {"a:\n  b 1\n  c: 1\n", "3: mapping values are not allowed in this context (keys of one mapping begin in the same column; a value that has \": \" in it is written in quotes)"},
		"a quote that is not closed":  {"a: 1\nb: \"x\nc: 1\n", "2: found unexpected end of stream (a quote is not closed)"},
		"a key in the middle of list": {"a:\n- b\nc: 1\n- d\n", "4: did not find expected key (keys of one mapping, and entries of one list, begin in the same column)"},
		"a colon too many":            {"a: b\n c: d\n", "2: mapping values are not allowed in this context (keys of one mapping begin in the same column; a value that has \": \" in it is written in quotes)"},
		"no text":                     {"\x00", "0: control characters are not allowed"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var doc yaml.Node
			err := yaml.Unmarshal([]byte(tc.text), &doc)
			if err == nil {
				t.Fatal("it is valid")
			}
			line, reason := problem.YAML([]byte(tc.text), err)
			if got := fmt.Sprintf("%d: %s", line, reason); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}
