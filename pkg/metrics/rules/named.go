package rules

import (
	"errors"
	"strings"
)

// Pattern is a name, or one with a star in it that stands for anything.
type Pattern struct {
	before, after string
	starred       bool
}

// ParsePattern reports false where there is more than one star.
func ParsePattern(text string) (Pattern, bool) {
	before, after, starred := strings.Cut(text, "*")
	return Pattern{before, after, starred}, !strings.Contains(after, "*")
}

// Starred reports whether several names may be meant.
func (p Pattern) Starred() bool { return p.starred }

// Match reports whether a name is of the pattern, and what the star stands for in
// it.
func (p Pattern) Match(name string) (star string, ok bool) {
	if !p.starred {
		return "", name == p.before
	}
	rest, begins := strings.CutPrefix(name, p.before)
	star, ends := strings.CutSuffix(rest, p.after)
	return star, begins && ends
}

// Named is a part of a document in which each has a name, as a cell of a table has
// that of its column.
type Named interface {
	// Text is what stands there.
	Text() (string, error)
	// Star is what the star of the [Pattern] stood for by which it was found.
	Star() string
	// Beside is what stands under another name.
	Beside(name string) (string, error)
}

// Names is what a [Language] of named parts has besides Each. The number of a
// series is the text of its part; a label names another one, or is * for what the
// star stood for.
type Names[E Named] struct{}

// Value implements Language.
func (Names[E]) Value(string) (Template[E], error) { return own[E]{}, nil }

// Label implements Language.
func (Names[E]) Label(name string) (Template[E], error) {
	if name == "" {
		return nil, errors.New("is empty; a text goes into double quotes")
	}
	return other[E](name), nil
}

// own is the text of the part itself.
type own[E Named] struct{}

// Constant implements Template.
func (own[E]) Constant() bool { return false }

// Append implements Template.
func (own[E]) Append(dst []byte, e E) ([]byte, error) {
	text, err := e.Text()
	return append(dst, text...), err
}

// other is what the star stood for, or the text of the part with this name.
type other[E Named] string

// Constant implements Template.
func (other[E]) Constant() bool { return false }

// Append implements Template.
func (o other[E]) Append(dst []byte, e E) ([]byte, error) {
	if o == "*" {
		return append(dst, e.Star()...), nil
	}
	text, err := e.Beside(string(o))
	return append(dst, text...), err
}
