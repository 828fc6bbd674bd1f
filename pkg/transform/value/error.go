package value

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// What an Error is about: who calls decides by it what to answer.
var (
	// ErrMalformed is a body that is not what it should be.
	ErrMalformed = errors.New("malformed")
	// ErrTooLarge is a body beyond a limit.
	ErrTooLarge = errors.New("too large")
	// ErrInexpressible is a value that the other format cannot keep, or that is not
	// of the type that the map makes of it.
	ErrInexpressible = errors.New("cannot be expressed")
)

// Error is what is wrong with a body. It says where, never what the value is.
type Error struct {
	Is     error  // one of the above
	Format string // as in "json"
	Reason string
	Path   string // as in "order.items[3].sku"; empty at the top, or if it is not known
	Line   int    // from 1; 0 if it is not known
	Offset int    // in bytes, of the line if it is known
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Format)
	if e.Line > 0 {
		fmt.Fprintf(&b, " line %d, byte %d", e.Line, e.Offset+1)
	} else if e.Offset > 0 {
		fmt.Fprintf(&b, " byte %d", e.Offset)
	}
	if e.Path != "" {
		b.WriteString(", " + e.Path)
	}
	b.WriteString(": " + e.Reason)
	return b.String()
}

// Unwrap gives errors.Is what the error is about.
func (e *Error) Unwrap() error { return e.Is }

// Malformed is an error at an offset of text.
func Malformed(format, text string, offset int, reason string) error {
	offset = min(offset, len(text))
	before := text[:offset]
	return &Error{
		Is: ErrMalformed, Format: format, Reason: reason,
		Line: 1 + strings.Count(before, "\n"), Offset: offset - (strings.LastIndexByte(before, '\n') + 1),
	}
}

// TooLarge is an error of a body beyond a limit.
func TooLarge(format, reason string) error {
	return &Error{Is: ErrTooLarge, Format: format, Reason: reason}
}

// Grown is the error of a document that has become larger than it may, nil if size
// is within the limit.
func Grown(format string, size int, lim *Limits) error {
	if size <= lim.Output {
		return nil
	}
	return TooLarge(format, "it would become more than "+strconv.Itoa(lim.Output)+" bytes")
}

// Inexpressible is an error of a value that the format cannot keep.
func Inexpressible(format, reason string) error {
	return &Error{Is: ErrInexpressible, Format: format, Reason: reason}
}

// maxPath bounds the path of an error.
const maxPath = 512

// In adds to the error's path, from the inside out, the name of a member.
func In(err error, name string) error {
	if e, ok := errors.AsType[*Error](err); ok && len(e.Path)+len(name) < maxPath {
		e.Path = Join(Quote(name), e.Path)
	}
	return err
}

// At adds to the error's path the index of a list's element.
func At(err error, index int) error {
	if e, ok := errors.AsType[*Error](err); ok && len(e.Path) < maxPath {
		e.Path = Join("["+strconv.Itoa(index)+"]", e.Path)
	}
	return err
}

// Join puts two parts of a path together.
func Join(a, b string) string {
	if a == "" || b == "" || strings.HasPrefix(b, "[") {
		return a + b
	}
	return a + "." + b
}

// Quote writes a member's name as paths have it: dots, brackets and backslashes
// in it get a backslash.
func Quote(name string) string {
	if !strings.ContainsAny(name, `.[]\`) {
		return name
	}
	return strings.NewReplacer(`.`, `\.`, `[`, `\[`, `]`, `\]`, `\`, `\\`).Replace(name)
}
