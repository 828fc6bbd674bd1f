// Package placeholder reads texts with names of values in braces, as documents of
// an API adapter have them: "/soap/orders/{id}", "tenant-{header.X-Tenant}".
//
//	{id}            a name of the path that the route matches
//	{query.page}    the first value of a parameter of the query
//	{header.Accept} the first value of a header
//	{{ and }}       a brace
package placeholder

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says where a value comes from.
type Kind uint8

// The kinds.
const (
	Literal Kind = iota // no value: the text itself
	Path
	Query
	Header
)

// Part is a piece of a text.
type Part struct {
	Kind Kind
	Text string // of a Literal; else the name of the value
}

// String is the part as it is written.
func (p Part) String() string {
	switch p.Kind {
	case Path:
		return "{" + p.Text + "}"
	case Query:
		return "{query." + p.Text + "}"
	case Header:
		return "{header." + p.Text + "}"
	default:
		return strings.NewReplacer("{", "{{", "}", "}}").Replace(p.Text)
	}
}

// Text is a text with names in it. The zero value is an empty text.
type Text []Part

// ErrBrace is the error of braces that do not fit each other.
var ErrBrace = errors.New("a { without its }, or the other way round: write {{ or }} for a brace")

// Parse reads a text.
func Parse(s string) (Text, error) {
	var t Text
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			t = append(t, Part{Text: literal.String()})
			literal.Reset()
		}
	}
	for s != "" {
		at := strings.IndexAny(s, "{}")
		if at < 0 {
			literal.WriteString(s)
			break
		}
		literal.WriteString(s[:at])
		if brace := s[at : at+1]; strings.HasPrefix(s[at+1:], brace) {
			literal.WriteString(brace)
			s = s[at+2:]
			continue
		}
		end := strings.IndexAny(s[at+1:], "{}")
		if s[at] == '}' || end < 0 || s[at+1+end] == '{' {
			return nil, ErrBrace
		}
		part, err := parseName(s[at+1 : at+1+end])
		if err != nil {
			return nil, err
		}
		flush()
		t = append(t, part)
		s = s[at+2+end:]
	}
	flush()
	return t, nil
}

// parseName reads what stands between braces.
func parseName(s string) (Part, error) {
	kind, name, dotted := strings.Cut(s, ".")
	switch {
	case !dotted && IsName(s):
		return Part{Path, s}, nil
	case kind == "query" && name != "" && !strings.ContainsAny(name, "&=#? "):
		return Part{Query, name}, nil
	case kind == "header" && isToken(name):
		return Part{Header, name}, nil
	default:
		return Part{}, fmt.Errorf("{%s} is no value: a {name} of the path, {query.name} or {header.Name} is", s)
	}
}

// IsName reports whether a name of a path may be called so: letters, digits and
// underscores, and no digit first.
func IsName(s string) bool {
	if s == "" || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && c != '_' {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// isToken reports whether s is a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

// String is the text as it is written.
func (t Text) String() string {
	var b strings.Builder
	for _, p := range t {
		b.WriteString(p.String())
	}
	return b.String()
}

// Values gives those parts that stand for values.
func (t Text) Values() []Part {
	var list []Part
	for _, p := range t {
		if p.Kind != Literal {
			list = append(list, p)
		}
	}
	return list
}

// Expand puts values in. Where one is not there, neither is the text: false.
func (t Text) Expand(value func(Part) (string, bool)) (string, bool) {
	if len(t) == 1 && t[0].Kind == Literal {
		return t[0].Text, true
	}
	var b strings.Builder
	for _, p := range t {
		if p.Kind == Literal {
			b.WriteString(p.Text)
			continue
		}
		v, ok := value(p)
		if !ok {
			return "", false
		}
		b.WriteString(v)
	}
	return b.String(), true
}
