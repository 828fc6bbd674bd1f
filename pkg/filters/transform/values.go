package transform

import (
	"net/http"
	"net/url"

	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
)

// values are those of a request as it came, which texts may have in them.
type values struct {
	template *placeholder.Template // of the path; nil: no names
	path     []string              // what the names stand for, escaped
	query    string
	parsed   url.Values // of query; nil: not yet
	header   http.Header
}

func newValues(r *http.Request, template *placeholder.Template) *values {
	v := &values{template: template, query: r.URL.RawQuery, header: r.Header}
	if template != nil {
		v.path, _ = template.Match(r.URL.EscapedPath()) // without, the names have no values
	}
	return v
}

// text gives a value as plain text.
func (v *values) text(p placeholder.Part) (string, bool) {
	switch p.Kind {
	case placeholder.Path:
		s, ok := v.escaped(p.Text)
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
		return s, ok
	case placeholder.Query:
		if v.parsed == nil {
			v.parsed, _ = url.ParseQuery(v.query) // what can not be read is not there
		}
		list := v.parsed[p.Text]
		if len(list) == 0 {
			return "", false
		}
		return list[0], true
	default:
		list := v.header[http.CanonicalHeaderKey(p.Text)]
		if len(list) == 0 {
			return "", false
		}
		return list[0], true
	}
}

// inPath gives a value as a part of a path; one that is not there is nothing.
func (v *values) inPath(p placeholder.Part) (string, bool) {
	if p.Kind == placeholder.Path {
		s, _ := v.escaped(p.Text)
		return s, true
	}
	s, _ := v.text(p)
	return url.PathEscape(s), true
}

// escaped gives what a name of the path stands for, as it is there.
func (v *values) escaped(name string) (string, bool) {
	if v.template == nil || v.path == nil {
		return "", false
	}
	for i, n := range v.template.Names {
		if n == name {
			return v.path[i], true
		}
	}
	return "", false
}
