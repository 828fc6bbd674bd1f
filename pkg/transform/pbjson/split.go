package pbjson

import (
	"bytes"
	"errors"
	"fmt"
)

// ErrLarge is returned by a Splitter for a value that is longer than it takes, and
// for a message whose JSON is longer than WriteOptions allow.
var ErrLarge = errors.New("is too large")

// Splitter cuts a stream of JSON texts into its values: those of one list, or
// values with white space between them, as NDJSON has it. It finds where values
// end, and leaves it to their reader whether they are right.
type Splitter struct {
	max  int
	buf  []byte
	at   int // of buf, up to where it was looked at
	from int // of buf, where the value begins; -1: between two values

	list          bool // the values are those of a list
	begun, closed bool
	wanted        bool // a comma was read: a value must follow
	given         int  // values so far

	depth           int
	quoted, escaped bool
	scalar          bool // it ends before what is no part of it
}

// NewSplitter returns a splitter for values of at most limit bytes.
func NewSplitter(limit int) *Splitter { return &Splitter{max: limit, from: -1} }

// Feed takes more of the stream.
func (s *Splitter) Feed(p []byte) {
	drop := s.at
	if s.from >= 0 {
		drop = s.from
		s.from = 0
	}
	n := copy(s.buf, s.buf[drop:])
	s.buf = append(s.buf[:n], p...)
	s.at -= drop
}

// Len is how much of the stream is held, in bytes.
func (s *Splitter) Len() int { return len(s.buf) }

// Next gives the next value, which is valid until the next call of any method; nil:
// more must be fed. An error is an *Error, or ErrLarge.
func (s *Splitter) Next() ([]byte, error) {
	for s.at < len(s.buf) {
		if s.from < 0 {
			if err := s.between(s.buf[s.at]); err != nil {
				return nil, err
			}
			continue
		}
		if s.within(s.buf[s.at]) {
			return s.give(), nil
		}
		if s.at-s.from > s.max {
			return nil, fmt.Errorf("value %d %w: more than %d bytes", s.given, ErrLarge, s.max)
		}
	}
	if s.from < 0 && cap(s.buf) > keptBuffer {
		s.buf, s.at = nil, 0
	}
	return nil, nil
}

// keptBuffer is how large a buffer may be that is kept between two values, in bytes.
const keptBuffer = 64 << 10

// End is called at the end of the stream, when Next gives nothing more. It gives
// the last value, if its end could not be seen before.
func (s *Splitter) End() ([]byte, error) {
	switch {
	case s.from >= 0 && s.scalar && !s.list:
		return s.give(), nil
	case s.from >= 0, s.list && !s.closed:
		return nil, &Error{Offset: s.at, Reason: "the stream ends within a value"}
	default:
		return nil, nil
	}
}

func (s *Splitter) give() []byte {
	value := s.buf[s.from:s.at]
	s.from, s.scalar, s.wanted = -1, false, false
	s.given++
	return value
}

// between looks at a byte that is in no value.
func (s *Splitter) between(c byte) error {
	fail := func(reason string) error {
		return &Error{Offset: s.at, Reason: fmt.Sprintf("after %d values: %s", s.given, reason)}
	}
	switch {
	case bytes.IndexByte([]byte(" \t\r\n"), c) >= 0:
	case s.closed:
		return fail("something follows the list")
	case !s.begun && c == '[':
		s.list = true
	case s.list && c == ']':
		if s.wanted {
			return fail("a value is missing before ]")
		}
		s.closed = true
	case s.list && c == ',' && s.given > 0 && !s.wanted:
		s.wanted = true
	case s.list && s.given > 0 && !s.wanted, c == ',' || c == ']' || c == '}' || c == ':':
		return fail(fmt.Sprintf("%q where a value is expected", c))
	default:
		s.begin(c)
	}
	s.begun = true
	s.at++
	return nil
}

func (s *Splitter) begin(c byte) {
	s.from, s.depth, s.quoted, s.escaped = s.at, 0, c == '"', false
	s.scalar = c != '"' && c != '{' && c != '['
	if c == '{' || c == '[' {
		s.depth = 1
	}
}

// within looks at a byte behind the first one of a value. It reports whether
// the value has ended.
func (s *Splitter) within(c byte) bool {
	if s.scalar {
		if bytes.IndexByte([]byte(" \t\r\n,]}"), c) >= 0 {
			return true
		}
		s.at++
		return false
	}
	s.at++
	switch {
	case s.escaped:
		s.escaped = false
	case s.quoted && c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = !s.quoted
		return !s.quoted && s.depth == 0
	case s.quoted:
	case c == '{' || c == '[':
		s.depth++
	case c == '}' || c == ']':
		s.depth--
		return s.depth == 0
	}
	return false
}
