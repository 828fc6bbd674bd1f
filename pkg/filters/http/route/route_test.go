package route_test

import (
	"errors"
	"net/http"
	"regexp"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestNormalize(t *testing.T) {
	t.Parallel()
	all := resource.HTTPPath{Normalize: true, MergeSlashes: true, Escaped: resource.SlashesUnescaped}
	normal := resource.HTTPPath{Normalize: true}
	tests := []struct {
		options  resource.HTTPPath
		in, want string
		redirect bool
		err      error
	}{
		{resource.HTTPPath{}, "/a/../b%2fc//d", "/a/../b%2fc//d", false, nil},
		{normal, "/a/./b", "/a/b", false, nil},
		{normal, "/a/../b", "/b", false, nil},
		{normal, "/a/b/..", "/a/", false, nil},
		{normal, "/a/.", "/a/", false, nil},
		{normal, "/..", "", false, route.ErrPath},
		{normal, "/a/../../b", "", false, route.ErrPath},
		{normal, "/%2e%2e/b", "", false, route.ErrPath},
		{normal, "/a/%2E/b", "/a/b", false, nil},
		{normal, `/a\b\..\c`, "/a/c", false, nil},
		{normal, "/%61%2f%7e", "/a%2F~", false, nil},
		{normal, "/%zz", "", false, route.ErrPath},
		{normal, "/%0", "", false, route.ErrPath},
		{normal, "/%00", "", false, route.ErrPath},
		{normal, "/a...b/.c", "/a...b/.c", false, nil},
		{normal, "/a//b", "/a//b", false, nil},
		{all, "/a//b///c", "/a/b/c", false, nil},
		{all, "/a%2Fb%5cc", "/a/b/c", false, nil},
		{all, "/a%2f..%2fb", "/b", false, nil},
		{resource.HTTPPath{Escaped: resource.SlashesRefused}, "/a%2fb", "", false, route.ErrPath},
		{resource.HTTPPath{Escaped: resource.SlashesRefused}, "/a%20b", "/a%20b", false, nil},
		{resource.HTTPPath{Escaped: resource.SlashesRedirected}, "/a%2fb", "/a/b", true, nil},
	}
	for _, tt := range tests {
		got, redirect, err := route.Normalize(&tt.options, tt.in)
		if got != tt.want || redirect != tt.redirect || !errors.Is(err, tt.err) {
			t.Errorf("%q: %q, %v, %v, want %q", tt.in, got, redirect, err, tt.want)
		}
	}
}

// FuzzNormalize finds nothing to be changed in what it has made.
func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"/a/../b", "/%2e%2e/%61", "//a///b/.", `/\..\a`, "/a%2f%2F..%5c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if in == "" || in[0] != '/' {
			return
		}
		o := resource.HTTPPath{Normalize: true, MergeSlashes: true}
		once, _, err := route.Normalize(&o, in)
		if err != nil {
			return
		}
		if once == "" || once[0] != '/' {
			t.Fatalf("%q of %q", once, in)
		}
		if twice, _, err := route.Normalize(&o, once); twice != once || err != nil {
			t.Fatalf("%q of %q becomes %q, %v", once, in, twice, err)
		}
	})
}

