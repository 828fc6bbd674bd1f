package mesh

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// Error is one thing wrong in a document.
type Error struct {
	File   string // as it was given to Decode; "" if the object comes from no file
	Line   int    // from 1; 0 if unknown
	Column int    // from 1; 0 if unknown
	Object string // "namespace/name" as far as it is known
	Path   string // of the field: spec.environments.prod.shards[1].primary.address
	Reason string
	Hint   string // what to do about it; may be ""
}

// Error gives "file:line:column: path: reason (hint)".
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.File != "":
		b.WriteString(e.File)
		if e.Line > 0 {
			b.WriteString(":" + strconv.Itoa(e.Line) + ":" + strconv.Itoa(e.Column))
		}
		b.WriteString(": ")
	case e.Object != "":
		b.WriteString(e.Object + ": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Reason)
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Errors is everything wrong, in the order of files and lines.
type Errors []*Error

// Error gives one line for each.
func (es Errors) Error() string { return problem.Lines(es) }

// Unwrap lets errors.As find each.
func (es Errors) Unwrap() []error { return problem.Each(es) }

// Err is nil if there are none, which a nil Errors in an error would not be.
func (es Errors) Err() error {
	if len(es) == 0 {
		return nil
	}
	return es
}

func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Object, b.Object),
			cmp.Compare(a.Path, b.Path),
		)
	})
	return es
}
