package transform

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// errPath is the error of values that would lead out of the path that the
// document means.
var errPath = errors.New("a value makes a path with . or .. for a segment")

// target is the URL that goes on.
func target(old *url.URL, conf *resource.TransformRequest, v *values) (*url.URL, error) {
	u := *old
	if conf.Path != nil {
		path, _ := conf.Path.Expand(v.inPath)
		plain, err := url.PathUnescape(path)
		if err != nil {
			return nil, fmt.Errorf("the path %q: %w", path, err)
		}
		for segment := range strings.SplitSeq(plain, "/") {
			if segment == "." || segment == ".." {
				return nil, errPath
			}
		}
		u.Path, u.RawPath = plain, path
	}
	if !conf.Query.Empty() {
		u.RawQuery = changeQuery(u.RawQuery, &conf.Query, v)
	}
	return &u, nil
}

// changeHeaders does to headers what is asked for.
func changeHeaders(h http.Header, f *resource.TransformFields, v *values) {
	if f.All {
		removeAll(h)
	}
	for _, name := range f.Remove {
		delete(h, name)
	}
	for _, rename := range f.Rename {
		if list, ok := h[rename.From]; ok {
			delete(h, rename.From)
			h[rename.To] = list
		}
	}
	for i := range f.Set {
		if value, ok := headerValue(&f.Set[i], v); ok {
			h[f.Set[i].Name] = []string{value}
		}
	}
	for i := range f.Add {
		if value, ok := headerValue(&f.Add[i], v); ok {
			h[f.Add[i].Name] = append(h[f.Add[i].Name], value)
		}
	}
}

// removeAll leaves those headers that say how the message is framed, and what its
// body is.
func removeAll(h http.Header) {
	for name := range h {
		switch name {
		case "Connection", "Upgrade", "Transfer-Encoding", "Content-Length", "Trailer", "Te", "Expect", "Content-Type", "Content-Encoding", "Date":
		default:
			delete(h, name)
		}
	}
}

// headerValue gives the value of a header, unless it would be none: values of a
// path or a query may have any character in them.
func headerValue(f *resource.TransformField, v *values) (string, bool) {
	s, ok := f.Value.Expand(v.text)
	if !ok || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return "", false
	}
	return strings.Trim(s, " \t"), true
}

// changeQuery does to parameters what is asked for. Those that nobody names keep
// their place and their escapes.
func changeQuery(query string, f *resource.TransformFields, v *values) string {
	var pairs []string
	add := func(name, value string) { pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(value)) }
	set := make(map[string]string, len(f.Set))
	for i := range f.Set {
		if value, ok := f.Set[i].Value.Expand(v.text); ok {
			set[f.Set[i].Name] = value
		}
	}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" || f.All {
			continue
		}
		raw, rest, valued := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(raw)
		if err != nil {
			pairs = append(pairs, pair)
			continue
		}
		if slices.Contains(f.Remove, name) {
			continue
		}
		renamed := name
		for _, rename := range f.Rename {
			if rename.From == name {
				renamed = rename.To
			}
		}
		if _, replaced := set[renamed]; replaced {
			continue
		}
		if renamed != name {
			if pair = url.QueryEscape(renamed); valued {
				pair += "=" + rest
			}
		}
		pairs = append(pairs, pair)
	}
	for i := range f.Set {
		if value, ok := set[f.Set[i].Name]; ok {
			add(f.Set[i].Name, value)
		}
	}
	for i := range f.Add {
		if value, ok := f.Add[i].Value.Expand(v.text); ok {
			add(f.Add[i].Name, value)
		}
	}
	return strings.Join(pairs, "&")
}
