package http

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// server speaks HTTP on connections that it is given. Requests pass the chain
// of the moment.
type server struct {
	// read-only after construction
	conf  *resource.HTTPManager
	http  *http.Server
	queue *queue

	chain atomic.Pointer[chain]
	open  atomic.Int64
}

func newServer(conf *resource.HTTPManager, c *chain, log *slog.Logger) *server {
	s := &server{conf: conf, queue: newQueue()}
	s.chain.Store(c)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(conf.Codec != resource.HTTPTwo)
	protocols.SetHTTP2(conf.Codec != resource.HTTPOne)
	protocols.SetUnencryptedHTTP2(conf.Codec != resource.HTTPOne)
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: conf.Limits.HeadersTimeout,
		IdleTimeout:       conf.Limits.Idle,
		MaxHeaderBytes:    conf.Limits.HeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		Protocols:         protocols,
		ConnState:         s.state,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          int(conf.HTTP2.MaxStreams),
			MaxReceiveBufferPerStream:     int(conf.HTTP2.StreamWindow),
			MaxReceiveBufferPerConnection: int(conf.HTTP2.ConnectionWindow),
			MaxDecoderHeaderTableSize:     int(conf.HTTP2.TableSize),
			SendPingTimeout:               conf.Limits.KeepaliveTime,
			PingTimeout:                   conf.Limits.KeepaliveAnswer,
		},
		DisableGeneralOptionsHandler: true,
	}
	go func() { _ = s.http.Serve(s.queue) }() // until shutdown or close
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) { s.chain.Load().serve(w, r) }

// suits says whether connections of this server may go on under a configuration.
func (s *server) suits(conf *resource.HTTPManager) bool {
	return s.conf.Codec == conf.Codec && s.conf.Limits == conf.Limits &&
		s.conf.HTTP1 == conf.HTTP1 && s.conf.HTTP2 == conf.HTTP2
}

// take serves a connection, which the server owns from now on.
func (s *server) take(socket net.Conn, cfg *tls.Config) {
	s.open.Add(1)
	if cfg != nil {
		socket = tls.Server(socket, cfg)
	}
	if !s.queue.put(socket) {
		s.open.Add(-1)
		_ = socket.Close()
	}
}

func (s *server) connections() int { return int(s.open.Load()) }

// state counts connections that end.
func (s *server) state(_ net.Conn, to http.ConnState) {
	if to == http.StateClosed || to == http.StateHijacked {
		s.open.Add(-1)
	}
}

// shutdown closes idle connections, lets the others finish the request they are
// at, and closes them when ctx is done.
func (s *server) shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.close()
	}
	return err
}

func (s *server) close() {
	_ = s.http.Close()
	s.queue.Close()
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
