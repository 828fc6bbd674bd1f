package resource

import (
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/problem"
)

// Error says what is wrong with one field of one resource. It is what a NACK
// carries.
type Error struct {
	TypeURL string // of the resource
	Name    string // of the resource
	Path    string // of the field, as in "filter_chains[0].filters[1].typed_config.settings.op_timeout"
	Reason  string
}

// Error implements error.
func (e *Error) Error() string {
	kind := e.TypeURL[strings.LastIndexByte(e.TypeURL, '.')+1:]
	if e.Path == "" {
		return fmt.Sprintf("%s %q: %s", kind, e.Name, e.Reason)
	}
	return fmt.Sprintf("%s %q: %s: %s", kind, e.Name, e.Path, e.Reason)
}

// Errors are all errors of one or several resources.
type Errors []*Error

// Error gives one line for each.
func (es Errors) Error() string { return problem.Lines(es) }

// Unwrap lets errors.As find each.
func (es Errors) Unwrap() []error { return problem.Each(es) }
