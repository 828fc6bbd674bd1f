// Package problem says what is wrong with a file that somebody has written: all of
// it at once, and where.
package problem

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing wrong with a file.
type Problem struct {
	File   string
	Line   int    // from 1; 0 when the whole file is meant
	Path   string // of the field, as the file's format has it; "": none
	Reason string
}

// Error spells file:line: path: reason, without what is not known.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		b.WriteString(":" + strconv.Itoa(p.Line))
	}
	if p.Path != "" {
		b.WriteString(": " + p.Path)
	}
	b.WriteString(": " + p.Reason)
	return b.String()
}

// List is all that is wrong.
type List []*Problem

// Add adds one.
func (l *List) Add(file string, line int, path, format string, args ...any) {
	*l = append(*l, &Problem{File: file, Line: line, Path: path, Reason: fmt.Sprintf(format, args...)})
}

// Sorted sorts the list by line, and returns it.
func (l List) Sorted() List {
	slices.SortStableFunc(l, func(a, b *Problem) int { return cmp.Compare(a.Line, b.Line) })
	return l
}

// Error joins the problems, one a line.
func (l List) Error() string { return Lines(l) }

// Unwrap lets errors.As find each.
func (l List) Unwrap() []error { return Each(l) }

// Err is nil if there are none, which a nil List in an error would not be.
func (l List) Err() error {
	if len(l) == 0 {
		return nil
	}
	return l
}
