package schema_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/schema"
)

const order = `{
  "type": "object", "required": ["id", "items"], "additionalProperties": false,
  "properties": {
    "id": {"type": "string", "pattern": "^[0-9]+$"},
    "mail": {"type": "string", "format": "email"},
    "total": {"type": "number", "minimum": 0, "exclusiveMaximum": 1e3},
    "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}},
    "kind": {"enum": ["a", "b"]},
    "who": {"oneOf": [{"type": "string"}, {"type": "object", "required": ["name"]}]}
  },
  "$defs": {"item": {"type": "object", "required": ["sku"], "properties": {"a/b": {"type": "integer"}}}}
}`

func TestCheck(t *testing.T) {
	t.Parallel()
	s, err := schema.Compile(order)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, doc string
		want      []schema.Problem
	}{
		{"right", `{"id": "1", "items": [{"sku": "a"}], "total": 12345678901234567890e-19, "who": {"name": "x"}}`, nil},
		{"no object", `[1]`, []schema.Problem{{"", "got array, want object"}}},
		{"missing", `{"items": [{}]}`, []schema.Problem{{"/id", "is missing"}, {"/items/0/sku", "is missing"}}},
		{"too much", `{"id": "1", "items": [{"sku": "a"}], "x": 1, "y~/": 2}`, []schema.Problem{{"/x", "is not allowed here"}, {"/y~0~1", "is not allowed here"}}},
		{
			"values are not told", `{"id": "secret", "items": [{"sku": "a", "a/b": "secret"}], "mail": "secret", "total": -1, "kind": "secret", "who": 1}`,
			[]schema.Problem{
				{"/id", `does not match the pattern "^[0-9]+$"`},
				{"/items/0/a~1b", "got string, want integer"},
				{"/kind", "value must be one of 'a', 'b'"},
				{"/mail", "is not of the format email"},
				{"/total", "is less than it may be"},
				{"/who", "fits none of the schemas of oneOf"},
			},
		},
		{"many", `{"id": "1", "items": [` + strings.Repeat(`{},`, 100) + `{}]}`, nil},
	}
	for _, tt := range tests {
		got, err := s.Check([]byte(tt.doc))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.name == "many" {
			if len(got) != 16 {
				t.Errorf("%d problems are told", len(got))
			}
			continue
		}
		less := func(a, b schema.Problem) int { return strings.Compare(a.Pointer, b.Pointer) }
		if diff := cmp.Diff(sorted(tt.want, less), sorted(got, less)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, bad := range []string{"", "{", "{} {}", `{"id": "1" "items"}`} {
		if got, err := s.Check([]byte(bad)); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

func TestCompile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{`:                                 "reading the schema",
		`{"type": "strin"}`:                 "no JSON Schema: /type: fits none",
		`{"$ref": "https://example.com/a"}`: `it refers to "https://example.com/a": nothing is loaded`,
		`{"$ref": "other.json"}`:            `it refers to "other.json": nothing is loaded`,
		`{"$ref": "#/$defs/none"}`:          "none",
		`{"pattern": "("}`:                  "pattern",
		strings.Repeat(" ", schema.MaxBytes) + "{}": "more than",
	} {
		if _, err := schema.Compile(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v", text, err)
		}
	}
}
