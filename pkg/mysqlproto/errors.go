package mysqlproto

import (
	"errors"
	"fmt"
)

// ErrIncomplete says that the input is a valid beginning and more bytes are
// needed.
var ErrIncomplete = errors.New("mysqlproto: incomplete packet")

// What authentication fails with, besides a *ServerError. Errors of this package
// wrap one of them.
var (
	// ErrMethodRefused: the server asks for what the configuration does not
	// allow: a fake server could ask for the password itself.
	ErrMethodRefused = errors.New("mysqlproto: authentication method refused")
	// ErrUnsupported: the other side speaks an older or different protocol.
	ErrUnsupported = errors.New("mysqlproto: not supported")
)

// ProtocolError is input that no further byte can make valid.
type ProtocolError struct {
	Reason string
}

// Error says what is wrong with the input.
func (e *ProtocolError) Error() string { return "mysqlproto: " + e.Reason }

func malformed(format string, args ...any) error {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}
