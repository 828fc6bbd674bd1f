package http

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// server speaks HTTP on connections that it is given: HTTP/1 with package h1,
// HTTP/2 with net/http. Requests pass the chain of the moment.
type server struct {
	// read-only after construction
	conf  *resource.HTTPManager
	one   *h1.Server
	two   *http.Server
	queue *queue // of connections that speak HTTP/2

	chain atomic.Pointer[chain]
	open  atomic.Int64
	loops loopServer

	mu       sync.Mutex
	starting map[net.Conn]struct{} // that have not said yet what they speak; guarded by mu
	closed   bool                  // guarded by mu
}

func newServer(conf *resource.HTTPManager, c *chain, log *slog.Logger) *server {
	s := &server{conf: conf, queue: newQueue(), starting: map[net.Conn]struct{}{}}
	s.chain.Store(c)
	l := &conf.Limits
	s.one = h1.NewServer(http.HandlerFunc(s.serve), h1.Options{
		Limits:  h1.Limits{HeadBytes: l.HeaderBytes, Fields: l.HeaderCount},
		Headers: l.HeadersTimeout, Idle: l.Idle, Still: l.StreamIdle, MaxAge: l.MaxConnection, MaxRequests: int(l.MaxRequests),
		ChunkedLength: conf.HTTP1.ChunkedLength, Trailers: conf.HTTP1.Trailers, Refused: s.refused,
	})
	protocols := &http.Protocols{}
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s.two = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: l.HeadersTimeout,
		IdleTimeout:       l.Idle,
		MaxHeaderBytes:    l.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols:         protocols,
		ConnState:         s.state,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          int(conf.HTTP2.MaxStreams),
			MaxReceiveBufferPerStream:     int(conf.HTTP2.StreamWindow),
			MaxReceiveBufferPerConnection: int(conf.HTTP2.ConnectionWindow),
			MaxDecoderHeaderTableSize:     int(conf.HTTP2.TableSize),
			MaxReadFrameSize:              maxFrame,
			SendPingTimeout:               l.KeepaliveTime,
			PingTimeout:                   l.KeepaliveAnswer,
		},
		DisableGeneralOptionsHandler: true,
	}
	go func() { _ = s.two.Serve(s.queue) }() // until shutdown or close
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) { s.chain.Load().serve(w, r) }

// refused counts what was no request.
func (s *server) refused(status int, err error) {
	c := s.chain.Load()
	why := refusedMalformed
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		why = refusedLarge
	case http.StatusHTTPVersionNotSupported:
		why = refusedVersion
	}
	c.counters.refused[why].Add(1)
	c.log.Debug("a request was refused", "status", status, "error", err)
}

// suits says whether connections of this server may go on under a configuration.
func (s *server) suits(conf *resource.HTTPManager) bool {
	return s.conf.Codec == conf.Codec && s.conf.Limits == conf.Limits &&
		s.conf.HTTP1 == conf.HTTP1 && s.conf.HTTP2 == conf.HTTP2
}

// take serves a connection, which the server owns from now on.
func (s *server) take(socket net.Conn, cfg *tls.Config) {
	s.open.Add(1)
	s.serveSocket(socket, cfg, nil, nil)
}

// serveSocket serves a connection on goroutines. ahead was read from it already,
// and unsent is to be written first.
func (s *server) serveSocket(socket net.Conn, cfg *tls.Config, ahead, unsent []byte) {
	s.mu.Lock()
	s.starting[socket] = struct{}{}
	refused := s.closed
	s.mu.Unlock()
	if refused {
		_ = socket.Close()
	}
	go func() {
		if !s.begin(socket, cfg, ahead, unsent) {
			s.open.Add(-1)
		}
	}()
}

// maxFrame is RFC 9113's own: net/http would take frames of 1 MiB.
const maxFrame = 16 << 10

