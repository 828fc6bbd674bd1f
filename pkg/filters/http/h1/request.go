package h1

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// request makes net/http's request of a head; nil for a target that is none.
func (c *serverConn) request(h *httpproto.Head, f *httpproto.Framing) (*http.Request, *requestBody) {
	header := headerOf(h.Fields)
	delete(header, "Host")
	own := *c.base
	r := &own
	r.Method, r.RequestURI, r.Proto, r.ProtoMinor, r.Header, r.Host = h.Method, h.Target, "HTTP/1.1", h.Minor, header, f.Host
	if h.Minor == 0 {
		r.Proto = "HTTP/1.0"
	}
	if r.URL = Target(h.Method, h.Target); r.URL == nil {
		return nil, nil
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host // of the absolute form, RFC 9112 section 3.2.2
	}
	if !f.Chunked && f.Length <= 0 {
		return r, nil
	}
	b := &requestBody{conn: c, expect: f.Expect}
	b.body = body{in: &c.in, limits: c.server.o.Limits, chunked: f.Chunked, left: f.Length}
	r.Body, r.ContentLength = b, f.Length
	if !f.Chunked {
		return r, b
	}
	b.left = 0
	r.TransferEncoding = []string{"chunked"}
	if c.server.o.Trailers {
		r.Trailer = AnnouncedTrailers(header)
		b.trailer = func(t http.Header) {
			maps.Copy(r.Trailer, t)
		}
	}
	return r, b
}

// Target reads the target of a request line; nil: it is none.
func Target(method, s string) *url.URL {
	if s[0] == '/' && plain(s) { // most are
		return &url.URL{Path: s}
	}
	if method == http.MethodConnect {
		return &url.URL{Host: s}
	}
	if s == "*" {
		return &url.URL{Path: s}
	}
	if s[0] == '/' {
		// "//a" is a path here, and not a host.
		path, query, _ := cut(s)
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return nil
		}
		return &url.URL{Path: decoded, RawPath: path, RawQuery: query}
	}
	u, err := url.ParseRequestURI(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

func cut(s string) (path, query string, found bool) {
	for i := range len(s) {
		if s[i] == '?' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// plain says that a target is a path without escapes and query.
func plain(s string) bool {
	for i := range len(s) {
		switch s[i] {
		case '%', '?', '#':
			return false
		}
	}
	return true
}

// errBodyOver is reading a body after its request was answered.
var errBodyOver = errors.New("the request has been answered")

// requestBody is a request's body. It may be read by one goroutine at a time,
// also by another than the handler's.
type requestBody struct {
	conn *serverConn
	w    *response
	over atomic.Bool
	late atomic.Bool // its time is over

	mu sync.Mutex
	body
	expect bool
}

// Read implements io.Reader. The first read says "100 Continue".
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over.Load() {
		return 0, errBodyOver
	}
	if b.expect {
		b.expect = false
		if b.w.proceed() != nil {
			return 0, io.ErrUnexpectedEOF
		}
	}
	b.conn.armRead(b.conn.server.o.Still)
	if b.late.Load() {
		_ = b.conn.setRead(time.Unix(1, 0)) // after armRead, which may have come later
	}
	return b.body.Read(p)
}

// Pending says that reading on would not block.
func (b *requestBody) Pending() bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	return b.done || !b.expect && !b.chunked && b.conn.in.buffered() > 0
}

// Close implements io.Closer. What is left is the server's to read.
func (b *requestBody) Close() error { return nil }

// finish ends the body after the response. It tells whether the connection can
// take another request.
func (b *requestBody) finish() bool {
	if b == nil {
		return true
	}
	b.over.Store(true)
	if !b.mu.TryLock() { // another goroutine reads still
		_ = b.conn.conn.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
		defer b.mu.Unlock()
		return false
	}
	defer b.mu.Unlock()
	if b.done {
		return true
	}
	if b.expect || b.err != nil {
		return false
	}
	const patience = 2 * time.Second
	_ = b.conn.setRead(time.Now().Add(patience))
	_, _ = io.CopyN(io.Discard, &b.body, Leftover)
	return b.done
}

// large says that more is left of the body than is worth reading.
func (b *requestBody) large() bool {
	if b == nil || !b.mu.TryLock() {
		return b != nil
	}
	defer b.mu.Unlock()
	if b.expect || b.chunked {
		return !b.done
	}
	return !b.done && !WorthReading(b.left)
}
