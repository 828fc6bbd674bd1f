package tree

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads a document. Strings that are not valid UTF-8 get U+FFFD for each
// byte that is wrong. The document keeps data, which must not change.
func Parse(data string, limits Limits) (*Document, error) {
	if limits.Depth <= 0 {
		limits.Depth = DefaultDepth
	}
	if limits.Values <= 0 {
		limits.Values = DefaultValues
	}
	p := parser{data: data, limits: limits, nodes: make([]node, 0, min(len(data)/16+1, limits.Values))}
	if err := p.value("", 0); err != nil {
		return nil, err
	}
	p.space()
	if p.pos < len(p.data) {
		return nil, p.wrong("something follows the document")
	}
	return &Document{nodes: p.nodes}, nil
}

type parser struct {
	data   string
	pos    int
	nodes  []node
	limits Limits
}

func (p *parser) wrong(text string) error {
	if p.pos >= len(p.data) {
		text = "it ends too early"
	}
	return &SyntaxError{Offset: p.pos, Text: text}
}

func (p *parser) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.data) {
		return p.data[p.pos]
	}
	return 0
}

// value reads one, and appends its nodes.
func (p *parser) value(key string, depth int) error {
	p.space()
	if len(p.nodes) >= p.limits.Values {
		return fmt.Errorf("%w: more than %d", ErrTooMany, p.limits.Values)
	}
	at := len(p.nodes)
	start := p.pos
	p.nodes = append(p.nodes, node{key: key})
	kind, text, err := p.scalar(depth)
	if err != nil {
		return err
	}
	n := &p.nodes[at]
	n.kind, n.end, n.text = kind, int32(len(p.nodes)), text
	if kind != String {
		n.text = p.data[start:p.pos]
	}
	return nil
}

// scalar reads a value of any kind; text is that of a string.
func (p *parser) scalar(depth int) (kind Kind, text string, err error) {
	switch c := p.peek(); {
	case c == '{' || c == '[':
		if depth >= p.limits.Depth {
			return 0, "", fmt.Errorf("%w: more than %d levels", ErrTooDeep, p.limits.Depth)
		}
		if c == '{' {
			return Object, "", p.object(depth + 1)
		}
		return Array, "", p.array(depth + 1)
	case c == '"':
		text, err = p.str()
		return String, text, err
	case c == '-' || c >= '0' && c <= '9':
		return Number, "", p.number()
	case c == 't':
		return True, "", p.word("true")
	case c == 'f':
		return False, "", p.word("false")
	case c == 'n':
		return Null, "", p.word("null")
	}
	return 0, "", p.wrong("a value was expected")
}

func (p *parser) word(w string) error {
	if !strings.HasPrefix(p.data[p.pos:], w) {
		return p.wrong("a value was expected")
	}
	p.pos += len(w)
	return nil
}

func (p *parser) array(depth int) error {
	p.pos++
	if p.space(); p.peek() == ']' {
		p.pos++
		return nil
	}
	for {
		if err := p.value("", depth); err != nil {
			return err
		}
		if done, err := p.next(']'); done || err != nil {
			return err
		}
	}
}

func (p *parser) object(depth int) error {
	p.pos++
	if p.space(); p.peek() == '}' {
		p.pos++
		return nil
	}
	for {
		p.space()
		if p.peek() != '"' {
			return p.wrong("a name in quotes was expected")
		}
		key, err := p.str()
		if err != nil {
			return err
		}
		if p.space(); p.peek() != ':' {
			return p.wrong("a colon was expected")
		}
		p.pos++
		if err := p.value(key, depth); err != nil {
			return err
		}
		if done, err := p.next('}'); done || err != nil {
			return err
		}
	}
}

// next takes a comma, or what closes the array or object.
func (p *parser) next(closing byte) (done bool, err error) {
	p.space()
	switch p.peek() {
	case ',':
		p.pos++
		return false, nil
	case closing:
		p.pos++
		return true, nil
	}
	return false, p.wrong("a comma or " + string(closing) + " was expected")
}

func (p *parser) number() error {
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if !p.digits() {
		return p.wrong("a digit was expected")
	}
	if p.peek() == '.' {
		p.pos++
		if !p.digits() {
			return p.wrong("a digit was expected")
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		if !p.digits() {
			return p.wrong("a digit was expected")
		}
	}
	return nil
}

func (p *parser) digits() bool {
	start := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > start
}

// str reads a string in quotes. One without escapes is a part of the document.
func (p *parser) str() (string, error) {
	p.pos++
	start, clean := p.pos, true
	for p.pos < len(p.data) {
		switch c := p.data[p.pos]; {
		case c == '"':
			s := p.data[start:p.pos]
			p.pos++
			if !clean && !utf8.ValidString(s) {
				s = replaceInvalid(s)
			}
			return s, nil
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			return "", p.wrong("a control character in a string")
		case c >= utf8.RuneSelf:
			clean = false
		}
		p.pos++
	}
	return "", p.wrong("")
}

// escaped goes on with a string at its first escape.
func (p *parser) escaped(start int) (string, error) {
	out := []byte(p.data[start:p.pos])
	for p.pos < len(p.data) {
		c := p.data[p.pos]
		switch {
		case c == '"':
			p.pos++
			if s := string(out); utf8.ValidString(s) {
				return s, nil
			}
			return replaceInvalid(string(out)), nil
		case c == '\\':
			var err error
			if out, err = p.escape(out); err != nil {
				return "", err
			}
			continue
		case c < ' ':
			return "", p.wrong("a control character in a string")
		}
		out = append(out, c)
		p.pos++
	}
	return "", p.wrong("")
}

func (p *parser) escape(out []byte) ([]byte, error) {
	p.pos++
	c := p.peek()
	if c == 'u' {
		return p.unicode(out)
	}
	const from, to = `"\/bfnrt`, "\"\\/\b\f\n\r\t"
	i := strings.IndexByte(from, c)
	if i < 0 {
		return nil, p.wrong("no such escape")
	}
	p.pos++
	return append(out, to[i]), nil
}

// unicode reads uXXXX, and the other half of a surrogate pair.
func (p *parser) unicode(out []byte) ([]byte, error) {
	r, ok := hex4(p.data[p.pos+1:])
	if !ok {
		return nil, p.wrong("four hexadecimal digits were expected")
	}
	p.pos += 5
	if utf16.IsSurrogate(r) {
		low, ok := rune(-1), false
		if strings.HasPrefix(p.data[p.pos:], `\u`) {
			low, ok = hex4(p.data[p.pos+2:])
		}
		if r = utf16.DecodeRune(r, low); ok && r != utf8.RuneError {
			p.pos += 6
		}
	}
	return utf8.AppendRune(out, r), nil
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return -1, false
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(n), err == nil
}

// replaceInvalid puts U+FFFD in the place of each wrong byte, as encoding/json does.
func replaceInvalid(s string) string {
	out := make([]byte, 0, len(s)+8)
	for _, r := range s { // a wrong byte is utf8.RuneError here
		out = utf8.AppendRune(out, r)
	}
	return string(out)
}
