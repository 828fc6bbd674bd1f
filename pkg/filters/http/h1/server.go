package h1

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/drain"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
	"github.com/dragoman-mesh/dragoman/pkg/netloop/rawio"
)

// Options of a server. 0 means no bound.
type Options struct {
	Limits        Limits
	Headers       time.Duration // for a head that has begun
	Idle          time.Duration // between requests
	Still         time.Duration // in the middle of a body, and for a client that does not read
	MaxAge        time.Duration // of a connection, after which it takes no further request
	MaxRequests   int           // on one connection
	ChunkedLength bool          // Content-Length beside chunks is dropped, not refused
	Trailers      bool          // of requests and responses are passed on, else dropped
	// Either says that other protocols are spoken here, too: a connection that begins
	// with what names no version of HTTP ends without an answer.
	Either bool
	// Refused is called for what is no request, with the status of the answer.
	Refused func(status int, err error)
}

// Server serves connections. Its methods may be called from any goroutine.
type Server struct {
	// read-only after construction
	handler http.Handler
	o       Options

	open drain.Set[*serverConn]

	mu       sync.Mutex
	watching bool // guarded by mu
}

// NewServer returns a server.
func NewServer(h http.Handler, o Options) *Server {
	return &Server{handler: h, o: o}
}

// state of a connection.
const (
	stateIdle = iota
	stateActive
	stateClosed
	stateHijacked
)

// serverConn is one connection. It belongs to the goroutine of Serve but for
// what is said.
type serverConn struct {
	server *Server
	conn   net.Conn
	base   *http.Request // what all requests have in common
	cancel context.CancelFunc
	in     buffer
	out    []byte
	probe  prober
	born   time.Time
	uses   int

	deadline   sync.Mutex // of writing
	writeUntil time.Time  // as it is set; guarded by deadline
	cut        bool       // it has passed by order: nothing more is written; guarded by deadline

	readUntil atomic.Int64 // deadline that is set, ns since 1970, 0: none; from any goroutine
	state     atomic.Int32 // from any goroutine
	since     atomic.Int64 // when it became active, in ns since 1970
}

// Serve serves a connection until it ends, and closes it. ahead was read from
// it already.
func (s *Server) Serve(conn net.Conn, ahead []byte) {
	conn = rawio.Wrap(conn)
	c := &serverConn{server: s, conn: conn, born: time.Now()}
	var secure *tls.ConnectionState
	if t, ok := conn.(*tls.Conn); ok {
		state := t.ConnectionState()
		secure = &state
	}
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), http.LocalAddrContextKey, conn.LocalAddr()))
	c.base = (&http.Request{ProtoMajor: 1, RemoteAddr: conn.RemoteAddr().String(), TLS: secure, Body: http.NoBody}).WithContext(ctx)
	c.cancel = cancel
	defer c.cancel()
	c.in = newBuffer(readerFunc(c.read))
	if len(ahead) > len(c.in.b) {
		c.in.b = make([]byte, len(ahead))
	}
	c.in.w = copy(c.in.b, ahead)
	c.out = make([]byte, 0, bufferSize)
	c.probe = newProber(conn)
	if !s.add(c) {
		_ = conn.Close()
		return
	}
	defer s.open.Remove(c)
	c.loop()
	if c.state.Load() != stateHijacked {
		c.state.Store(stateClosed)
		_ = conn.Close()
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (s *Server) add(c *serverConn) bool {
	if !s.open.Add(c) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.watching {
		s.watching = true
		time.AfterFunc(watchEvery, s.watch)
	}
	return true
}

// watchEvery is how often connections whose request takes long are looked at.
const watchEvery = 500 * time.Millisecond

// watch cancels the requests of clients that have gone. One timer for all of
// them is cheaper than a goroutine for each that reads.
func (s *Server) watch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open.Len() == 0 {
		s.watching = false
		return
	}
	time.AfterFunc(watchEvery, s.watch)
	now := time.Now().UnixNano()
	s.open.Each(func(c *serverConn) {
		if c.state.Load() == stateActive && now-c.since.Load() > int64(watchEvery)/2 && c.probe.ended() {
			c.cancel()
		}
	})
}

// Shutdown closes idle connections, lets the others end with the response that
// they are at, and closes them when ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.open.Shutdown(ctx, (*serverConn).closeIdle, (*serverConn).abort)
}

// Close closes all connections.
func (s *Server) Close() { s.open.Close((*serverConn).abort) }

// closeIdle closes the connection unless it is at a request.
func (c *serverConn) closeIdle() {
	if c.state.CompareAndSwap(stateIdle, stateClosed) {
		_ = c.conn.Close()
	}
}

// abort closes the connection, whatever it is at.
func (c *serverConn) abort() {
	c.cancel()
	_ = c.conn.Close()
}

// read reads from the connection, within the time that is set.
func (c *serverConn) read(p []byte) (int, error) { return c.conn.Read(p) }