// preface is how a client begins that speaks HTTP/2, RFC 9113 section 3.4.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// begin finds out what a client speaks. It tells whether the connection was
// handed over, and returns at its end otherwise.
func (s *server) begin(socket net.Conn, cfg *tls.Config, ahead, unsent []byte) bool {
	plain := socket
	defer s.started(plain)
	limit := s.conf.Limits.Idle
	if cfg != nil {
		limit = s.conf.Limits.HeadersTimeout
	}
	if limit > 0 {
		_ = socket.SetDeadline(time.Now().Add(limit))
	}
	if len(unsent) > 0 {
		if _, err := socket.Write(unsent); err != nil {
			_ = socket.Close()
			return false
		}
	}
	if cfg != nil {
		secure := tls.Server(socket, cfg)
		if err := secure.HandshakeContext(context.Background()); err != nil { // bounded by the deadline
			s.chain.Load().counters.refused[refusedTLS].Add(1)
			_ = socket.Close()
			return false
		}
		socket = secure
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			return s.hand(secure)
		}
		if idle := s.conf.Limits.Idle; idle > 0 {
			_ = socket.SetReadDeadline(time.Now().Add(idle))
		}
	}
	if s.conf.Codec == resource.HTTPOne {
		s.speak(plain, socket, ahead)
		return false
	}
	n := len(ahead)
	ahead = append(ahead, make([]byte, max(len(preface)-n, 0))...)
	for n < len(preface) && string(ahead[:n]) == preface[:n] {
		more, err := socket.Read(ahead[n:])
		if n += more; err != nil {
			_ = socket.Close()
			return false
		}
	}
	switch {
	case n >= len(preface) && string(ahead[:len(preface)]) == preface:
		return s.hand(&replayed{Conn: socket, ahead: ahead[:n]})
	case s.conf.Codec == resource.HTTPTwo:
		s.chain.Load().counters.refused[refusedVersion].Add(1)
		_ = socket.Close()
	default:
		s.speak(plain, socket, ahead[:n])
	}
	return false
}

// started says that a connection is one of a server's of its protocol now, or
// has ended.
func (s *server) started(socket net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.starting, socket)
}

// speak serves HTTP/1 until the connection ends.
func (s *server) speak(plain, socket net.Conn, ahead []byte) {
	_ = socket.SetWriteDeadline(time.Time{})
	s.started(plain)
	s.one.Serve(socket, ahead)
}

// endStarting closes connections on which nothing was asked yet.
func (s *server) endStarting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for c := range s.starting {
		_ = c.Close()
	}
}

// hand gives a connection to the server of HTTP/2.
func (s *server) hand(socket net.Conn) bool {
	_ = socket.SetDeadline(time.Time{})
	if !s.queue.put(socket) {
		_ = socket.Close()
		return false
	}
	return true
}

// replayed is a connection of which something was read already.
type replayed struct {
	net.Conn
	ahead []byte
}

// Read implements net.Conn.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.ahead) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.ahead)
	r.ahead = r.ahead[n:]
	return n, nil
}

func (s *server) connections() int { return int(s.open.Load()) }

// state counts connections of HTTP/2 that end.
func (s *server) state(_ net.Conn, to http.ConnState) {
	if to == http.StateClosed || to == http.StateHijacked {
		s.open.Add(-1)
	}
}

// shutdown closes idle connections, lets the others finish the request they are
// at, and closes them when ctx is done.
func (s *server) shutdown(ctx context.Context) error {
	s.endStarting()
	result := make(chan error, 2)
	go func() { result <- s.loops.shutdown(ctx) }()
	go func() { result <- s.one.Shutdown(ctx) }()
	err := errors.Join(s.two.Shutdown(ctx), <-result, <-result)
	if err != nil {
		s.close()
	}
	return err
}

func (s *server) close() {
	s.endStarting()
	s.loops.close()
	s.one.Close()
	_ = s.two.Close()
	_ = s.queue.Close()
}

// queue is a net.Listener of connections that were accepted elsewhere.
type queue struct {
	mu     sync.Mutex
	more   sync.Cond // mu: waiting has grown or closed is set
	list   []net.Conn
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.more.L = &q.mu
	return q
}

func (q *queue) put(c net.Conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.list = append(q.list, c)
	q.more.Signal()
	return true
}

// Accept implements net.Listener.
func (q *queue) Accept() (net.Conn, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 {
		if q.closed {
			return nil, net.ErrClosed
		}
		q.more.Wait()
	}
	c := q.list[0]
	q.list[0] = nil
	q.list = q.list[1:]
	return c, nil
}

// Close implements net.Listener.
func (q *queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, c := range q.list {
		_ = c.Close()
	}
	q.list, q.closed = nil, true
	q.more.Broadcast()
	return nil
}

// Addr implements net.Listener.
func (*queue) Addr() net.Addr { return &net.TCPAddr{} }
