package controlplane

import "errors"

// Exit codes of the process, from sysexits.h; the proxy has the same.
const (
	ExitOK        = 0
	ExitUsage     = 64 // bad usage or configuration: the same again will fail again
	ExitInternal  = 70
	ExitTemporary = 75 // a port is taken, say: another attempt may succeed
)

// ExitError is an error that knows its exit code.
type ExitError struct {
	Code int
	Err  error
}

// Error implements error.
func (e *ExitError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ExitError) Unwrap() error { return e.Err }

// Usage marks err as bad usage or configuration.
func Usage(err error) error { return &ExitError{ExitUsage, err} }

// Temporary marks err as one that may pass.
func Temporary(err error) error { return &ExitError{ExitTemporary, err} }

// ExitCode is what to exit with for an error, nil included.
func ExitCode(err error) int {
	if err == nil {
		return ExitOK
	}
	if e, ok := errors.AsType[*ExitError](err); ok {
		return e.Code
	}
	return ExitInternal
}
