package fetch

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/rawio"
)

// maxHeader bounds the head of an answer, in bytes.
const maxHeader = 64 << 10

// errHeader says that a head is longer than maxHeader.
var errHeader = errors.New("the head of the answer is too large")

// direct is a transport for small pages of one host in plain HTTP/1.1, asked for
// uncompressed. It works in the caller's goroutine: net/http's own transport has
// two for each connection, and to wake them takes longer than all else that such a
// page needs. Anything else is other's.
type direct struct {
	// read-only after construction
	host  string // of URLs that are served here
	dial  func(ctx context.Context, network, address string) (net.Conn, error)
	other *http.Transport

	mu     sync.Mutex
	kept   *directConn // guarded by mu; nil: none
	expiry *time.Timer // guarded by mu; of kept
}

// directConn is a connection, which one request has at a time.
type directConn struct {
	net.Conn
	limited io.LimitedReader
	reader  *bufio.Reader
}

func newDirect(host string, dial func(ctx context.Context, network, address string) (net.Conn, error), other *http.Transport) *direct {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &direct{host: host, dial: dial, other: other}
}

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "http" || req.URL.Host != d.host || req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody {
		return d.other.RoundTrip(req)
	}
	if conn := d.take(); conn != nil {
		res, err := d.ask(conn, req)
		// The server may have closed it meanwhile; asking twice does no harm.
		if err == nil || req.Context().Err() != nil || errors.Is(err, errHeader) {
			return res, err
		}
	}
	address := d.host
	if req.URL.Port() == "" {
		address = net.JoinHostPort(req.URL.Hostname(), "80")
	}
	raw, err := d.dial(req.Context(), "tcp", address)
	if err != nil {
		return nil, late(req.Context(), err)
	}
	conn := &directConn{Conn: rawio.Wrap(raw)}
	conn.limited.R = conn.Conn
	conn.reader = bufio.NewReader(&conn.limited)
	return d.ask(conn, req)
}

// ask sends a request and reads the head of its answer. The connection is kept
// when the body has been read, and closed if anything is wrong.
func (d *direct) ask(conn *directConn, req *http.Request) (_ *http.Response, err error) {
	release, err := deadline(req.Context(), conn)
	defer func() {
		if err != nil {
			err = late(req.Context(), err)
			release()
			_ = conn.Close() // there is an error already
		}
	}()
	if err != nil {
		return nil, err
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	conn.limited.N = maxHeader
	var res *http.Response
	for res == nil || res.StatusCode/100 == 1 && res.StatusCode != http.StatusSwitchingProtocols {
		if res, err = http.ReadResponse(conn.reader, req); err != nil {
			if conn.limited.N <= 0 {
				err = errHeader
			}
			return nil, fmt.Errorf("reading the head of the answer: %w", err)
		}
	}
	conn.limited.N = math.MaxInt64
	res.Body = &directBody{ReadCloser: res.Body, transport: d, conn: conn, ctx: req.Context(), release: release, last: res.Close || res.StatusCode/100 == 1}
	return res, nil
}

// directBody is a body that gives its connection back.
type directBody struct {
	io.ReadCloser
	transport *direct
	conn      *directConn
	release   func() bool     // of the deadline; false if it has passed
	last      bool            // of its connection
	read      bool            // to its end
	ctx       context.Context //nolint:containedctx // of the request, which the body is part of
	closed    bool
}

func (b *directBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.read = true
		return n, err
	}
	return n, late(b.ctx, err)
}

// late makes the end of a connection's time that of the request's.
func late(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	// The connection's may come a moment before that of the context.
	return cmp.Or(context.Cause(ctx), context.DeadlineExceeded)
}

// Close keeps the connection for the next request if it can have one.
func (b *directBody) Close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	if b.release() && b.read && !b.last && b.conn.reader.Buffered() == 0 {
		b.transport.keep(b.conn)
		return nil
	}
	return b.conn.Close()
}

// take returns the connection that is kept, if any.
func (d *direct) take() *directConn {
	d.mu.Lock()
	defer d.mu.Unlock()
	conn := d.kept
	d.kept = nil
	if d.expiry != nil {
		d.expiry.Stop()
	}
	return conn
}

// keep has the connection wait for the next request, for a while.
func (d *direct) keep(conn *directConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept != nil {
		_ = conn.Close() // one is enough
		return
	}
	d.kept = conn
	d.expiry = time.AfterFunc(idle, func() { d.drop(conn) })
}

// drop closes a connection that is still kept.
func (d *direct) drop(conn *directConn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == conn {
		d.kept = nil
		_ = conn.Close() // nobody waits for anything from it
	}
}

// CloseIdleConnections lets connections go, as [http.Client] wants it.
func (d *direct) CloseIdleConnections() {
	if conn := d.take(); conn != nil {
		_ = conn.Close() // nobody waits for anything from it
	}
	d.other.CloseIdleConnections()
}
