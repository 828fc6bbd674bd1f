package jsonpath

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// slicePattern is a number, or from:to:by, of which each may be left out.
var slicePattern = regexp.MustCompile(`^(-?\d*)(:-?\d*)?(:-?\d*)?$`)

// brackets reads [n], [a:b:c], [*], ['name'], or a list of those.
func (p *parser) brackets() ([]step, error) {
	p.pos++
	var union [][]step
	for {
		item, last, err := p.item()
		if err != nil {
			return nil, err
		}
		steps, err := bracketed(strings.TrimSpace(item))
		if err != nil {
			return nil, err
		}
		if union = append(union, steps); last {
			break
		}
	}
	if len(union) == 1 {
		return union[0], nil
	}
	return []step{{kind: unionStep, union: union}}, nil
}

// item reads what is between brackets and commas.
func (p *parser) item() (item string, last bool, err error) {
	start := p.pos
	var quote byte
	for ; p.pos < len(p.in); p.pos++ {
		switch c := p.in[p.pos]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case c == ',' || c == ']':
			p.pos++
			return p.in[start : p.pos-1], c == ']', nil
		}
	}
	return "", false, errors.New("[ without ]")
}

func bracketed(item string) ([]step, error) {
	if n := len(item); n >= 2 && (item[0] == '\'' || item[0] == '"') && item[n-1] == item[0] {
		return key(item[1 : n-1]), nil
	}
	if item == "*" {
		item = ":"
	}
	m := slicePattern.FindStringSubmatch(item)
	if m == nil {
		return nil, fmt.Errorf("%q is no index; a key needs quotes", item)
	}
	s := step{kind: sliceStep}
	for i, text := range m[1:] {
		text = strings.TrimPrefix(text, ":")
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("%q is no index", text)
		}
		s.slice[i] = bound{value: n, known: true}
	}
	if m[2] == "" {
		s.slice[1] = bound{value: s.slice[0].value + 1, known: true, derived: true}
	}
	return []step{s}, nil
}

// key is what ['key'] means: kubectl reads it as .key, so that a dot in it parts
// two names unless a \ stands before it.
func key(text string) []step {
	p := parser{in: "." + text}
	var out []step
	for p.pos < len(p.in) {
		if p.in[p.pos] != '.' {
			return []step{{kind: fieldStep, name: strings.ReplaceAll(text, `\`, "")}}
		}
		p.pos++
		out = append(out, p.field())
	}
	return out
}

// comparison splits a filter where it compares.
var comparison = regexp.MustCompile(`^([^!<>=]+)([!<>=]+)(.+?)$`)

func (p *parser) filter() (step, error) {
	p.pos += len("[?(")
	inner, err := p.inner()
	if err != nil {
		return step{}, err
	}
	if p.depth+1 > maxNesting {
		return step{}, fmt.Errorf("more than %d filters in each other", maxNesting)
	}
	left, op, right := inner, "", ""
	if m := comparison.FindStringSubmatch(inner); m != nil {
		left, op, right = m[1], m[2], m[3]
	}
	switch op {
	case "", "<", "<=", ">", ">=", "==", "!=":
	default:
		return step{}, fmt.Errorf("%q is no comparison; use ==, !=, <, <=, > or >=", op)
	}
	f := &filter{op: op}
	if f.left, err = p.side(left); err != nil {
		return step{}, err
	}
	if f.right, err = p.side(right); err != nil {
		return step{}, err
	}
	return step{kind: filterStep, filter: f}, nil
}

// inner reads up to the )] of a filter, and minds quotes.
func (p *parser) inner() (string, error) {
	start, open := p.pos, 0
	var quote byte
	for ; p.pos < len(p.in); p.pos++ {
		switch c := p.in[p.pos]; {
		case quote != 0 && c == '\\':
			p.pos++
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case c == '(':
			open++
		case c == ')' && open > 0:
			open--
		case c == ')':
			inner := p.in[start:p.pos]
			if !strings.HasPrefix(p.in[p.pos:], ")]") {
				return "", errors.New("a filter ends with )]")
			}
			p.pos += len(")]")
			return inner, nil
		}
	}
	return "", errors.New("a filter has no end")
}

// side reads one side of a comparison.
func (p *parser) side(text string) ([]step, error) {
	inner := parser{in: strings.TrimSpace(text), depth: p.depth + 1}
	steps, what, err := inner.action(0)
	if what != noWord {
		err = errors.New("a filter cannot have a range")
	}
	return steps, err
}
