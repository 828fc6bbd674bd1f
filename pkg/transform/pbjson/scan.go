package pbjson

import (
	"bytes"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads one JSON text, RFC 8259. It allows no byte more.
type scanner struct {
	in      []byte
	pos     int
	depth   int
	scratch []byte // of the string that was read last, if it has escapes
}

func (s *scanner) fail(format string, args ...any) *Error {
	return &Error{Offset: s.pos, Reason: fmt.Sprintf(format, args...)}
}

// peek gives the next byte that is no white space; 0 at the end.
func (s *scanner) peek() byte {
	for s.pos < len(s.in) {
		switch c := s.in[s.pos]; c {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) expect(c byte) *Error {
	if s.peek() != c {
		return s.unexpected("'" + string(rune(c)) + "'")
	}
	s.pos++
	return nil
}

func (s *scanner) unexpected(wanted string) *Error {
	if s.pos >= len(s.in) {
		return s.fail("ends where %s is expected", wanted)
	}
	return s.fail("%q where %s is expected", s.in[s.pos], wanted)
}

// enter is called at each '{' and '[', which it reads.
func (s *scanner) enter(c byte) *Error {
	if err := s.expect(c); err != nil {
		return err
	}
	if s.depth++; s.depth > MaxDepth {
		return s.fail("is nested deeper than %d", MaxDepth)
	}
	return nil
}

// more is called before each element. first says that there was none yet.
func (s *scanner) more(end byte, first bool) (bool, *Error) {
	c := s.peek()
	if c == end {
		s.pos++
		s.depth--
		return false, nil
	}
	if first {
		return true, nil
	}
	if c != ',' {
		return false, s.unexpected("',' or '" + string(rune(end)) + "'")
	}
	s.pos++
	return true, nil
}

// word reads null, true or false.
func (s *scanner) word(w string) *Error {
	if !bytes.HasPrefix(s.in[s.pos:], []byte(w)) {
		return s.unexpected("a value")
	}
	s.pos += len(w)
	return nil
}

// null reads a null, if there is one.
func (s *scanner) null() bool { return s.peek() == 'n' && s.word("null") == nil }

// text reads a string. What it gives is valid until the next call.
func (s *scanner) text() ([]byte, *Error) {
	if s.peek() != '"' {
		return nil, s.unexpected("a string")
	}
	begin := s.pos + 1
	ascii := true
	for i := begin; i < len(s.in); i++ {
		switch c := s.in[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(s.in[begin:i]) {
				return nil, s.fail("has invalid UTF-8")
			}
			s.pos = i + 1
			return s.in[begin:i], nil
		case c == '\\':
			return s.escaped(begin, i)
		case c < ' ':
			s.pos = i
			return nil, s.fail("has the control %#x in a string", c)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	s.pos = len(s.in)
	return nil, s.unexpected("'\"'")
}

// escaped reads a string of which all before i has no escapes.
func (s *scanner) escaped(begin, i int) ([]byte, *Error) {
	out := append(s.scratch[:0], s.in[begin:i]...)
	for i < len(s.in) {
		c := s.in[i]
		switch {
		case c == '"':
			s.scratch = out
			if !utf8.Valid(out) {
				return nil, s.fail("has invalid UTF-8")
			}
			s.pos = i + 1
			return out, nil
		case c < ' ':
			s.pos = i
			return nil, s.fail("has the control %#x in a string", c)
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		var n int
		if out, n = unescape(out, s.in[i:]); n == 0 {
			s.pos = i
			return nil, s.fail("has an escape that is none")
		}
		i += n
	}
	s.pos = len(s.in)
	return nil, s.unexpected("'\"'")
}

// unescape appends what the escape at the beginning of in stands for; 0: it is
// none.
func unescape(out, in []byte) ([]byte, int) {
	if len(in) < 2 {
		return out, 0
	}
	switch c := in[1]; c {
	case '"', '\\', '/':
		return append(out, c), 2
	case 'b':
		return append(out, '\b'), 2
	case 'f':
		return append(out, '\f'), 2
	case 'n':
		return append(out, '\n'), 2
	case 'r':
		return append(out, '\r'), 2
	case 't':
		return append(out, '\t'), 2
	}
	r, ok := unicodeEscape(in)
	if !ok {
		return out, 0
	}
	if !utf16.IsSurrogate(r) {
		return utf8.AppendRune(out, r), 6
	}
	low, ok := unicodeEscape(in[6:])
	if r = utf16.DecodeRune(r, low); !ok || r == utf8.RuneError {
		return out, 0
	}
	return utf8.AppendRune(out, r), 12
}

func unicodeEscape(in []byte) (rune, bool) {
	if len(in) < 6 || in[0] != '\\' || in[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range in[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// number reads a number, as it stands there.
func (s *scanner) number() ([]byte, *Error) {
	s.peek()
	begin := s.pos
	n := numberLength(s.in[s.pos:])
	if n == 0 {
		return nil, s.unexpected("a number")
	}
	s.pos += n
	return s.in[begin:s.pos], nil
}

// numberLength is how much of b is a number of JSON; 0: it begins with none.
func numberLength(b []byte) int {
	digits := func(i int) int {
		for i < len(b) && b[i] >= '0' && b[i] <= '9' {
			i++
		}
		return i
	}
	i := 0
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := digits(i)
	if whole == i || b[i] == '0' && whole > i+1 {
		return 0
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		end := digits(i + 1)
		if end == i+1 {
			return 0
		}
		i = end
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		j := i + 1
		if j < len(b) && (b[j] == '+' || b[j] == '-') {
			j++
		}
		end := digits(j)
		if end == j {
			return 0
		}
		i = end
	}
	return i
}

// skip reads a value of any kind and gives its text.
func (s *scanner) skip() ([]byte, *Error) {
	c := s.peek()
	begin := s.pos
	var err *Error
	switch {
	case c == '{' || c == '[':
		err = s.skipAll(c)
	case c == '"':
		_, err = s.text()
	case c == 't':
		err = s.word("true")
	case c == 'f':
		err = s.word("false")
	case c == 'n':
		err = s.word("null")
	case c == '-' || c >= '0' && c <= '9':
		_, err = s.number()
	default:
		err = s.unexpected("a value")
	}
	return s.in[begin:s.pos], err
}

// skipAll reads an object or an array.
func (s *scanner) skipAll(c byte) *Error {
	if err := s.enter(c); err != nil {
		return err
	}
	end := c + 2 // of both
	for first := true; ; first = false {
		more, err := s.more(end, first)
		if err != nil || !more {
			return err
		}
		if c == '{' {
			if _, err := s.text(); err != nil {
				return err
			}
			if err := s.expect(':'); err != nil {
				return err
			}
		}
		if _, err := s.skip(); err != nil {
			return err
		}
	}
}

// end says that nothing follows.
func (s *scanner) end() *Error {
	if s.peek() != 0 || s.pos < len(s.in) {
		return s.unexpected("the end")
	}
	return nil
}
