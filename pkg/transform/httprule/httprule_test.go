package httprule_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/transform/httprule"
)

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in, want string // as String gives it; "": refused
	}{
		{"/", "/"},
		{"/v1/messages/{message_id}", "/v1/messages/{message_id=*}"},
		{"/v1/{name=messages/*}", "/v1/{name=messages/*}"},
		{"/v1/messages/{message_id}/{sub.subfield}", "/v1/messages/{message_id=*}/{sub.subfield=*}"},
		{"/v1/{name=**}:cancel", "/v1/{name=**}:cancel"},
		{"/a/*/b/**", "/a/*/b/**"},
		{"/a%20b/c-d_e.f~g", "/a%20b/c-d_e.f~g"},
		{"/v1/{a=x/*}/{b=y/**}:verb", "/v1/{a=x/*}/{b=y/**}:verb"},
		{"", ""},
		{"v1", ""},
		{"//", ""},
		{"/a//b", ""},
		{"/a/", ""},
		{"/{a", ""},
		{"/{a}}", ""},
		{"/{}", ""},
		{"/{a.}", ""},
		{"/{1a}", ""},
		{"/{a={b}}", ""},
		{"/{a=}", ""},
		{"/{a}/{a}", ""},
		{"/**/a", ""},
		{"/{a=**}/{b=**}", ""},
		{"/a:", ""},
		{"/a:b:c", ""},
		{"/a b", ""},
		{"/a?b", ""},
		{"/a%2", ""},
		{"/a*", ""},
		{"/" + strings.Repeat("a/", 200) + "a", ""},
		{"/" + strings.Repeat("a", 5000), ""},
	}
	for _, test := range tests {
		got, err := httprule.Parse(test.in)
		if test.want == "" {
			if !errors.Is(err, httprule.ErrTemplate) {
				t.Errorf("Parse(%.40q) = %v, %v, want ErrTemplate", test.in, got, err)
			}
			continue
		}
		if err != nil || got.String() != test.want {
			t.Errorf("Parse(%q) = %v, %v, want %q", test.in, got, err, test.want)
		}
	}
}

