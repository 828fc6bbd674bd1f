// Package jsonpath is kubectl's JSONPath, compiled once: templates with paths in
// braces, {.items[?(@.state == "up")].name}, {range}, unions, slices and ".."
//
// It gives what k8s.io/client-go/util/jsonpath gives on documents of
// encoding/json, but for this: a filter compares numbers as numbers, however the
// path writes them, and passes an element over that has not the field; objects
// keep their order under a wildcard; strings have no elements; and a union's or
// ['key']'s key may have any characters.
package jsonpath

import (
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/rules"
)

// maxResults bounds what one step may find.
const maxResults = 1 << 20

// ErrTooMany is a path that finds more than it may.
var ErrTooMany = fmt.Errorf("more than %d results", maxResults)

// Path is a compiled template. It is read-only.
type Path struct {
	parts  []part
	floats bool
}

// part is a text, a path in braces, or a range with what is done for each of its
// results.
type part struct {
	text  string
	steps []step
	kind  partKind
	body  []part
}

type partKind uint8

const (
	textPart partKind = iota
	pathPart
	rangePart
)

type stepKind uint8

const (
	fieldStep stepKind = iota
	wildcardStep
	recursiveStep
	sliceStep
	unionStep
	filterStep
	literalStep
)

// step is one step of a path.
type step struct {
	kind    stepKind
	name    string // of a field
	literal tree.Value
	slice   [3]bound
	union   [][]step
	filter  *filter
}

// bound is one number of [from:to:by].
type bound struct {
	value   int
	known   bool
	derived bool // [n] means [n:n+1]
}

type filter struct {
	left, right []step
	op          string // "": the left side exists
}

// Floats returns the path with numbers as text that went through a float64, as
// json_exporter shows them: 1.5e+06. Otherwise numbers keep their digits.
func (p *Path) Floats() *Path { return &Path{parts: p.parts, floats: true} }

// Constant reports whether there is no path in the template.
func (p *Path) Constant() bool {
	for i := range p.parts {
		if p.parts[i].kind != textPart {
			return false
		}
	}
	return true
}

// Single reports whether the template is one path in braces, without text.
func (p *Path) Single() bool { return len(p.parts) == 1 && p.parts[0].kind == pathPart }

// errNotSingle is a path for elements that is a text.
var errNotSingle = errors.New("exactly one path in braces is needed, without text around it")

// Each calls yield for every result of a path that is Single.
func (p *Path) Each(doc tree.Value, yield func(tree.Value)) error {
	if !p.Single() {
		return errNotSingle
	}
	found, err := walk([]tree.Value{doc}, p.parts[0].steps)
	if err != nil {
		return err
	}
	for _, v := range found {
		yield(v)
	}
	return nil
}

// walk takes the steps from each of the given values.
func walk(in []tree.Value, steps []step) ([]tree.Value, error) {
	for i := range steps {
		var err error
		if in, err = steps[i].from(in); err != nil {
			return nil, err
		}
		if len(in) > maxResults {
			return nil, ErrTooMany
		}
	}
	return in, nil
}

func (s *step) from(in []tree.Value) ([]tree.Value, error) {
	switch s.kind {
	case fieldStep:
		return fields(in, s.name)
	case wildcardStep:
		return wildcard(in)
	case recursiveStep:
		var out []tree.Value
		for _, v := range in {
			var err error
			if out, err = recursive(out, v); err != nil {
				return nil, err
			}
		}
		return out, nil
	case sliceStep:
		return s.slices(in)
	case unionStep:
		var out []tree.Value
		for _, steps := range s.union {
			found, err := walk(in, steps)
			if err != nil {
				return nil, err
			}
			if out = append(out, found...); len(out) > maxResults {
				return nil, ErrTooMany
			}
		}
		return out, nil
	case filterStep:
		return s.filter.from(in)
	default:
		out := make([]tree.Value, len(in))
		for i := range out {
			out[i] = s.literal
		}
		return out, nil
	}
}

// fields finds the field of each object that has it. None at all is an error.
func fields(in []tree.Value, name string) ([]tree.Value, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]tree.Value, 0, len(in))
	for _, v := range in {
		if f, ok := v.Field(name); ok {
			out = append(out, f)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q is %w", name, rules.ErrNotFound)
	}
	return out, nil
}

func wildcard(in []tree.Value) ([]tree.Value, error) {
	var out []tree.Value
	for _, v := range in {
		for c := range v.Children() {
			if out = append(out, c); len(out) > maxResults {
				return nil, ErrTooMany
			}
		}
	}
	return out, nil
}

// recursive appends v and all that is in it, if it has values in it.
func recursive(out []tree.Value, v tree.Value) ([]tree.Value, error) {
	first := true
	for c := range v.Children() {
		if first {
			out = append(out, v)
			first = false
		}
		var err error
		if out, err = recursive(out, c); err != nil {
			return nil, err
		}
	}
	if len(out) > maxResults {
		return nil, ErrTooMany
	}
	return out, nil
}

func (s *step) slices(in []tree.Value) ([]tree.Value, error) {
	var out []tree.Value
	for _, v := range in {
		switch v.Kind() {
		case tree.Null:
			continue
		case tree.Array:
		default:
			return nil, fmt.Errorf("an %s has no elements by number", v.Kind())
		}
		length := v.Len()
		from, to, by, err := s.bounds(length)
		if err != nil {
			return nil, err
		}
		i := 0
		for c := range v.Children() {
			if i >= to {
				break
			}
			if i >= from && (i-from)%by == 0 {
				out = append(out, c)
			}
			i++
		}
		if len(out) > maxResults {
			return nil, ErrTooMany
		}
	}
	return out, nil
}

// bounds are the elements of an array of this length that the step takes: those
// before to, at every by from from.
func (s *step) bounds(length int) (from, to, by int, err error) {
	from, to, by = s.slice[0].value, s.slice[1].value, 1
	if !s.slice[0].known {
		from = 0
	}
	if from < 0 {
		from += length
	}
	if !s.slice[1].known {
		to = length
	}
	if to < 0 || to == 0 && s.slice[1].derived {
		to += length
	}
	if s.slice[2].known {
		if by = s.slice[2].value; by <= 0 {
			return 0, 0, 0, errors.New("the step of a slice must be above 0")
		}
	}
	switch {
	case from == to:
		return 0, 0, 1, nil
	case from < 0 || from >= length || to < 0 || to > length:
		return 0, 0, 0, fmt.Errorf("the array of %d has no element %d: %w", length, from, rules.ErrNotFound)
	case from > to:
		return 0, 0, 0, fmt.Errorf("a slice from %d to %d", from, to)
	}
	return from, to, by, nil
}
