package transform

import "bytes"

// splitter finds where records end in data that grows: it looks at each byte
// once, however many pieces they come in.
type splitter struct {
	format  Format
	pos     int // what is before it was looked at
	depth   int // of lists and objects of JSON
	quoted  bool
	escaped bool // by a backslash of JSON
}

// next is the length of the first record of data, with the byte that ends it; 0
// if it isn't all there. After that, the data begin with the next record.
func (s *splitter) next(data []byte) int {
	var n int
	switch s.format {
	case CSV:
		n = s.line(data)
	case JSON:
		n = s.element(data)
	default:
		n = bytes.IndexByte(data[s.pos:], '\n') + 1
		if n > 0 {
			n += s.pos
		}
	}
	if s.pos = len(data); n > 0 {
		*s = splitter{format: s.format}
	}
	return n
}

// line finds the end of a line that is not between quotes.
func (s *splitter) line(data []byte) int {
	for i := s.pos; i < len(data); i++ {
		switch data[i] {
		case '"':
			s.quoted = !s.quoted
		case '\n':
			if !s.quoted {
				return i + 1
			}
		}
	}
	return 0
}

// element finds the comma or bracket after an element of a list. Whether it is one
// is found later.
func (s *splitter) element(data []byte) int {
	for i := s.pos; i < len(data); i++ {
		switch c := data[i]; {
		case s.escaped:
			s.escaped = false
		case s.quoted && c == '\\':
			s.escaped = true
		case c == '"':
			s.quoted = !s.quoted
		case s.quoted:
		case c == '{' || c == '[':
			s.depth++
		case s.depth == 0 && (c == ',' || c == ']'):
			return i + 1
		case c == '}' || c == ']':
			s.depth--
		}
	}
	return 0
}