// table is a matcher of "METHOD template" lines, each with itself as its value.
func table(t *testing.T, rules ...string) *httprule.Matcher[string] {
	t.Helper()
	m := &httprule.Matcher[string]{}
	for _, rule := range rules {
		method, text, _ := strings.Cut(rule, " ")
		template, err := httprule.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Add(method, template, rule); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestMatch(t *testing.T) {
	t.Parallel()
	m := table(t,
		"GET /", "GET /v1/messages/{id}", "GET /v1/{name=messages/*}/parts", "* /v1/messages/{id}", "GET /v1/messages/new",
		"POST /v1/messages/{id}:read", "GET /v1/users/{user}/messages/{id}", "GET /files/{path=**}", "GET /files/{path=**}:stat",
		"GET /shelves/{shelf=shelves/*/books/**}", "GET /x/*/y", "GET /x/a/z", "GET /p/{a=b/*}/{c.d=e/**}", "GET /sp%20ace/{x}")
	tests := []struct {
		request string
		want    string // the rule; "": none
		values  []string
	}{
		{"GET /", "GET /", nil},
		{"POST /", "", nil},
		{"GET /v1/messages/123456", "GET /v1/messages/{id}", []string{"123456"}},
		{"GET /v1/messages/123456/", "GET /v1/messages/{id}", []string{"123456"}},
		{"PUT /v1/messages/123456", "* /v1/messages/{id}", []string{"123456"}},
		{"GET /v1/messages/new", "GET /v1/messages/new", nil},
		{"PUT /v1/messages/new", "* /v1/messages/{id}", []string{"new"}},
		{"GET /v1/messages/a%2Fb%20c", "GET /v1/messages/{id}", []string{"a/b c"}},
		{"GET /v1/messages/a%2", "", nil},
		{"GET /v1/messages//", "", nil},
		{"GET /v1/messages/5/parts", "GET /v1/{name=messages/*}/parts", []string{"messages/5"}},
		{"GET /v1/users/me/messages/123456", "GET /v1/users/{user}/messages/{id}", []string{"me", "123456"}},
		{"POST /v1/messages/5:read", "POST /v1/messages/{id}:read", []string{"5"}},
		{"GET /v1/messages/5:read", "", nil},
		{"PUT /v1/messages/5:other", "* /v1/messages/{id}", []string{"5:other"}},
		{"GET /files", "GET /files/{path=**}", []string{""}},
		{"GET /files/a", "GET /files/{path=**}", []string{"a"}},
		{"GET /files/a/b/c%2Fd%20e", "GET /files/{path=**}", []string{"a/b/c%2Fd e"}},
		{"GET /files/a/b:stat", "GET /files/{path=**}:stat", []string{"a/b"}},
		{"GET /shelves/shelves/1/books/a/b", "GET /shelves/{shelf=shelves/*/books/**}", []string{"shelves/1/books/a/b"}},
		{"GET /shelves/shelves/1/books", "GET /shelves/{shelf=shelves/*/books/**}", []string{"shelves/1/books"}},
		{"GET /x/a/y", "GET /x/*/y", nil},
		{"GET /x/a/z", "GET /x/a/z", nil},
		{"GET /p/b/1/e/2/3", "GET /p/{a=b/*}/{c.d=e/**}", []string{"b/1", "e/2/3"}},
		{"GET /sp%20ace/1", "GET /sp%20ace/{x}", []string{"1"}},
		{"GET x", "", nil},
		{"GET /" + strings.Repeat("a/", 1000), "", nil},
	}
	for _, test := range tests {
		method, path, _ := strings.Cut(test.request, " ")
		rule, bindings, ok := m.Match(method, path, nil)
		if !ok {
			rule = ""
		}
		var values []string
		if ok {
			for _, b := range bindings {
				values = append(values, b.Value)
			}
		}
		if rule != test.want || !cmp.Equal(test.values, values) {
			t.Errorf("%.60s: %q %q, want %q %q", test.request, rule, values, test.want, test.values)
		}
	}
}

func TestUnescape(t *testing.T) {
	t.Parallel()
	for how, want := range map[httprule.Unescape]string{
		httprule.ExceptReserved: "a%2Fb%3A c", httprule.ExceptSlash: "a%2Fb: c", httprule.AllCharacters: "a/b: c",
	} {
		m := table(t, "GET /{path=**}")
		m.Unescape = how
		_, bindings, ok := m.Match("GET", "/a%2Fb%3A%20c", nil)
		if !ok || bindings[0].Value != want {
			t.Errorf("%d: %v %v, want %q", how, ok, bindings, want)
		}
	}
}

func TestVerbs(t *testing.T) {
	t.Parallel()
	m := table(t, "GET /foo/{x=*}")
	if _, bindings, ok := m.Match("GET", "/foo/bar:baz", nil); !ok || bindings[0].Value != "bar:baz" {
		t.Errorf("what is no verb of a template: %v, %v", bindings, ok)
	}
	m.UnknownVerbs = true
	if rule, _, ok := m.Match("GET", "/foo/bar:baz", nil); ok {
		t.Errorf("a verb that no template has matches %q", rule)
	}
}

func TestTwice(t *testing.T) {
	t.Parallel()
	m := table(t, "GET /v1/{name=messages/*}", "POST /v1/messages/{id}", "GET /v1/messages/{id}:read")
	again, err := httprule.Parse("/v1/messages/{other}")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Add("GET", again, ""); !errors.Is(err, httprule.ErrTwice) {
		t.Errorf("Add: %v, want ErrTwice", err)
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	tests := []struct {
		template string
		values   []string
		want     string // "": refused
	}{
		{"/v1/messages/{id}", []string{"a/b c"}, "/v1/messages/a%2Fb%20c"},
		{"/v1/messages/{id}", []string{""}, ""},
		{"/v1/messages/{id}", []string{".."}, ""},
		{"/v1/{name=messages/*}:read", []string{"messages/5"}, "/v1/messages/5:read"},
		{"/v1/{name=messages/*}", []string{"users/5"}, ""},
		{"/v1/{name=messages/*}", []string{"messages/5/6"}, ""},
		{"/v1/{name=messages/**}", []string{"messages/5/../6"}, ""},
		{"/f/{path=**}", []string{"a/b?c"}, "/f/a/b%3Fc"},
		{"/f/{path=**}", []string{""}, "/f"},
		{"/f/*", nil, ""},
		{"/f", []string{"a"}, ""},
		{"/", nil, "/"},
	}
	for _, test := range tests {
		template, err := httprule.Parse(test.template)
		if err != nil {
			t.Fatal(err)
		}
		got, err := template.Expand(test.values)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s of %q: %q, %v, want %q", test.template, test.values, got, err, test.want)
		}
	}
}

// FuzzParse asserts that what is written is read as the same again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"/", "/v1/{name=messages/*}:read", "/a/*/b/**", "/{a.b=c/**}/x", "/a%20b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, err := httprule.Parse(s)
		if err != nil {
			return
		}
		second, err := httprule.Parse(first.String())
		if err != nil {
			t.Fatalf("%q becomes %q: %v", s, first, err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzExpand asserts that a path which was made of values gives these values
// back.
func FuzzExpand(f *testing.F) {
	f.Add("/v1/{a}/{b=x/**}:v", "1", "x/2/3")
	f.Add("/{a=**}", "", "")
	f.Fuzz(func(t *testing.T, text, a, b string) {
		template, err := httprule.Parse(text)
		if err != nil || len(template.Variables) > 2 {
			return
		}
		values := []string{a, b}[:len(template.Variables)]
		path, err := template.Expand(values)
		if err != nil {
			return
		}
		m := &httprule.Matcher[int]{Unescape: httprule.AllCharacters}
		if err := m.Add("GET", template, 1); err != nil {
			t.Fatal(err)
		}
		_, bindings, ok := m.Match("GET", path, nil)
		if !ok {
			t.Fatalf("%q of %q is not matched", path, text)
		}
		for i := range bindings {
			if bindings[i].Value != values[i] {
				t.Fatalf("%q of %q: %q, want %q", path, text, bindings[i].Value, values[i])
			}
		}
	})
}
