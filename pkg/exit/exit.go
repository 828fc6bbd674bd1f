// Package exit says with which code a program ends, in the words of sysexits.h.
package exit

import "errors"

// Codes of the process.
const (
	OK            = 0
	CodeUsage     = 64 // bad usage or configuration: the same again will fail again
	CodeInternal  = 70
	CodeTemporary = 75 // a port is taken, say: another attempt may succeed
)

// Coder is an error that knows its code.
type Coder interface {
	error
	ExitCode() int
}

type coded struct {
	error
	code int
}

func (e *coded) Unwrap() error { return e.error }
func (e *coded) ExitCode() int { return e.code }

// Usage marks err as bad usage or configuration.
func Usage(err error) error { return &coded{err, CodeUsage} }

// Temporary marks err as one that may pass.
func Temporary(err error) error { return &coded{err, CodeTemporary} }

// Code is what to exit with for an error, nil included. The outermost [Coder]
// decides; an error without one is internal.
func Code(err error) int {
	if err == nil {
		return OK
	}
	if e, ok := errors.AsType[Coder](err); ok {
		return e.ExitCode()
	}
	return CodeInternal
}
