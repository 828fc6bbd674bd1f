package h1

import (
	"io"
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// Limits of what is read.
type Limits struct {
	HeadBytes int // of a head, and of trailers
	Fields    int // lines of either
}

// body reads a message's body from a buffer.
type body struct {
	in      *buffer
	limits  Limits
	lax     bool  // chunk extensions are ignored
	chunked bool  // else left counts down, or is negative until the end of input
	left    int64 // of the body, or of the current chunk
	begun   bool  // of chunks: the first has begun, so that CRLF precedes the next
	done    bool
	err     error
	// trailer gets the fields after the last chunk.
	trailer func(http.Header)
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.read(p)
	if err != nil && !b.done {
		b.err = err
	}
	return n, err
}

func (b *body) read(p []byte) (int, error) {
	if b.chunked && b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	if b.left >= 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.in.Read(p)
	if b.left < 0 {
		if err == io.EOF { //nolint:errorlint // the bare value, as of any Reader
			b.done = true
		}
		return n, err
	}
	if b.left -= int64(n); b.left == 0 && !b.chunked {
		b.done = true
		return n, io.EOF
	}
	if b.chunked && b.left == 0 && b.in.buffered() >= len("\r\n0\r\n\r\n") && err == nil {
		// The end is mostly there already: the reader then need not ask again.
		if err := b.nextChunk(); err != nil {
			return n, err
		}
	}
	return n, unexpected(err)
}

// nextChunk reads up to the next chunk's data; io.EOF after the last.
func (b *body) nextChunk() error {
	if b.begun {
		line, err := b.in.line(httpproto.MaxChunkLine)
		if err != nil {
			return err
		}
		if len(line) != 0 {
			return httpproto.ErrChunk
		}
	}
	line, err := b.in.line(httpproto.MaxChunkLine)
	if err != nil {
		return err
	}
	if b.left, err = httpproto.ParseChunkLine(line, b.lax); err != nil {
		return err
	}
	b.begun = true
	if b.left > 0 {
		return nil
	}
	if err := b.trailers(); err != nil {
		return err
	}
	b.done = true
	return io.EOF
}

func (b *body) trailers() error {
	for b.in.buffered() < 2 {
		if err := b.in.fill(bufferSize); err != nil {
			return unexpected(err)
		}
	}
	if b.in.b[b.in.r] == '\r' && b.in.b[b.in.r+1] == '\n' {
		b.in.r += 2
		return nil
	}
	s, err := b.in.head(b.limits.HeadBytes, nil)
	if err != nil {
		return unexpected(err)
	}
	var h httpproto.Head
	if err := httpproto.ParseTrailers(s, &h, httpproto.Limits{Bytes: b.limits.HeadBytes, Fields: b.limits.Fields}); err != nil {
		return err
	}
	if b.trailer != nil {
		b.trailer(TrailerOf(h.Fields))
	}
	return nil
}
