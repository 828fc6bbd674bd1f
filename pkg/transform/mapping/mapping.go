// Package mapping changes the fields of a tree by a map of paths: dropped, moved,
// given values, made of another type, always lists.
package mapping

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

// Limits of a map.
const (
	maxRules = 4096 // with those of the maps within
	maxMaps  = 8    // within each other
)

// Map says what becomes of the fields, in the order in which the steps stand
// here. Drop and Move name fields of the old body, what follows those of the new
// one. [] is each element of a list; of a value that is no list, it is that value,
// so that one element of XML is treated as a list of one.
type Map struct {
	// Drop removes fields.
	Drop []string
	// Move takes fields to another path, all at once: two may change places. What
	// has the new path and is not moved itself is replaced. Both paths have as many
	// []. "." is the whole body: {"data": "."} takes what is in data out of it,
	// {".": "data"} puts all into it. An object or list that moves leave empty is
	// removed; elements of a list keep their places as long as one is left.
	Move map[string]string
	// Default gives fields that are absent a string.
	Default map[string]string
	// Constant gives fields a string in any case.
	Constant map[string]string
	// Coerce makes values ones of another type; null stays what it is.
	Coerce map[string]Type
	// List makes fields lists, even with one element or, where what has the field
	// is there, none.
	List []string
	// Each is a map for each element of a list, which is the "." of that map.
	Each map[string]*Map
}

// Type is what a value is made.
type Type string

// The types. Bytes are read from base64.
const (
	String  Type = "string"
	Number  Type = "number"
	Boolean Type = "boolean"
	Bytes   Type = "bytes"
)

// Program is a compiled map. It is read-only.
type Program struct {
	drop     []Path
	move     []move // by the depth of their new path
	defaults []given
	constant []given
	coerce   []coercion
	list     []Path
	each     []nested
}

type move struct {
	from, to Path
	lists    int // [] of each
	// inPlace moves give a field another name, and leave it where it is.
	inPlace bool
}

type given struct {
	path Path
	text string
}

type coercion struct {
	path Path
	to   Type
}

type nested struct {
	path Path
	prog *Program
}

// Compile checks a map. Its errors name the field of the map.
func Compile(m *Map) (*Program, error) {
	rules := 0
	return compile(m, 0, &rules)
}

type compiler struct {
	prog Program
	errs []error
}

func compile(m *Map, depth int, rules *int) (*Program, error) {
	if depth >= maxMaps {
		return nil, fmt.Errorf("each: more than %d maps within each other", maxMaps)
	}
	*rules += len(m.Drop) + len(m.Move) + len(m.Default) + len(m.Constant) + len(m.Coerce) + len(m.List) + len(m.Each)
	if *rules > maxRules {
		return nil, fmt.Errorf("more than %d rules", maxRules)
	}
	c := &compiler{}
	for i, text := range m.Drop {
		c.prog.drop = append(c.prog.drop, c.path(fmt.Sprintf("drop[%d]", i), text))
	}
	for i, text := range m.List {
		c.prog.list = append(c.prog.list, c.path(fmt.Sprintf("list[%d]", i), text))
	}
	// Those that are nearer to the top come first: a field may be put into what
	// another rule has made.
	c.prog.defaults = c.given("default", m.Default)
	c.prog.constant = c.given("constant", m.Constant)
	for _, text := range slices.Sorted(maps.Keys(m.Coerce)) {
		c.coercion(text, m.Coerce[text])
	}
	c.moves(m.Move)
	for _, text := range slices.Sorted(maps.Keys(m.Each)) {
		field := "each." + text
		path := c.path(field, text)
		if m.Each[text] == nil {
			c.fail(field, errors.New("there is no map"))
			continue
		}
		prog, err := compile(m.Each[text], depth+1, rules)
		c.fail(field, err)
		c.prog.each = append(c.prog.each, nested{path, prog})
	}
	return &c.prog, errors.Join(c.errs...)
}

func (c *compiler) fail(field string, err error) {
	if err != nil {
		c.errs = append(c.errs, fmt.Errorf("%s: %w", field, err))
	}
}

func (c *compiler) path(field, text string) Path {
	p, err := ParsePath(text)
	c.fail(field, err)
	return p
}

func (c *compiler) given(field string, values map[string]string) []given {
	var all []given
	for _, text := range slices.Sorted(maps.Keys(values)) {
		if !utf8.ValidString(values[text]) {
			c.fail(field+"."+text, errors.New("the text is not UTF-8"))
		}
		all = append(all, given{c.path(field+"."+text, text), values[text]})
	}
	slices.SortStableFunc(all, func(a, b given) int { return len(a.path) - len(b.path) })
	return all
}

