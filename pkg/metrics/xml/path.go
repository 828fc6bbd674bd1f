package xml

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
)

// Limits of a path.
const (
	maxPath  = 1024 // bytes
	maxSteps = 32
	maxFound = 1 << 20
)

// path is a part of XPath: /a/b/@c, .//b, *, .., text(), b[2], b[@c='d'],
// b[c='d'] and b[@c].
type path struct {
	absolute bool
	steps    []step
}

type step struct {
	deep      bool // //name: at any depth
	name      string
	kind      stepKind
	predicate []predicate
}

type stepKind uint8

const (
	elementStep stepKind = iota
	anyStep
	selfStep
	parentStep
	attrStep // the last one only, like textStep
	textStep
)

// predicate keeps the nth element (from 1), or those with an attribute or an
// element in them, whose text may have to be a certain one.
type predicate struct {
	nth   int
	attr  bool
	name  string
	value string
	equal bool // else not equal
	any   bool // whatever the value is
}

// node is an element, or one of its attributes.
type node struct {
	element *element
	attr    string // its name, if the node is an attribute
	isAttr  bool
}

func parsePath(text string) (*path, error) {
	if text == "" || len(text) > maxPath {
		return nil, fmt.Errorf("a path of 1 to %d bytes is needed", maxPath)
	}
	p := &path{}
	rest := text
	if strings.HasPrefix(rest, "/") {
		p.absolute = true
		if !strings.HasPrefix(rest, "//") {
			rest = rest[1:]
		}
	}
	for rest != "" {
		var s step
		if strings.HasPrefix(rest, "//") {
			s.deep, rest = true, rest[2:]
		} else if len(p.steps) > 0 {
			after, ok := strings.CutPrefix(rest, "/")
			if !ok {
				return nil, fmt.Errorf("%q: a / was expected before %q", text, rest)
			}
			rest = after
		}
		if n := len(p.steps); n == maxSteps || n > 0 && p.steps[n-1].last() {
			return nil, fmt.Errorf("%q: nothing can follow an attribute or a text, and at most %d steps may be there", text, maxSteps)
		}
		var err error
		if rest, err = s.parse(rest); err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		p.steps = append(p.steps, s)
	}
	if len(p.steps) == 0 {
		return nil, fmt.Errorf("%q leads to nothing", text)
	}
	return p, nil
}

func (s *step) last() bool { return s.kind == attrStep || s.kind == textStep }

// parse reads one step and returns what follows it.
func (s *step) parse(in string) (rest string, err error) {
	end := strings.IndexAny(in, "/[")
	if end < 0 {
		end = len(in)
	}
	name := in[:end]
	rest = in[end:]
	switch {
	case name == ".":
		s.kind = selfStep
	case name == "..":
		s.kind = parentStep
	case name == "*":
		s.kind = anyStep
	case name == "text()":
		s.kind = textStep
	case strings.HasPrefix(name, "@"):
		s.kind, name = attrStep, name[1:]
	}
	s.name = local(name)
	if s.kind <= elementStep || s.kind == attrStep {
		if s.name == "" || strings.ContainsAny(s.name, " \t\n'\"()@*]=") {
			return "", fmt.Errorf("%q is not the name of an element", name)
		}
	}
	for strings.HasPrefix(rest, "[") {
		if s.kind != elementStep && s.kind != anyStep {
			return "", errors.New("only elements can be chosen from with []")
		}
		var p predicate
		if rest, err = p.parse(rest[1:]); err != nil {
			return "", err
		}
		s.predicate = append(s.predicate, p)
	}
	return rest, nil
}

// local is a name without its prefix: namespaces do not count.
func local(name string) string { return name[strings.LastIndexByte(name, ':')+1:] }

