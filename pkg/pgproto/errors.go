package pgproto

import (
	"errors"
	"fmt"
)

// ErrIncomplete says that the input is a valid beginning and more bytes are
// needed.
var ErrIncomplete = errors.New("pgproto: incomplete message")

// ProtocolError is input that no further byte can make valid.
type ProtocolError struct {
	Reason string
}

// Error says what is wrong with the input.
func (e *ProtocolError) Error() string { return "pgproto: " + e.Reason }

func malformed(format string, args ...any) error {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}

// Limits bound what is accepted from the wire. The functions that take them
// need a non-nil pointer and only read it.
type Limits struct {
	// MaxStartup is the most bytes of a start-up packet, its length included.
	MaxStartup int
	// MaxMessage is the most payload bytes of any later message.
	MaxMessage int64
}

// DefaultLimits returns the limits of a PostgreSQL server: start-up packets of
// 10,000 bytes (MAX_STARTUP_PACKET_LENGTH) and messages of 1 GiB, the size at
// which the server's own buffers end.
func DefaultLimits() Limits { return Limits{MaxStartup: 10_000, MaxMessage: 1 << 30} }