func (c *compiler) coercion(text string, to Type) {
	field := "coerce." + text
	switch to {
	case String, Number, Boolean, Bytes:
	default:
		c.fail(field, fmt.Errorf("%q is no type: string, number, boolean, bytes", to))
	}
	c.prog.coerce = append(c.prog.coerce, coercion{c.path(field, text), to})
}

func (c *compiler) moves(rules map[string]string) {
	for _, from := range slices.Sorted(maps.Keys(rules)) {
		field := "move." + from
		m := move{from: c.path(field, from), to: c.path(field, rules[from])}
		m.lists = m.from.Lists()
		if m.lists != m.to.Lists() {
			c.fail(field, errors.New("both paths need as many []"))
		}
		for _, other := range c.prog.move {
			if slices.Equal(other.to, m.to) {
				c.fail(field, fmt.Errorf("%s is where %s goes, too", m.to, other.from))
			}
			if slices.Equal(other.from, m.from) {
				c.fail(field, fmt.Errorf("%s is moved twice", m.from))
			}
		}
		c.prog.move = append(c.prog.move, m)
	}
	for i := range c.prog.move {
		c.prog.move[i].inPlace = c.inPlace(&c.prog.move[i])
	}
	slices.SortStableFunc(c.prog.move, func(a, b move) int { return len(a.to) - len(b.to) })
}

// inPlace tells whether a move gives a field another name, and no more: what it
// is in goes, or stays, where the new path says.
func (c *compiler) inPlace(m *move) bool {
	if len(m.from) == 0 || len(m.to) == 0 || m.from[len(m.from)-1].Each || m.to[len(m.to)-1].Each {
		return false
	}
	parent, target := m.from[:len(m.from)-1], m.to[:len(m.to)-1]
	var carrier *move // moves what the field is in
	for i := range c.prog.move {
		other := &c.prog.move[i]
		if other != m && parent.Under(other.from) && (carrier == nil || len(other.from) > len(carrier.from)) {
			carrier = other
		}
	}
	base := Path{}
	if carrier != nil {
		parent = slices.Concat(carrier.to, parent[len(carrier.from):])
		base = carrier.to
	}
	if !slices.Equal(parent, target) {
		return false
	}
	for i := range c.prog.move {
		other := &c.prog.move[i]
		if other != m && other != carrier && target.Under(other.to) && (carrier == nil || len(other.to) > len(base)) {
			return false
		}
	}
	return true
}

// Targets lists the paths that are there in the new body when the map has made
// them, but for those of Each.
func (p *Program) Targets() []Path {
	var all []Path
	for i := range p.move {
		all = append(all, p.move[i].to)
	}
	for _, g := range slices.Concat(p.defaults, p.constant) {
		all = append(all, g.path)
	}
	return all
}

// Certain lists paths that are there in every new body.
func (p *Program) Certain() []Path {
	var all []Path
	for _, g := range slices.Concat(p.defaults, p.constant) {
		all = append(all, g.path)
	}
	return all
}

// Lists lists the paths that are lists in the new body.
func (p *Program) Lists() []Path { return p.list }

// Element returns the map of one element, if the map says nothing but what becomes of
// each element of the list that the body is.
func (p *Program) Element() (*Program, bool) {
	one := &Program{}
	ok := true
	cut := func(path Path) Path {
		if len(path) == 0 || !path[0].Each {
			ok = false
			return nil
		}
		return path[1:]
	}
	for _, path := range p.drop {
		one.drop = append(one.drop, cut(path))
		ok = ok && len(path) > 1 // dropping elements makes the list shorter
	}
	for _, m := range p.move {
		m.from, m.to, m.lists = cut(m.from), cut(m.to), m.lists-1
		one.move = append(one.move, m)
	}
	for _, g := range p.defaults {
		one.defaults = append(one.defaults, given{cut(g.path), g.text})
	}
	for _, g := range p.constant {
		one.constant = append(one.constant, given{cut(g.path), g.text})
	}
	for _, c := range p.coerce {
		one.coerce = append(one.coerce, coercion{cut(c.path), c.to})
	}
	for _, path := range p.list {
		one.list = append(one.list, cut(path))
	}
	for _, e := range p.each {
		if len(e.path) == 0 { // each element of the list
			one.each = append(one.each, nested{e.path, e.prog})
			continue
		}
		one.each = append(one.each, nested{cut(e.path), e.prog})
	}
	return one, ok
}
