package redisproto

import "errors"

// ErrIncomplete says that the input is a valid beginning and more bytes are
// needed.
var ErrIncomplete = errors.New("redisproto: incomplete frame")

// ProtocolError is input that no further byte can make valid. Reason has the
// wording of a Redis server.
type ProtocolError struct {
	Reason string
}

// Error returns what a Redis server sends after "-ERR ".
func (e *ProtocolError) Error() string { return "Protocol error: " + e.Reason }

// Limits bound what is accepted from the wire. The functions that take them
// need a non-nil pointer and only read it.
type Limits struct {
	// MaxInline is the most bytes that an inline request may have before its
	// line feed.
	MaxInline int
	// MaxArgs is the most arguments that a request may declare.
	MaxArgs int
	// MaxBulk is the most payload bytes of one bulk, in requests and replies.
	MaxBulk int64
	// MaxDepth is how deep aggregates may nest in ParseValue, which recurses.
	// FrameLen and Scanner need no memory per level and have no such limit.
	MaxDepth int
}

// DefaultLimits returns the limits of a Redis server in its default
// configuration: 64 KiB inline, 1 Mi arguments, 512 MiB bulks, depth 32.
func DefaultLimits() Limits {
	return Limits{MaxInline: 64 << 10, MaxArgs: 1 << 20, MaxBulk: 512 << 20, MaxDepth: 32}
}
