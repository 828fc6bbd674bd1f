package resource

import (
	"fmt"
	"strings"
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
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap lets errors.As find each.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}
