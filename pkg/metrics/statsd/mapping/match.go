package mapping

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

// Match is what a rule makes of a metric. It may be used again, and takes no
// memory then, but for a regular expression's own.
type Match struct {
	Rule *Rule // nil: none matches, and nothing below is set
	// Name is empty if the template came to nothing. Characters that a metric's
	// name can't have are still in it.
	Name []byte
	// Values are those of the rule's labels, in their order. They are valid until
	// the Match is used again.
	Values [][]byte

	fields [][]byte
	buf    []byte
	ends   []int
}

// Match finds the rule for a metric: the first glob that matches, or else the
// first regular expression.
func (f *File) Match(m *Match, name []byte, t Type) {
	m.Rule = nil
	if f.globs != nil {
		m.split(name)
		if i := f.globs.find(m.fields, t, f.unordered, len(f.Rules)); i < len(f.Rules) {
			m.Rule = f.Rules[i]
			m.expand(func(b []byte, t *template) []byte { return t.glob(b, name, m.fields, m.Rule.stars) })
			return
		}
	}
	for _, r := range f.regexes {
		if !r.Types[t] {
			continue
		}
		if found := r.regex.FindSubmatchIndex(name); found != nil {
			m.Rule = r
			m.expand(func(b []byte, t *template) []byte { return r.regex.Expand(b, t.text, name, found) })
			return
		}
	}
}

func (m *Match) split(name []byte) {
	m.fields = m.fields[:0]
	for {
		field, rest, more := bytes.Cut(name, []byte{'.'})
		m.fields = append(m.fields, field)
		if !more {
			return
		}
		name = rest
	}
}

// expand fills in the templates of the rule, all into one buffer.
func (m *Match) expand(fill func([]byte, *template) []byte) {
	m.buf, m.ends, m.Values = fill(m.buf[:0], &m.Rule.name), m.ends[:0], m.Values[:0]
	m.ends = append(m.ends, len(m.buf))
	for i := range m.Rule.Labels {
		m.buf = fill(m.buf, &m.Rule.Labels[i].parts)
		m.ends = append(m.ends, len(m.buf))
	}
	m.Name = m.buf[:m.ends[0]]
	for i := range m.Rule.Labels {
		m.Values = append(m.Values, m.buf[m.ends[i]:m.ends[i+1]])
	}
}

// node is a place in the tree of globs: what the fields before it led to.
type node struct {
	children map[string]*node
	star     *node
	rules    []leaf // that end here, first ones first
	first    int    // the first rule of all that end here or below
}

type leaf struct {
	index int
	types [types]bool
}

// add puts a glob into the tree and returns the fields of its stars.
func (n *node) add(glob string, index int, forTypes [types]bool) (stars []int) {
	for i, field := range strings.Split(glob, ".") {
		var next *node
		if field == "*" {
			stars = append(stars, i)
			if n.star == nil {
				n.star = &node{first: index}
			}
			next = n.star
		} else {
			if n.children == nil {
				n.children = map[string]*node{}
			}
			if n.children[field] == nil {
				n.children[field] = &node{first: index}
			}
			next = n.children[field]
		}
		n = next
	}
	n.rules = append(n.rules, leaf{index, forTypes})
	return stars
}

// find returns the first rule that matches the fields and comes before best, or
// else best. Without an order, an exact field is better than a star, from left
// to right.
func (n *node) find(fields [][]byte, t Type, unordered bool, best int) int {
	if !unordered && n.first >= best {
		return best
	}
	if len(fields) == 0 {
		for _, l := range n.rules {
			if l.types[t] {
				return min(best, l.index)
			}
		}
		return best
	}
	found := best
	if child := n.children[string(fields[0])]; child != nil {
		found = child.find(fields[1:], t, unordered, found)
	}
	if n.star != nil && (!unordered || found == best) {
		found = n.star.find(fields[1:], t, unordered, found)
	}
	return found
}

// reference is what statsd_exporter takes for one in a glob's templates.
var reference = regexp.MustCompile(`\$\{?([a-zA-Z0-9_$]+)\}?`)

// template is a text with references to what was matched.
type template struct {
	text  []byte // as it is in the file
	parts []part // of a glob's template
}

// part is a literal, or a reference if literal is nil: 0 is the whole name.
type part struct {
	literal []byte
	capture int
}

// newTemplate reads a glob's template. A reference to what there is not is
// nothing.
func newTemplate(text string, captures int) template {
	t := template{text: []byte(text)}
	last := 0
	for _, at := range reference.FindAllStringSubmatchIndex(text, -1) {
		if at[0] > last {
			t.parts = append(t.parts, part{literal: []byte(text[last:at[0]])})
		}
		last = at[1]
		if n, err := strconv.Atoi(text[at[2]:at[3]]); err == nil && n <= captures {
			t.parts = append(t.parts, part{capture: n})
		}
	}
	if last < len(text) {
		t.parts = append(t.parts, part{literal: []byte(text[last:])})
	}
	return t
}

func (t *template) glob(b, name []byte, fields [][]byte, stars []int) []byte {
	for i := range t.parts {
		switch p := &t.parts[i]; {
		case p.literal != nil:
			b = append(b, p.literal...)
		case p.capture == 0:
			b = append(b, name...)
		default:
			b = append(b, fields[stars[p.capture-1]]...)
		}
	}
	return b
}
