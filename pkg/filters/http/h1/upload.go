package h1

import (
	"io"
	"net/http"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// upload sends a request's body while the response may be coming already.
type upload struct {
	client *Client

	mu      sync.Mutex
	started bool  // guarded by mu
	ended   bool  // guarded by mu
	err     error // guarded by mu
}

func (u *upload) start(r *http.Request) {
	u.started = true
	go func() {
		err := u.copy(r)
		u.mu.Lock()
		u.ended, u.err = true, err
		u.mu.Unlock()
		if _, ok := err.(*BodyError); ok { //nolint:errorlint // as copy returned it
			_ = u.client.conn.Close() // the endpoint must not take half a request for a whole one
		} // else the endpoint reads no more, and may have answered
	}()
}

// over says that nothing is being sent any more, and nothing has failed.
func (u *upload) over() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return !u.started || u.ended && u.err == nil
}

func (u *upload) failure() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if e, ok := u.err.(*BodyError); ok { //nolint:errorlint // as copy returned it
		return e
	}
	return nil
}

func (u *upload) copy(r *http.Request) error {
	w := io.Writer(u.client.conn)
	var chunks *chunkWriter
	if r.ContentLength < 0 {
		chunks = &chunkWriter{w: u.client.conn}
		w = chunks
	}
	buf := takeBuffer()
	defer giveBuffer(buf)
	var sent int64
	for {
		n, err := r.Body.Read(*buf)
		if n > 0 {
			if _, werr := w.Write((*buf)[:n]); werr != nil {
				return werr
			}
			sent += int64(n)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return &BodyError{err}
		}
	}
	if r.ContentLength >= 0 && sent != r.ContentLength {
		return &BodyError{io.ErrUnexpectedEOF}
	}
	if chunks == nil {
		return nil
	}
	return chunks.end(r.Trailer)
}

// chunkWriter writes each piece as a chunk.
type chunkWriter struct {
	w   io.Writer
	out []byte
}

// Write implements io.Writer.
func (c *chunkWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.out = httpproto.AppendChunkLine(c.out[:0], len(p))
	c.out = append(c.out, p...)
	c.out = append(c.out, '\r', '\n')
	if _, err := c.w.Write(c.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *chunkWriter) end(trailer http.Header) error {
	_, err := c.w.Write(AppendEnd(c.out[:0], trailer))
	return err
}

const copySize = 32 << 10

// buffers are shared by all bodies that are being copied.
//
//nolint:gochecknoglobals // a pool of memory has no state that anybody sees
var buffers = sync.Pool{New: func() any { b := make([]byte, copySize); return &b }}

func takeBuffer() *[]byte {
	b, ok := buffers.Get().(*[]byte)
	if !ok {
		fresh := make([]byte, copySize)
		b = &fresh
	}
	return b
}

func giveBuffer(b *[]byte) { buffers.Put(b) }
