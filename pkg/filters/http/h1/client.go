package h1

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// smallBody is sent together with the head, in one piece.
const smallBody = 16 << 10

// Client is a connection to an endpoint, for one request at a time.
type Client struct {
	conn   net.Conn
	in     buffer
	out    []byte
	limits Limits
	probe  prober
	head   httpproto.Head // of the answer, whose fields' memory is used again

	// Uses counts requests; Born and Idle are times. They are the pool's.
	Uses       int
	Born, Idle time.Time
}

// NewClient returns a client for a connection.
func NewClient(conn net.Conn, limits Limits) *Client {
	c := &Client{conn: conn, limits: limits, out: make([]byte, 0, 1<<10)}
	c.in = newBuffer(conn)
	c.probe = newProber(conn)
	return c
}

// Conn returns the connection.
func (c *Client) Conn() net.Conn { return c.conn }

// Alive says whether an idle connection can take a request: the endpoint has
// neither closed it nor sent anything.
func (c *Client) Alive() bool { return c.in.buffered() == 0 && c.probe.quiet() }

// Close closes the connection.
func (c *Client) Close() { _ = c.conn.Close() }

// Exchange is how one request is sent and its response taken.
type Exchange struct {
	Target string // of the request line
	// Inform gets 1xx responses but "100 Continue" and 101; nil: they are
	// dropped.
	Inform func(status int, h http.Header)
	// Continue is called for "100 Continue".
	Continue func()
	// Done is called once, when the response and its body have ended or been
	// given up: reusable says whether the connection can take another request.
	Done func(reusable bool)
	// Sent is set once something was written.
	Sent bool
	// Answered is set once something of an answer was read.
	Answered bool
}

// RoundTrip sends a request, whose hop-by-hop fields are gone already, and
// reads the head of its response. The body must be closed. After an error Done
// has been called.
func (c *Client) RoundTrip(r *http.Request, x *Exchange) (*http.Response, error) {
	c.Uses++
	c.out = AppendRequest(c.out[:0], r.Method, x.Target, r.Host, r.Header, r.ContentLength)
	up := &upload{client: c}
	if err := c.send(r, x, up); err != nil {
		x.Done(false)
		return nil, err
	}
	resp, err := c.receive(r, x, up)
	if err != nil {
		_ = c.conn.Close() // also ends the upload
		x.Done(false)
		return nil, err
	}
	return resp, nil
}

// send writes the head, and the body if that is small; a larger one goes on
// beside, so that an early answer is seen.
func (c *Client) send(r *http.Request, x *Exchange, up *upload) error {
	hasBody := r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
	if hasBody && r.ContentLength > 0 && r.ContentLength <= smallBody && r.Header.Get("Expect") == "" {
		at := len(c.out)
		c.out = append(c.out, make([]byte, r.ContentLength)...)
		if _, err := io.ReadFull(r.Body, c.out[at:]); err != nil {
			return &BodyError{unexpected(err)}
		}
		hasBody = false
	}
	x.Sent = true
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	if cap(c.out) > 2*smallBody {
		c.out = nil
	}
	if hasBody {
		up.start(r)
	}
	return nil
}

// BodyError says that the request's body could not be read.
type BodyError struct{ Err error }

// Error implements error.
func (e *BodyError) Error() string { return "reading the request's body: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BodyError) Unwrap() error { return e.Err }

func (c *Client) receive(r *http.Request, x *Exchange, up *upload) (*http.Response, error) {
	h := &c.head
	defer func() { clear(h.Fields) }() // what they hold is the response's
	for {
		s, err := c.in.head(c.limits.HeadBytes, nil)
		if err != nil {
			x.Answered = c.in.buffered() > 0
			if cause := up.failure(); cause != nil {
				return nil, cause
			}
			return nil, err
		}
		x.Answered = true
		if err := httpproto.ParseResponse(s, h, httpproto.Limits{Bytes: c.limits.HeadBytes, Fields: c.limits.Fields}); err != nil {
			return nil, err
		}
		switch {
		case h.Status == http.StatusContinue:
			if x.Continue != nil {
				x.Continue()
			}
		case h.Status == http.StatusSwitchingProtocols:
			return c.switched(r, h, x)
		case h.Status < 200:
			if x.Inform != nil {
				x.Inform(h.Status, headerOf(h.Fields))
			}
		default:
			return c.response(r, h, x, up)
		}
	}
}

// response makes the response, whose body is read from the connection.
func (c *Client) response(r *http.Request, h *httpproto.Head, x *Exchange, up *upload) (*http.Response, error) {
	f, err := httpproto.FramingOf(h, true)
	if err != nil {
		return nil, err
	}
	resp := &http.Response{
		StatusCode: h.Status, ProtoMajor: 1, ProtoMinor: h.Minor, Proto: "HTTP/1.1", Header: headerOf(h.Fields),
		ContentLength: f.Length, Request: r,
	}
	b := &responseBody{
		body:   body{in: &c.in, limits: c.limits, lax: true, chunked: f.Chunked, left: f.Length},
		client: c, exchange: x, upload: up, keep: !f.Close,
	}
	b.trailer = func(t http.Header) { resp.Trailer = t }
	switch {
	case Silent(r.Method, h.Status):
		b.done = true
	case f.Chunked:
		b.left = 0
	case f.Length == 0:
		b.done = true
	case f.Length < 0:
		b.keep = false
	}
	resp.Body = b
	if b.done {
		b.finish()
		resp.Body = http.NoBody
	}
	return resp, nil
}

// switched hands the connection over.
func (c *Client) switched(r *http.Request, h *httpproto.Head, x *Exchange) (*http.Response, error) {
	return &http.Response{
		StatusCode: h.Status, ProtoMajor: 1, ProtoMinor: 1, Proto: "HTTP/1.1", Header: headerOf(h.Fields),
		ContentLength: -1, Request: r, Body: &tunnel{client: c, done: x.Done},
	}, nil
}

// tunnel is a connection that speaks another protocol from now on.
type tunnel struct {
	client *Client
	done   func(bool)
	ended  atomic.Bool
}

// Read implements io.Reader.
func (t *tunnel) Read(p []byte) (int, error) { return t.client.in.Read(p) }

// Write implements io.Writer.
func (t *tunnel) Write(p []byte) (int, error) { return t.client.conn.Write(p) }

// CloseWrite sends FIN.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.client.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Close implements io.Closer.
func (t *tunnel) Close() error {
	if t.ended.CompareAndSwap(false, true) {
		t.client.Close()
		t.done(false)
	}
	return nil
}

// responseBody is a body that gives the connection back at its end.
type responseBody struct {
	body
	client   *Client
	exchange *Exchange
	upload   *upload
	keep     bool
	finished bool
}

// Read implements io.Reader.
func (b *responseBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if b.done {
		b.finish()
	}
	return n, err
}

// Pending says whether reading on would not block, or only for the rest of a
// line that has begun.
func (b *responseBody) Pending() bool {
	ahead := b.in.buffered()
	if b.chunked && b.left == 0 {
		ahead -= len("\r\n") // of the chunk that is over
	}
	return b.done || ahead > 0
}

// Close implements io.Closer.
func (b *responseBody) Close() error {
	b.finish()
	return nil
}

func (b *responseBody) finish() {
	if b.finished {
		return
	}
	b.finished = true
	reusable := b.done && b.keep && b.upload.over() && b.in.buffered() == 0
	if !reusable {
		b.client.Close()
	}
	b.exchange.Done(reusable)
}
