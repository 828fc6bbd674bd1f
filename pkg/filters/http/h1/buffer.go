// Package h1 speaks HTTP/1.1 on connections: a server for net/http's handlers
// and a client for one request at a time. It reads messages with pkg/httpproto,
// which is stricter than net/http, and does no more system calls than one to
// read and one to write where a message fits into its buffers.
package h1

import (
	"io"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

const bufferSize = 4 << 10

// buffer is input that was read ahead.
type buffer struct {
	src  io.Reader
	b    []byte
	r, w int
}

func newBuffer(src io.Reader) buffer { return buffer{src: src, b: make([]byte, bufferSize)} }

func (b *buffer) buffered() int { return b.w - b.r }

// fill reads once, making room first; the buffer grows up to limit.
func (b *buffer) fill(limit int) error {
	switch {
	case b.r == b.w:
		b.r, b.w = 0, 0
		if len(b.b) > bufferSize {
			b.b = make([]byte, bufferSize) // what a large head needed is given back
		}
	case b.w == len(b.b) && b.r > 0:
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	case b.w == len(b.b):
		if len(b.b) >= limit {
			return httpproto.ErrTooLarge
		}
		grown := make([]byte, min(2*len(b.b), limit))
		copy(grown, b.b)
		b.b = grown
	}
	n, err := b.src.Read(b.b[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// Read implements io.Reader.
func (b *buffer) Read(p []byte) (int, error) {
	if b.r == b.w {
		if len(p) >= len(b.b) {
			return b.src.Read(p)
		}
		if err := b.fill(bufferSize); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.b[b.r:b.w])
	b.r += n
	return n, nil
}

// head reads up to the empty line that ends a head, and gives it as a string.
// started is called when more than one read is needed.
func (b *buffer) head(limit int, started func()) (string, error) {
	seen := 0
	for {
		n, err := httpproto.End(b.b[b.r:b.w], seen, limit)
		if err != nil {
			return "", err
		}
		if n > 0 {
			s := string(b.b[b.r : b.r+n])
			b.r += n
			return s, nil
		}
		if seen = b.w - b.r; seen > 0 && started != nil {
			started()
			started = nil
		}
		if err := b.fill(max(limit, bufferSize)); err != nil {
			if err == io.EOF && seen > 0 { //nolint:errorlint // the bare value, as of any Reader
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
	}
}

// line reads a line of at most limit bytes, without its CRLF. It is valid until
// the next read.
func (b *buffer) line(limit int) ([]byte, error) {
	for at := 0; ; {
		for ; b.r+at < b.w; at++ {
			if b.b[b.r+at] != '\n' {
				continue
			}
			line := b.b[b.r : b.r+at]
			b.r += at + 1
			if at == 0 || line[at-1] != '\r' {
				return nil, httpproto.ErrChunk
			}
			return line[:at-1], nil
		}
		if at > limit {
			return nil, httpproto.ErrChunk
		}
		if err := b.fill(bufferSize); err != nil {
			return nil, unexpected(err)
		}
	}
}

// unexpected is the end of input in mid message.
func unexpected(err error) error {
	if err == io.EOF { //nolint:errorlint // the bare value, as of any Reader
		return io.ErrUnexpectedEOF
	}
	return err
}
