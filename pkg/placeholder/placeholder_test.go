package placeholder_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
)

func TestParse(t *testing.T) {
	t.Parallel()
	value := func(p placeholder.Part) (string, bool) {
		v, ok := map[placeholder.Part]string{
			{Kind: placeholder.Path, Text: "id"}: "42", {Kind: placeholder.Query, Text: "a.b"}: "", {Kind: placeholder.Header, Text: "X-Y"}: "z",
		}[p]
		return v, ok
	}
	tests := []struct {
		text, want string
		absent     bool
	}{
		{text: "", want: ""},
		{text: "plain", want: "plain"},
		{text: "/orders/{id}", want: "/orders/42"},
		{text: "{id}{header.X-Y}", want: "42z"},
		{text: "<{query.a.b}>", want: "<>"},
		{text: "{{id}} {{{id}}}", want: "{id} {42}"},
		{text: "{query.other}", absent: true},
		{text: "a{other}", absent: true},
	}
	for _, tt := range tests {
		text, err := placeholder.Parse(tt.text)
		if err != nil {
			t.Errorf("%q: %v", tt.text, err)
			continue
		}
		if got, ok := text.Expand(value); got != tt.want || ok == tt.absent {
			t.Errorf("%q becomes %q, %v", tt.text, got, ok)
		}
		if text.String() != tt.text {
			t.Errorf("%q is written as %q", tt.text, text.String())
		}
	}
	for _, bad := range []string{"{", "}", "{id", "id}", "{}", "{1}", "{a b}", "{a{b}}", "{cookie.a}", "{query.}", "{header.}", "{header.a b}", "{id}}"} {
		if text, err := placeholder.Parse(bad); err == nil {
			t.Errorf("%q is taken for %q", bad, text)
		}
	}
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	tests := []struct {
		template, path string
		want           []string // nil: no match
	}{
		{"/", "/", []string{}},
		{"/", "/a", nil},
		{"/a", "/a", []string{}},
		{"/a", "/a/", nil},
		{"/a/", "/a/", []string{}},
		{"/a/", "/a", nil},
		{"/v2/orders/{id}", "/v2/orders/42", []string{"42"}},
		{"/v2/orders/{id}", "/v2/orders/a%2Fb", []string{"a%2Fb"}},
		{"/v2/orders/{id}", "/v2/orders/", nil},
		{"/v2/orders/{id}", "/v2/orders", nil},
		{"/v2/orders/{id}", "/v2/orders/42/items", nil},
		{"/{a}/x/{b}", "/1/x/2", []string{"1", "2"}},
		{"/{a}/x/{b}", "/1/y/2", nil},
		{"/f/{rest=**}", "/f/a/b", []string{"a/b"}},
		{"/f/{rest=**}", "/f/", []string{""}},
		{"/f/{rest=**}", "/f", nil},
		{"/{rest=**}", "/", []string{""}},
		{"/a", "a", nil},
	}
	for _, tt := range tests {
		template, err := placeholder.ParseTemplate(tt.template)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := template.Match(tt.path)
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != (tt.want != nil) {
			t.Errorf("%s for %s: %v (-want +got):\n%s", tt.template, tt.path, ok, diff)
		}
	}
	for _, bad := range []string{"", "a", "/a b", "/a?b", "/{", "/x{id}", "/{id}{x}", "/{id}/{id}", "/{rest=**}/a", "/*", "/a*b", "/{1}", "/{a.b}"} {
		if _, err := placeholder.ParseTemplate(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"/orders/{id}", "{{}}", "{query.a}{header.b}", "{", "}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := placeholder.Parse(s)
		if err == nil && text.String() != s {
			t.Errorf("%q is written as %q", s, text.String())
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("/v2/orders/{id}/{rest=**}", "/v2/orders/1/2/3")
	f.Fuzz(func(t *testing.T, s, path string) {
		template, err := placeholder.ParseTemplate(s)
		if err != nil {
			return
		}
		if values, ok := template.Match(path); ok && len(values) != len(template.Names) {
			t.Errorf("%q matches %q with %q", s, path, values)
		}
	})
}
