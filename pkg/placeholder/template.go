package placeholder

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Template is a path with names that stand for what requests have there, as in
// "/v2/orders/{id}/{rest=**}": {id} is one segment that is not empty, {rest=**},
// the last one, all that follows, which may be nothing.
type Template struct {
	Text     string
	Names    []string
	segments []segment
}

type segment struct {
	literal string
	name    int // index of Names, -1: a literal
	rest    bool
}

// Errors of templates.
var (
	errSlash = errors.New(`must be the path of a URL (as in "/v2/orders/{id}")`)
	errRest  = errors.New("has something after {name=**}, which takes all the rest")
	errStar  = errors.New("has a *: {name} stands for one segment, {name=**} for all the rest")
)

// ParseTemplate reads a path template.
func ParseTemplate(s string) (*Template, error) {
	if !strings.HasPrefix(s, "/") || strings.ContainsAny(s, " ?#") {
		return nil, errSlash
	}
	t := &Template{Text: s}
	for part := range strings.SplitSeq(s[1:], "/") {
		if n := len(t.segments); n > 0 && t.segments[n-1].rest {
			return nil, errRest
		}
		if err := t.add(part); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func (t *Template) add(part string) error {
	if !strings.ContainsAny(part, "{}") {
		if strings.Contains(part, "*") {
			return errStar
		}
		t.segments = append(t.segments, segment{literal: part, name: -1})
		return nil
	}
	name, opened := strings.CutPrefix(part, "{")
	name, closed := strings.CutSuffix(name, "}")
	name, rest := strings.CutSuffix(name, "=**")
	if !opened || !closed || !IsName(name) {
		return fmt.Errorf("%q is not a name in braces (a {name} is a whole segment, of letters, digits and _)", part)
	}
	if slices.Contains(t.Names, name) {
		return fmt.Errorf("{%s} is there twice (give one of them another name)", name)
	}
	t.segments = append(t.segments, segment{name: len(t.Names), rest: rest})
	t.Names = append(t.Names, name)
	return nil
}

// Match gives the texts that the names stand for, in their order, as they are in
// the path, escapes and all.
func (t *Template) Match(path string) ([]string, bool) {
	if !strings.HasPrefix(path, "/") {
		return nil, false
	}
	path = path[1:]
	values := make([]string, len(t.Names))
	for i := range t.segments {
		s := &t.segments[i]
		if s.rest {
			values[s.name] = path
			return values, true
		}
		part, rest, more := strings.Cut(path, "/")
		last := i == len(t.segments)-1
		switch {
		case more == last: // the one has more segments than the other
			return nil, false
		case s.name < 0 && part != s.literal, s.name >= 0 && part == "":
			return nil, false
		case s.name >= 0:
			values[s.name] = part
		}
		path = rest
	}
	return values, true
}
