package jsonpath

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/json/tree"
)

// Limits of a template.
const (
	maxTemplate = 4096 // bytes
	maxNesting  = 8    // of filters and ranges
)

// Parse compiles a template: text with paths in braces.
func Parse(template string) (*Path, error) {
	if len(template) > maxTemplate {
		return nil, fmt.Errorf("a template of more than %d bytes", maxTemplate)
	}
	p := parser{in: template}
	parts, err := p.parts(0)
	if err != nil {
		return nil, fmt.Errorf("%q at byte %d: %w", template, p.pos, err)
	}
	return &Path{parts: parts}, nil
}

// parser reads a template. Its methods leave pos behind what they have read.
type parser struct {
	in    string
	pos   int
	depth int
}

// What an action in braces can be besides a path.
type word uint8

const (
	noWord word = iota
	rangeWord
	endWord
)

// parts reads up to the end of the template, or up to the {end} of a range.
func (p *parser) parts(ranges int) ([]part, error) {
	if ranges > maxNesting {
		return nil, fmt.Errorf("more than %d ranges in each other", maxNesting)
	}
	var out []part
	for p.pos < len(p.in) {
		text, _, braced := strings.Cut(p.in[p.pos:], "{")
		if text != "" {
			out = append(out, part{kind: textPart, text: text})
		}
		if p.pos += len(text); !braced {
			break
		}
		p.pos++
		steps, what, err := p.action('}')
		if err != nil {
			return nil, err
		}
		switch what {
		case endWord:
			if ranges == 0 {
				return nil, errors.New("{end} without {range}")
			}
			return out, nil
		case rangeWord:
			body, err := p.parts(ranges + 1)
			if err != nil {
				return nil, err
			}
			out = append(out, part{kind: rangePart, steps: steps, body: body})
		default:
			out = append(out, part{kind: pathPart, steps: steps})
		}
	}
	if ranges > 0 {
		return nil, errors.New("{range} without {end}")
	}
	return out, nil
}

// action reads the steps of a path up to the closing byte; 0: to the end.
func (p *parser) action(closing byte) ([]step, word, error) {
	var steps []step
	what := noWord
	for {
		if p.pos >= len(p.in) {
			if closing == 0 {
				return steps, what, nil
			}
			return nil, 0, errors.New("the path has no end")
		}
		if closing != 0 && p.in[p.pos] == closing {
			p.pos++
			return steps, what, nil
		}
		if name := p.identifier(); name == "range" || name == "end" {
			if len(steps) > 0 || what != noWord {
				return nil, 0, fmt.Errorf("%s must come first", name)
			}
			what = rangeWord
			if name == "end" {
				what = endWord
			}
			p.pos += len(name)
			continue
		}
		s, ok, err := p.step(steps)
		if err != nil {
			return nil, 0, err
		}
		if ok {
			steps = append(steps, s...)
		}
	}
}

// identifier is the word that begins here, if one does.
func (p *parser) identifier() string {
	rest := p.in[p.pos:]
	if r, _ := utf8.DecodeRuneInString(rest); !unicode.IsLetter(r) && r != '_' {
		return ""
	}
	end := strings.IndexFunc(rest, terminates)
	if end < 0 {
		end = len(rest)
	}
	return rest[:end]
}

func terminates(r rune) bool { return strings.ContainsRune(" \t\r\n.,[]$@{}", r) }

// step reads one; false where there was nothing but what is passed over.
func (p *parser) step(before []step) ([]step, bool, error) {
	rest := p.in[p.pos:]
	switch c := rest[0]; {
	case c == ' ' || c == '@' || c == '$':
		p.pos++
		return nil, false, nil
	case strings.HasPrefix(rest, ".."):
		return p.recursive(before)
	case c == '.':
		p.pos++
		return []step{p.field()}, true, nil
	case strings.HasPrefix(rest, "[?("):
		s, err := p.filter()
		return []step{s}, true, err
	case c == '[':
		steps, err := p.brackets()
		return steps, true, err
	case c == '"' || c == '\'':
		text, err := p.quoted(c)
		return []step{{kind: literalStep, literal: tree.Text(text)}}, true, err
	case c == '+' || c == '-' || c >= '0' && c <= '9':
		s, err := p.number()
		return []step{s}, true, err
	}
	if name := p.identifier(); name != "" {
		p.pos += len(name)
		if name == "true" || name == "false" {
			s, err := literal(name)
			return []step{s}, true, err
		}
		return nil, false, fmt.Errorf("%q is no known word; a field begins with a dot", name)
	}
	r, _ := utf8.DecodeRuneInString(rest)
	return nil, false, fmt.Errorf("%q was not expected", r)
}

func literal(text string) (step, error) {
	doc, err := tree.Parse(text, tree.Limits{})
	if err != nil {
		return step{}, err
	}
	return step{kind: literalStep, literal: doc.Root()}, nil
}

func (p *parser) recursive(before []step) ([]step, bool, error) {
	if n := len(before); n > 0 && before[n-1].kind == recursiveStep {
		return nil, false, errors.New(".. twice in a row")
	}
	p.pos += 2
	steps := []step{{kind: recursiveStep}}
	if p.pos < len(p.in) {
		if r, _ := utf8.DecodeRuneInString(p.in[p.pos:]); r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) {
			steps = append(steps, p.field())
		}
	}
	return steps, true, nil
}

// field reads a name, in which \ takes the meaning off the next character.
func (p *parser) field() step {
	var name strings.Builder
	for p.pos < len(p.in) {
		r, n := utf8.DecodeRuneInString(p.in[p.pos:])
		if r == '\\' && p.pos+n < len(p.in) {
			p.pos += n
			_, n = utf8.DecodeRuneInString(p.in[p.pos:])
		} else if terminates(r) {
			break
		}
		name.WriteString(p.in[p.pos : p.pos+n])
		p.pos += n
	}
	if name.String() == "*" {
		return step{kind: wildcardStep}
	}
	return step{kind: fieldStep, name: name.String()}
}

// number reads the digits and dots of one.
func (p *parser) number() (step, error) {
	start := p.pos
	p.pos++
	for p.pos < len(p.in) && (p.in[p.pos] == '.' || p.in[p.pos] >= '0' && p.in[p.pos] <= '9') {
		p.pos++
	}
	text := p.in[start:p.pos]
	if i, err := strconv.Atoi(text); err == nil {
		return literal(strconv.Itoa(i))
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return step{}, fmt.Errorf("%q is not a number", text)
	}
	return literal(strconv.FormatFloat(f, 'g', -1, 64))
}

// quoted reads a text in quotes.
func (p *parser) quoted(quote byte) (string, error) {
	start := p.pos
	for p.pos++; p.pos < len(p.in); p.pos++ {
		switch p.in[p.pos] {
		case '\\':
			p.pos++
		case quote:
			p.pos++
			return unquote(p.in[start+1:p.pos-1], quote)
		}
	}
	return "", errors.New("a quote has no end")
}

func unquote(s string, quote byte) (string, error) {
	var out []byte
	for s != "" {
		r, multibyte, rest, err := strconv.UnquoteChar(s, quote)
		if err != nil {
			return "", fmt.Errorf("no valid text in quotes: %q", s)
		}
		if s = rest; multibyte || r < utf8.RuneSelf {
			out = utf8.AppendRune(out, r)
		} else {
			out = append(out, byte(r))
		}
	}
	return string(out), nil
}
