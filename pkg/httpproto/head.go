package httpproto

import (
	"bytes"
	"errors"
	"strings"
)

// Errors of a message's head. All of them are ErrMalformed too, but for those
// of the limits.
var (
	ErrMalformed  = errors.New("malformed HTTP/1.1 message")
	ErrTooLarge   = errors.New("head of the message is too large")
	ErrTooMany    = errors.New("head of the message has too many fields")
	ErrVersion    = errors.New("version of HTTP is not 1.0 or 1.1")
	ErrNoHTTP     = malformed("request line names no version of HTTP")
	errStartLine  = malformed("start line")
	errFieldLine  = malformed("field line")
	errFold       = malformed("folded field line")
	errBareCRLF   = malformed("bare CR or LF")
	errFieldValue = malformed("field value")
)

// syntaxError is a kind of ErrMalformed.
type syntaxError struct{ what string }

func malformed(what string) error { return &syntaxError{what} }

// Error implements error.
func (e *syntaxError) Error() string { return "malformed HTTP/1.1 message: " + e.what }

// Unwrap makes it ErrMalformed.
func (*syntaxError) Unwrap() error { return ErrMalformed }

// Field is one field line, with its value trimmed.
type Field struct{ Name, Value string }

// Head is what precedes a message's body.
type Head struct {
	Method, Target string // of a request
	Status         int    // of a response
	Reason         string
	Minor          int // version 1.Minor
	Fields         []Field
}

// Limits of a head.
type Limits struct {
	Bytes  int // with its start line
	Fields int
}

// End finds the end of a head: how many bytes it has, 0 if more are needed. It
// looks at what is new only, from on. A head of more than limit bytes is
// ErrTooLarge.
func End(b []byte, from, limit int) (int, error) {
	at := bytes.Index(b[max(0, from-3):], []byte("\r\n\r\n"))
	if at < 0 {
		if len(b) >= limit {
			return 0, ErrTooLarge
		}
		if bare(b) {
			return 0, errBareCRLF
		}
		return 0, nil
	}
	n := at + max(0, from-3) + 4
	if n > limit {
		return 0, ErrTooLarge
	}
	return n, nil
}

// bare finds a line that ends with LF alone, so that who sends such is told and
// does not wait.
func bare(b []byte) bool {
	at := bytes.IndexByte(b, '\n')
	return at == 0 || at > 0 && b[at-1] != '\r'
}

// ParseRequest reads a whole head, as long as End says. h keeps the capacity of
// its Fields.
func ParseRequest(b string, h *Head, l Limits) error {
	line, rest, err := firstLine(b)
	if err != nil {
		return err
	}
	method, line, ok := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(line, " ")
	switch {
	case !strings.Contains(version, "HTTP/"):
		return ErrNoHTTP
	case !ok || !ok2 || !Token(method) || !validTarget(target):
		return errStartLine
	}
	h.Method, h.Target = method, target
	if h.Minor, err = minor(version); err != nil {
		return err
	}
	return parseFields(rest, h, l)
}

// ParseResponse is ParseRequest for a response.
func ParseResponse(b string, h *Head, l Limits) error {
	line, rest, err := firstLine(b)
	if err != nil {
		return err
	}
	version, line, ok := strings.Cut(line, " ")
	if !ok || len(line) < 3 || len(line) > 3 && line[3] != ' ' {
		return errStartLine
	}
	if h.Minor, err = minor(version); err != nil {
		return err
	}
	h.Status = 0
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return errStartLine
		}
		h.Status = h.Status*10 + int(line[i]-'0')
	}
	if h.Status < 100 {
		return errStartLine
	}
	if h.Reason = strings.TrimPrefix(line[3:], " "); !validValue(h.Reason) {
		return errStartLine
	}
	return parseFields(rest, h, l)
}

// ParseTrailers reads field lines that end with an empty one, as a trailer
// section does.
func ParseTrailers(b string, h *Head, l Limits) error { return parseFields(b, h, l) }

func firstLine(b string) (line, rest string, err error) {
	at := strings.IndexByte(b, '\n')
	if at < 1 || b[at-1] != '\r' || strings.IndexByte(b[:at-1], '\r') >= 0 {
		return "", "", errBareCRLF
	}
	return b[:at-1], b[at+1:], nil
}

func minor(version string) (int, error) {
	switch version {
	case "HTTP/1.1":
		return 1, nil
	case "HTTP/1.0":
		return 0, nil
	}
	if strings.HasPrefix(version, "HTTP/") && len(version) == 8 {
		return 0, ErrVersion
	}
	return 0, errStartLine
}

func parseFields(b string, h *Head, l Limits) error {
	h.Fields = h.Fields[:0]
	for {
		at := strings.IndexByte(b, '\n')
		if at < 1 || b[at-1] != '\r' {
			return errBareCRLF
		}
		line := b[:at-1]
		b = b[at+1:]
		if line == "" {
			if b != "" {
				return errFieldLine
			}
			return nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			return errFold
		}
		if len(h.Fields) >= l.Fields {
			return ErrTooMany
		}
		colon := strings.IndexByte(line, ':')
		if colon < 1 || !Token(line[:colon]) {
			return errFieldLine
		}
		value := trim(line[colon+1:])
		if !validValue(value) {
			return errFieldValue
		}
		h.Fields = append(h.Fields, Field{line[:colon], value})
	}
}

func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// class says of each byte where it may stand.
type class uint8

const (
	inToken class = 1 << iota
	inValue
	inTarget
)

// classOf is RFC 9110 section 5.6.2 and 5.5, and what no target has: controls,
// space and what is not ASCII.
func classOf(c byte) class {
	var k class
	switch {
	case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z':
		k |= inToken
	case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		k |= inToken
	}
	if c >= ' ' && c != 0x7f || c == '\t' {
		k |= inValue
	}
	if c > ' ' && c < 0x7f {
		k |= inTarget
	}
	return k
}

//nolint:gochecknoglobals // a table that is computed once and never written
var classes = func() (t [256]class) {
	for i := range t {
		t[i] = classOf(byte(i))
	}
	return t
}()

func all(s string, k class) bool {
	for i := range len(s) {
		if classes[s[i]]&k == 0 {
			return false
		}
	}
	return true
}

// Token reports whether s is a token, RFC 9110 section 5.6.2.
func Token(s string) bool { return s != "" && all(s, inToken) }

// ValidValue reports whether s can be a field's value as it is.
func ValidValue(s string) bool { return validValue(s) }

// ValidTarget reports whether s can stand in a request line: no controls, no
// space, and nothing that is not ASCII.
func ValidTarget(s string) bool { return validTarget(s) }

func validValue(s string) bool  { return all(s, inValue) }
func validTarget(s string) bool { return s != "" && all(s, inTarget) }