func TestWithoutPort(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"a": "a", "a:80": "a", "1.2.3.4:5": "1.2.3.4", "[::1]": "[::1]", "[::1]:80": "[::1]", "::1": "::1", "a:": "a",
	} {
		if got := route.WithoutPort(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestFind chooses the virtual host as Envoy does, and its first route that
// matches.
func TestFind(t *testing.T) {
	t.Parallel()
	to := func(name, prefix string) resource.Route {
		return resource.Route{Name: name, Match: resource.RouteMatch{Path: resource.PathMatch{Kind: resource.PathPrefix, Value: prefix}}}
	}
	config := &resource.RouteConfig{VirtualHosts: []resource.VirtualHost{
		{Name: "rest", Domains: []string{"*"}, Routes: []resource.Route{to("rest", "/")}},
		{Name: "exact", Domains: []string{"a.example", "b.example:8080"}, Routes: []resource.Route{to("long", "/a/b"), to("short", "/a")}},
		{Name: "suffix", Domains: []string{"*.example"}, Routes: []resource.Route{to("suffix", "/")}},
		{Name: "longer suffix", Domains: []string{"*.deep.example"}, Routes: []resource.Route{to("deep", "/")}},
		{Name: "prefix", Domains: []string{"www.*"}, Routes: []resource.Route{to("www", "/")}},
	}}
	table := route.New(config)
	tests := []struct{ host, path, vhost, route string }{
		{"a.example", "/a/b/c", "exact", "long"},
		{"A.EXAMPLE", "/a/c", "exact", "short"},
		{"a.example", "/", "exact", ""},
		{"a.example:80", "/", "rest", "rest"},
		{"b.example:8080", "/a", "exact", "short"},
		{"c.example", "/", "suffix", "suffix"},
		{"c.deep.example", "/", "longer suffix", "deep"},
		{".example", "/", "rest", "rest"},
		{"www.net", "/", "prefix", "www"},
		{"www.example", "/", "suffix", "suffix"},
		{"other", "/", "rest", "rest"},
	}
	for _, tt := range tests {
		v, r := table.Find(&route.Request{Host: tt.host, Path: tt.path})
		name := ""
		if r != nil {
			name = r.Name
		}
		if v == nil || v.Name != tt.vhost || name != tt.route {
			t.Errorf("%s%s: %v, %q, want %q, %q", tt.host, tt.path, v, name, tt.vhost, tt.route)
		}
	}
	config.IgnorePort = true
	if v, _ := route.New(config).Find(&route.Request{Host: "a.example:80", Path: "/a"}); v.Name != "exact" {
		t.Errorf("%q with the port ignored", v.Name)
	}
	if v, _ := route.New(&resource.RouteConfig{}).Find(&route.Request{Host: "a", Path: "/"}); v != nil {
		t.Errorf("%q of no virtual hosts", v.Name)
	}
}

// TestMatchHeader matches several values as one, and inverts as Envoy does.
func TestMatchHeader(t *testing.T) {
	t.Parallel()
	exact := resource.StringMatch{Kind: resource.StringExact, Value: "a,b"}
	r := &route.Request{Method: "GET", Host: "h", Path: "/p", Query: "q", Scheme: "http", Header: http.Header{"X": {"a", "b"}, "N": {"7"}}}
	tests := map[string]struct {
		match resource.HeaderMatch
		want  bool
	}{
		"joined":             {resource.HeaderMatch{Name: "X", Kind: resource.HeaderString, String: exact}, true},
		"inverted":           {resource.HeaderMatch{Name: "X", Kind: resource.HeaderString, String: exact, Invert: true}, false},
		"missing":            {resource.HeaderMatch{Name: "Y", Kind: resource.HeaderString, String: exact}, false},
		"missing, inverted":  {resource.HeaderMatch{Name: "Y", Kind: resource.HeaderString, String: exact, Invert: true}, false},
		"missing is empty":   {resource.HeaderMatch{Name: "Y", Kind: resource.HeaderString, String: exact, Invert: true, MissingIsEmpty: true}, true},
		"present":            {resource.HeaderMatch{Name: "X", Kind: resource.HeaderPresent}, true},
		"absent":             {resource.HeaderMatch{Name: "Y", Kind: resource.HeaderPresent, Absent: true}, true},
		"not present":        {resource.HeaderMatch{Name: "X", Kind: resource.HeaderPresent, Invert: true}, false},
		"in range":           {resource.HeaderMatch{Name: "N", Kind: resource.HeaderRange, Low: 7, High: 8}, true},
		"above the range":    {resource.HeaderMatch{Name: "N", Kind: resource.HeaderRange, Low: 6, High: 7}, false},
		"no number":          {resource.HeaderMatch{Name: "X", Kind: resource.HeaderRange, Low: 0, High: 7}, false},
		"path with query":    {resource.HeaderMatch{Name: ":path", Kind: resource.HeaderString, String: resource.StringMatch{Kind: resource.StringExact, Value: "/p?q"}}, true},
		"regular expression": {resource.HeaderMatch{Name: ":method", Kind: resource.HeaderString, String: resource.StringMatch{Kind: resource.StringRegex, Regex: regexp.MustCompile("^G")}}, true},
	}
	for name, tt := range tests {
		if got := route.MatchHeader(&tt.match, r); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLocation says where redirects lead.
func TestLocation(t *testing.T) {
	t.Parallel()
	prefix := "/new"
	match := resource.PathMatch{Kind: resource.PathPrefix, Value: "/old"}
	tests := map[string]struct {
		redirect resource.Redirect
		host     string
		want     string
	}{
		"scheme":                {resource.Redirect{Scheme: "https"}, "h:80", "https://h/old/a?q"},
		"scheme, another port":  {resource.Redirect{Scheme: "https"}, "h:8080", "https://h:8080/old/a?q"},
		"host":                  {resource.Redirect{Host: "other"}, "h", "http://other/old/a?q"},
		"port":                  {resource.Redirect{Port: 8443}, "h:80", "http://h:8443/old/a?q"},
		"path":                  {resource.Redirect{Path: "/p"}, "h", "http://h/p?q"},
		"path with a query":     {resource.Redirect{Path: "/p?r"}, "h", "http://h/p?r"},
		"path without query":    {resource.Redirect{Path: "/p", StripQuery: true}, "h", "http://h/p"},
		"prefix":                {resource.Redirect{Rewrite: resource.PathRewrite{Prefix: &prefix}}, "h", "http://h/new/a?q"},
		"everything of another": {resource.Redirect{Scheme: "https", Host: "o", Port: 1, Path: "/p"}, "h", "https://o:1/p?q"},
	}
	for name, tt := range tests {
		r := &route.Request{Scheme: "http", Host: tt.host, Path: "/old/a", Query: "q"}
		if got := route.Location(&tt.redirect, &match, r); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
