package mapping

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrInvalid is what every error of this package is.
var ErrInvalid = errors.New("invalid StatsD mapping")

// Error is one thing wrong with a mapping file.
type Error struct {
	File   string
	Line   int    // from 1; 0 when the whole file is meant
	Path   string // mappings[2].labels.code
	Reason string
}

// Error spells file:line: path: reason, without what is not known.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		b.WriteString(":" + strconv.Itoa(e.Line))
	}
	if e.Path != "" {
		b.WriteString(": " + e.Path)
	}
	b.WriteString(": " + e.Reason)
	return b.String()
}

// Errors is every error of a file, by line.
type Errors []*Error

// Error joins the errors, one a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Is makes errors.Is(err, ErrInvalid) hold.
func (e Errors) Is(target error) bool { return target == ErrInvalid }

// Err returns the errors as an error: nil when there are none.
func (e Errors) Err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b *Error) int { return cmp.Compare(a.Line, b.Line) })
	return e
}

func (e *Errors) add(file string, line int, path, format string, args ...any) {
	*e = append(*e, &Error{File: file, Line: line, Path: path, Reason: fmt.Sprintf(format, args...)})
}