// armRead sets a deadline for reading. One that is about right stays: setting
// one for each request costs more than it is worth.
func (c *serverConn) armRead(d time.Duration) {
	if d <= 0 {
		if c.readUntil.Load() != 0 {
			_ = c.setRead(time.Time{})
		}
		return
	}
	now := time.Now()
	if left := time.Duration(c.readUntil.Load() - now.UnixNano()); left > d || left < d-d/8 {
		_ = c.setRead(now.Add(d))
	}
}

// setRead sets the deadline for reading; the zero time means none.
func (c *serverConn) setRead(t time.Time) error {
	var ns int64
	if !t.IsZero() {
		ns = t.UnixNano()
	}
	c.readUntil.Store(ns)
	return c.conn.SetReadDeadline(t)
}

func (c *serverConn) armWrite() {
	d := c.server.o.Still
	if d <= 0 {
		return
	}
	now := time.Now()
	c.deadline.Lock()
	defer c.deadline.Unlock()
	if left := c.writeUntil.Sub(now); !c.cut && left < d-d/8 {
		c.writeUntil = now.Add(d)
		_ = c.conn.SetWriteDeadline(c.writeUntil)
	}
}

// loop serves one request after the other.
func (c *serverConn) loop() {
	var h httpproto.Head
	h.Fields = make([]httpproto.Field, 0, 24)
	for {
		o := &c.server.o
		c.armRead(o.Idle)
		head, err := c.head()
		if err != nil {
			c.refuse(err)
			return
		}
		if !c.state.CompareAndSwap(stateIdle, stateActive) && c.state.Load() != stateActive {
			return
		}
		c.since.Store(time.Now().UnixNano())
		err = httpproto.ParseRequest(head, &h, httpproto.Limits{Bytes: o.Limits.HeadBytes, Fields: o.Limits.Fields})
		var f httpproto.Framing
		if err == nil {
			f, err = httpproto.RequestFraming(&h, o.ChunkedLength)
		}
		if err != nil {
			c.refuse(err)
			return
		}
		c.uses++
		if !c.exchange(&h, &f) {
			return
		}
		c.state.CompareAndSwap(stateActive, stateIdle)
		if c.server.open.Draining() && c.in.buffered() == 0 {
			return
		}
	}
}

// head reads a request's head. Empty lines before it are skipped, RFC 9112
// section 2.2.
func (c *serverConn) head() (string, error) {
	for c.in.buffered() < 2 {
		if err := c.in.fill(bufferSize); err != nil {
			return "", err
		}
	}
	if c.in.b[c.in.r] == '\r' && c.in.b[c.in.r+1] == '\n' {
		c.in.r += 2
	}
	return c.in.head(c.server.o.Limits.HeadBytes, func() {
		c.state.CompareAndSwap(stateIdle, stateActive)
		c.armRead(c.server.o.Headers)
	})
}

// refuse answers what is no request, if there was anything.
func (c *serverConn) refuse(err error) {
	status := RefusalStatus(err)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() && c.state.Load() == stateActive {
		status = http.StatusRequestTimeout
	}
	if status == 0 {
		return // the client has gone
	}
	if c.server.o.Refused != nil {
		c.server.o.Refused(status, err)
	}
	if c.server.o.Either && c.uses == 0 && errors.Is(err, httpproto.ErrNoHTTP) {
		c.linger()
		return
	}
	c.out = AppendRefusal(c.out[:0], status)
	c.armWrite()
	if _, err := c.conn.Write(c.out); err == nil {
		c.linger()
	}
}

// How long and how far a connection is read on after its last answer, for a
// client that sends more than it should: as netloop.Conn.CloseLingering does.
const (
	LingerTime  = 5 * time.Second
	LingerBytes = 16 << 20
)

// linger reads on for a while: unread input would turn the close into a reset,
// which may overtake the answer.
func (c *serverConn) linger() {
	half, ok := c.conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(LingerTime))
	_, _ = io.CopyN(io.Discard, c.conn, LingerBytes)
}

// exchange has a request answered. It tells whether the connection can take
// another one.
func (c *serverConn) exchange(h *httpproto.Head, f *httpproto.Framing) bool {
	r, body := c.request(h, f)
	if r == nil {
		c.refuse(httpproto.ErrMalformed)
		return false
	}
	o := &c.server.o
	w := &response{
		c: c, r: r, body: body, header: make(http.Header, 8), declared: -1, old: h.Minor == 0,
		last: f.Close || c.server.open.Draining() || o.MaxRequests > 0 && c.uses >= o.MaxRequests ||
			o.MaxAge > 0 && time.Since(c.born) > o.MaxAge,
	}
	if body != nil {
		body.w = w
	}
	if !c.run(w, r) {
		return false
	}
	if c.state.Load() == stateHijacked {
		return false
	}
	ok := w.end()
	rest := body.finish()
	if ok && !w.last && rest {
		return true
	}
	if ok {
		c.linger()
	}
	return false
}

// run calls the handler; false: it has given up, and the connection must end.
func (c *serverConn) run(w http.ResponseWriter, r *http.Request) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			ok = false // the handler's owner has reported it
		}
	}()
	c.server.handler.ServeHTTP(w, r)
	return true
}
