package httprule

import (
	"errors"
	"fmt"
	"strings"
)

// maxPath bounds the segments of a request's path that are looked at.
const maxPath = 512

// AnyMethod is the method of a template that takes all, as custom patterns say
// it.
const AnyMethod = "*"

// ErrTwice is returned by Add for a template that matches the same requests as
// one that is there.
var ErrTwice = errors.New("matches what another does")

// Matcher finds the template that a request is meant by. It is read-only once
// all are added.
//
// A literal goes before *, and * before **, from the left to the right; of
// two that match the same path, one with the request's method goes before one
// for all methods.
type Matcher[T any] struct {
	root  node[T]
	verbs map[string]bool
	// UnknownVerbs has text after a colon taken for a verb even if no template has
	// it; the request then matches nothing.
	UnknownVerbs bool
	Unescape     Unescape
}

// node is a place in the tree of segments.
type node[T any] struct {
	literals map[string]*node[T]
	any      *node[T]
	rest     *node[T]
	ends     map[end]*entry[T]
}

// end is what must be at the end of a path.
type end struct{ verb, method string }

type entry[T any] struct {
	template *Template
	value    T
}

// Binding is the value of a variable in a request's path.
type Binding struct {
	Variable int // index into Template.Variables
	Value    string
}

// Add adds a template. An error is ErrTwice.
func (m *Matcher[T]) Add(method string, t *Template, value T) error {
	n := &m.root
	for i := range t.Segments {
		n = n.child(&t.Segments[i])
	}
	if n.ends == nil {
		n.ends = make(map[end]*entry[T])
	}
	at := end{t.Verb, method}
	if other := n.ends[at]; other != nil {
		return fmt.Errorf("%s %s %w, %s", method, t, ErrTwice, other.template)
	}
	n.ends[at] = &entry[T]{t, value}
	if t.Verb != "" {
		if m.verbs == nil {
			m.verbs = make(map[string]bool)
		}
		m.verbs[t.Verb] = true
	}
	return nil
}

func (n *node[T]) child(s *Segment) *node[T] {
	to := &n.any
	switch s.Kind {
	case Rest:
		to = &n.rest
	case Literal:
		if n.literals == nil {
			n.literals = make(map[string]*node[T])
		}
		if n.literals[s.Text] == nil {
			n.literals[s.Text] = &node[T]{}
		}
		return n.literals[s.Text]
	}
	if *to == nil {
		*to = &node[T]{}
	}
	return *to
}

// Match finds the template for a method and a path, which is still escaped and
// has no query. Slashes at its end mean nothing. The bindings are appended to
// into.
func (m *Matcher[T]) Match(method, path string, into []Binding) (value T, bindings []Binding, ok bool) {
	if path == "" || path[0] != '/' {
		return value, into, false
	}
	path = strings.TrimRight(path, "/")
	verb := ""
	if colon := strings.LastIndexByte(path, ':'); colon > strings.LastIndexByte(path, '/') {
		if plain, fine := unescape(path[colon+1:], AllCharacters); fine && (m.UnknownVerbs || m.verbs[plain]) {
			path, verb = path[:colon], plain
		}
	}
	var store [24]string
	segments := store[:0]
	if path != "" {
		for s := range strings.SplitSeq(path[1:], "/") {
			if len(segments) == maxPath {
				return value, into, false
			}
			segments = append(segments, s)
		}
	}
	found := m.root.find(segments, end{verb, method})
	if found == nil {
		return value, into, false
	}
	bindings, ok = m.bind(found.template, segments, into)
	return found.value, bindings, ok
}

// find goes down the tree. Every segment has at most three ways, and the last
// of them ends: a path of n segments is looked at in a tree as deep as the
// longest template.
func (n *node[T]) find(segments []string, at end) *entry[T] {
	if len(segments) == 0 {
		if e := n.ending(at); e != nil {
			return e
		}
		return n.rest.ending(at)
	}
	s := segments[0]
	if strings.IndexByte(s, '%') >= 0 {
		plain, ok := unescape(s, AllCharacters)
		if !ok {
			return nil
		}
		s = plain
	}
	if child := n.literals[s]; child != nil {
		if e := child.find(segments[1:], at); e != nil {
			return e
		}
	}
	if n.any != nil && s != "" {
		if e := n.any.find(segments[1:], at); e != nil {
			return e
		}
	}
	return n.rest.ending(at)
}

func (n *node[T]) ending(at end) *entry[T] {
	if n == nil {
		return nil
	}
	if e := n.ends[at]; e != nil {
		return e
	}
	return n.ends[end{at.verb, AnyMethod}]
}

// bind cuts the values of the variables out of the path.
func (m *Matcher[T]) bind(t *Template, segments []string, into []Binding) ([]Binding, bool) {
	more := len(segments) - len(t.Segments) // what ** stands for beyond one segment
	for i := range t.Variables {
		v := &t.Variables[i]
		to, how := v.End, AllCharacters
		if t.multi(v) {
			how = m.Unescape
			if t.Segments[v.End-1].Kind == Rest {
				to += more
			}
		}
		value := ""
		if to == v.Start+1 {
			value = segments[v.Start]
		} else if to > v.Start {
			value = strings.Join(segments[v.Start:to], "/")
		}
		plain, ok := unescape(value, how)
		if !ok {
			return into, false
		}
		into = append(into, Binding{Variable: i, Value: plain})
	}
	return into, true
}

// Expand makes a path of the values of the variables, in their order: what
// Match takes apart. An error says which value does not fit.
func (t *Template) Expand(values []string) (string, error) {
	if len(values) != len(t.Variables) {
		return "", fmt.Errorf("%d values for %d variables", len(values), len(t.Variables))
	}
	var b strings.Builder
	next := 0
	for i := 0; i < len(t.Segments); {
		if next < len(t.Variables) && t.Variables[next].Start == i {
			v, value := &t.Variables[next], values[next]
			if !t.fits(v, value) {
				return "", fmt.Errorf("the value of %s does not fit %s", strings.Join(v.Field, "."), t)
			}
			if value != "" {
				b.WriteString("/" + escape(value, t.multi(v)))
			}
			i, next = v.End, next+1
			continue
		}
		if s := &t.Segments[i]; s.Kind == Literal {
			b.WriteString("/" + escape(s.Text, false))
		} else if s.Kind == Any {
			return "", fmt.Errorf("%s has a * that is no variable: there is no value for it", t)
		}
		i++
	}
	if b.Len() == 0 {
		b.WriteByte('/')
	}
	if t.Verb != "" {
		b.WriteString(":" + escape(t.Verb, false))
	}
	return b.String(), nil
}

// fits says whether a variable can have a value.
func (t *Template) fits(v *Variable, value string) bool {
	if !t.multi(v) {
		s := &t.Segments[v.Start]
		return value != "" && value != "." && value != ".." && (s.Kind == Any || s.Text == value)
	}
	var parts []string
	if value != "" {
		parts = strings.Split(value, "/")
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	for i := v.Start; i < v.End; i++ {
		s := &t.Segments[i]
		if s.Kind == Rest {
			return true
		}
		if len(parts) == 0 || s.Kind == Literal && s.Text != parts[0] {
			return false
		}
		parts = parts[1:]
	}
	return len(parts) == 0
}