func (p *predicate) parse(in string) (rest string, err error) {
	end := closing(in)
	if end < 0 {
		return "", errors.New("[ without ]")
	}
	inner, rest := strings.TrimSpace(in[:end]), in[end+1:]
	if n, err := strconv.Atoi(inner); err == nil {
		if n < 1 {
			return "", errors.New("elements are counted from 1")
		}
		p.nth = n
		return rest, nil
	}
	name, value, compared := strings.Cut(inner, "=")
	p.any, p.equal = !compared, true
	if before, ok := strings.CutSuffix(name, "!"); ok && compared {
		name, p.equal = before, false
	}
	name = strings.TrimSpace(name)
	if after, ok := strings.CutPrefix(name, "@"); ok {
		name, p.attr = after, true
	}
	if p.name = local(name); p.name == "" || strings.ContainsAny(p.name, " '\"()@[/") {
		return "", fmt.Errorf("[%s] is not understood", inner)
	}
	if compared {
		value = strings.TrimSpace(value)
		n := len(value)
		if n < 2 || value[0] != value[n-1] || value[0] != '\'' && value[0] != '"' {
			return "", fmt.Errorf("[%s]: the text to compare with needs quotes", inner)
		}
		p.value = value[1 : n-1]
	}
	return rest, nil
}

// closing finds the ] that is not in quotes.
func closing(in string) int {
	var quote byte
	for i := range len(in) {
		switch c := in[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case c == ']':
			return i
		}
	}
	return -1
}

// find gives the nodes that the path leads to. None at all is rules.ErrNotFound.
func (p *path) find(from node) ([]node, error) {
	at := []node{from}
	if p.absolute {
		for at[0].element.parent != nil {
			at[0].element = at[0].element.parent
		}
		at[0].isAttr = false
	}
	for i := range p.steps {
		var next []node
		for _, n := range at {
			if n.isAttr {
				continue
			}
			next = p.steps[i].from(n.element, next)
			if len(next) > maxFound {
				return nil, fmt.Errorf("more than %d elements", maxFound)
			}
		}
		if len(next) == 0 {
			return nil, fmt.Errorf("%s is %w", p.steps[i].describe(), rules.ErrNotFound)
		}
		at = next
	}
	return at, nil
}

func (s *step) describe() string {
	switch s.kind {
	case attrStep:
		return "the attribute " + s.name
	case elementStep:
		return "the element " + s.name
	default:
		return "an element"
	}
}

// from appends what the step leads to from an element.
func (s *step) from(e *element, out []node) []node {
	if s.deep {
		return s.below(e, out)
	}
	return s.here(e, out)
}

// below is here, and below in all children.
func (s *step) below(e *element, out []node) []node {
	out = s.here(e, out)
	for _, c := range e.children {
		if len(out) > maxFound {
			break
		}
		out = s.below(c, out)
	}
	return out
}

func (s *step) here(e *element, out []node) []node {
	switch s.kind {
	case selfStep, textStep:
		return append(out, node{element: e})
	case parentStep:
		if e.parent == nil {
			return out
		}
		return append(out, node{element: e.parent})
	case attrStep:
		if _, ok := e.attr(s.name); ok {
			out = append(out, node{element: e, attr: s.name, isAttr: true})
		}
		return out
	}
	var found []*element
	for _, c := range e.children {
		if s.kind == anyStep || c.name == s.name {
			found = append(found, c)
		}
	}
	for _, p := range s.predicate {
		found = p.choose(found)
	}
	for _, c := range found {
		out = append(out, node{element: c})
	}
	return out
}

func (p *predicate) choose(from []*element) []*element {
	if p.nth > 0 {
		if p.nth > len(from) {
			return nil
		}
		return from[p.nth-1 : p.nth]
	}
	var out []*element
	for _, e := range from {
		if p.holds(e) {
			out = append(out, e)
		}
	}
	return out
}

func (p *predicate) holds(e *element) bool {
	if p.attr {
		v, ok := e.attr(p.name)
		return ok && (p.any || (v == p.value) == p.equal)
	}
	for _, c := range e.children {
		if c.name == p.name && (p.any || (c.text == p.value) == p.equal) {
			return true
		}
	}
	return false
}

func (e *element) attr(name string) (string, bool) {
	for i := range e.attrs {
		if e.attrs[i].Name.Local == name {
			return e.attrs[i].Value, true
		}
	}
	return "", false
}

// text is that of an element, or the value of an attribute.
func (n node) text() string {
	if n.isAttr {
		v, _ := n.element.attr(n.attr)
		return v
	}
	return n.element.text
}
