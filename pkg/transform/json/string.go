package json

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string, which begins here.
func (p *parser) str() (string, error) {
	p.pos++
	start := p.pos
	for i := start; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '"':
			p.pos = i + 1
			return p.text[start:i], nil
		case c == '\\':
			p.pos = i
			return p.escaped(start)
		case c < ' ':
			p.pos = i
			return "", p.wrong("a control character in a string")
		}
	}
	p.pos = len(p.text)
	return "", p.wrong("")
}

// escaped reads the rest of a string from its first escape on.
func (p *parser) escaped(start int) (string, error) {
	var b strings.Builder
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			b.WriteString(p.text[start:p.pos])
			p.pos++
			return b.String(), nil
		case c == '\\':
			b.WriteString(p.text[start:p.pos])
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			start = p.pos
		case c < ' ':
			return "", p.wrong("a control character in a string")
		default:
			p.pos++
		}
	}
	return "", p.wrong("")
}

// escape reads one escape, or the two of a surrogate pair.
func (p *parser) escape() (rune, error) {
	p.pos++
	c := p.peek()
	if i := strings.IndexByte(`"\/bfnrt`, c); c != 0 && i >= 0 {
		p.pos++
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	if c != 'u' {
		return 0, p.wrong("an escape that JSON does not have")
	}
	r, err := p.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if !strings.HasPrefix(p.text[p.pos:], `\u`) {
		return 0, p.wrong("half of a surrogate pair")
	}
	p.pos++
	low, err := p.hex()
	if err != nil {
		return 0, err
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, p.wrong("half of a surrogate pair")
	}
	return r, nil
}

// hex reads the u and the four digits of an escape.
func (p *parser) hex() (rune, error) {
	if p.pos+5 > len(p.text) {
		p.pos = len(p.text)
		return 0, p.wrong("")
	}
	n, err := strconv.ParseUint(p.text[p.pos+1:p.pos+5], 16, 16)
	if err != nil {
		return 0, p.wrong("an escape without four hexadecimal digits")
	}
	p.pos += 5
	return rune(n), nil
}
