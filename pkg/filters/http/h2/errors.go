package h2

import (
	"errors"

	"golang.org/x/net/http2"
)

// Errors of what handlers read and write.
var (
	// ErrClientReset is a request that its client has given up, or a connection that
	// has ended.
	ErrClientReset = errors.New("the client has reset the stream")
	// ErrBodyOver is reading a body after its request was answered.
	ErrBodyOver = errors.New("the request has been answered")
)

// malformed is a request that is none: its stream is reset.
type malformed struct{ what string }

// Error implements error.
func (m *malformed) Error() string { return "malformed HTTP/2 request: " + m.what }

// fatal ends the connection.
type fatal struct {
	code http2.ErrCode
	why  string
	err  error // nil: nothing more is known
}

// Error implements error.
func (f *fatal) Error() string { return f.code.String() + ": " + f.why }

// Unwrap gives what lies behind it.
func (f *fatal) Unwrap() error { return f.err }

func protocolError(why string) error { return &fatal{code: http2.ErrCodeProtocol, why: why} }

func flood(why string) error {
	return &fatal{code: http2.ErrCodeEnhanceYourCalm, why: why, err: ErrFlood}
}

// reset ends one stream.
func reset(id uint32, code http2.ErrCode, cause error) error {
	return http2.StreamError{StreamID: id, Code: code, Cause: cause}
}
