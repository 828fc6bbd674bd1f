package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// maxSteps bounds the names and lists of a path.
const maxSteps = 64

// Path names fields: its steps, of which one is a member's name, or each element
// of a list.
type Path []Step

// Step is one part of a Path.
type Step struct {
	Name string
	Each bool // each element; there is no name
}

// ParsePath reads a path as in "order.items[].sku". "." is the whole body. A dot,
// bracket or backslash in a name has a backslash before it.
func ParsePath(text string) (Path, error) {
	if text == "." {
		return Path{}, nil
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("the path %q: not UTF-8", text)
	}
	var p Path
	for rest, first := text, true; rest != "" || first; first = false {
		step, left, err := parseStep(rest, first)
		if err != nil {
			return nil, fmt.Errorf("the path %q: %w", text, err)
		}
		if p = append(p, step); len(p) > maxSteps {
			return nil, fmt.Errorf("the path %q: more than %d steps", text, maxSteps)
		}
		rest = left
	}
	return p, nil
}

func parseStep(text string, first bool) (step Step, rest string, err error) {
	if rest, ok := strings.CutPrefix(text, "[]"); ok {
		return Step{Each: true}, rest, nil
	}
	if !first {
		var dot bool
		if text, dot = strings.CutPrefix(text, "."); !dot {
			return Step{}, "", errors.New("a dot or [] was expected after []")
		}
	}
	var name strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			if i++; i == len(text) {
				return Step{}, "", errors.New("it ends with a backslash")
			}
			name.WriteByte(text[i])
			continue
		case ']':
			return Step{}, "", errors.New("a ] without its [")
		case '[':
			if !strings.HasPrefix(text[i:], "[]") {
				return Step{}, "", errors.New("only [] is there, for each element")
			}
		case '.':
		default:
			name.WriteByte(c)
			continue
		}
		text, rest = text[:i], text[i:]
	}
	if name.Len() == 0 {
		return Step{}, "", errors.New("a name was expected")
	}
	return Step{Name: name.String()}, rest, nil
}

// String writes the path as ParsePath reads it.
func (p Path) String() string {
	if len(p) == 0 {
		return "."
	}
	var text strings.Builder
	for i, s := range p {
		if s.Each {
			text.WriteString("[]")
			continue
		}
		if i > 0 {
			text.WriteByte('.')
		}
		text.WriteString(value.Quote(s.Name))
	}
	return text.String()
}

// Lists is how many [] there are.
func (p Path) Lists() int {
	n := 0
	for _, s := range p {
		if s.Each {
			n++
		}
	}
	return n
}

// Under tells whether p is other or within it.
func (p Path) Under(other Path) bool {
	return len(p) >= len(other) && slices.Equal(p[:len(other)], other)
}
