package http

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/drain"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h2"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// server speaks HTTP on connections that it is given: HTTP/1 with package h1,
// HTTP/2 with package h2. Requests pass the chain of the moment.
type server struct {
	// read-only after construction
	conf *resource.HTTPManager
	one  *h1.Server
	two  *h2.Server

	chain atomic.Pointer[chain]
	open  atomic.Int64
	// connections that have not said yet what they speak, and those that their event
	// loops serve: HTTP/1.1 in the clear whose chain is a router alone
	starting drain.Set[net.Conn]
	loops    drain.Set[*loopClient]
}

func newServer(conf *resource.HTTPManager, c *chain) *server {
	s := &server{conf: conf}
	s.chain.Store(c)
	l := &conf.Limits
	s.one = h1.NewServer(http.HandlerFunc(s.serve), h1.Options{
		Limits:  h1.Limits{HeadBytes: l.HeaderBytes, Fields: l.HeaderCount},
		Headers: l.HeadersTimeout, Idle: l.Idle, Still: l.StreamIdle, MaxAge: l.MaxConnection, MaxRequests: int(l.MaxRequests),
		ChunkedLength: conf.HTTP1.ChunkedLength, Trailers: conf.HTTP1.Trailers, Either: s.either(), Refused: s.refused,
	})
	s.two = h2.NewServer(http.HandlerFunc(s.serve), h2.Options{
		HeaderBytes: l.HeaderBytes, Headers: l.HeadersTimeout, Idle: l.Idle, Still: l.StreamIdle,
		MaxAge: l.MaxConnection, MaxRequests: int(l.MaxRequests),
		Streams: conf.HTTP2.MaxStreams, StreamWindow: conf.HTTP2.StreamWindow, ConnectionWindow: conf.HTTP2.ConnectionWindow,
		TableSize: conf.HTTP2.TableSize, PingEvery: l.KeepaliveTime, PingAnswer: l.KeepaliveAnswer, Refused: s.refused,
		Floods: h2.Floods(conf.HTTP2.Floods),
	})
	return s
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) { s.chain.Load().serve(w, r) }

// either says that clients may speak HTTP/1 and 2. What begins like neither is
// closed without an answer, which could be meant for the wrong one.
func (s *server) either() bool { return s.conf.Codec == resource.HTTPAuto }

// refused counts what was no request.
func (s *server) refused(status int, err error) {
	c := s.chain.Load()
	why := refusedMalformed
	switch {
	case errors.Is(err, h2.ErrFlood):
		why = refusedFlood
	case status == http.StatusRequestHeaderFieldsTooLarge:
		why = refusedLarge
	case status == http.StatusHTTPVersionNotSupported:
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
	if !s.starting.Add(socket) {
		_ = socket.Close()
	}
	go func() {
		s.begin(socket, cfg, ahead, unsent)
		s.open.Add(-1)
	}()
}

// preface is how a client begins that speaks HTTP/2.
const preface = h2.Preface

// begin finds out what a client speaks, and serves the connection until it ends.
func (s *server) begin(socket net.Conn, cfg *tls.Config, ahead, unsent []byte) {
	plain := socket
	defer s.starting.Remove(plain)
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
			return
		}
	}
	if cfg != nil {
		secure := tls.Server(h2.NewSpill(socket), cfg)
		if err := secure.HandshakeContext(context.Background()); err != nil { // bounded by the deadline
			s.chain.Load().counters.refused[refusedTLS].Add(1)
			_ = socket.Close()
			return
		}
		socket = secure
		if secure.ConnectionState().NegotiatedProtocol == "h2" {
			s.speak(plain, s.two, secure, ahead)
			return
		}
		if idle := s.conf.Limits.Idle; idle > 0 {
			_ = socket.SetReadDeadline(time.Now().Add(idle))
		}
	}
	var kind protocol = s.one
	switch s.conf.Codec {
	case resource.HTTPTwo:
		kind = s.two
	case resource.HTTPAuto:
		n := len(ahead)
		ahead = append(ahead, make([]byte, max(len(preface)-n, 0))...)
		for n < len(preface) && string(ahead[:n]) == preface[:n] {
			more, err := socket.Read(ahead[n:])
			if n += more; err != nil {
				_ = socket.Close()
				return
			}
		}
		if ahead = ahead[:n]; n >= len(preface) && string(ahead[:len(preface)]) == preface {
			kind = s.two
		}
	}
	s.speak(plain, kind, socket, ahead)
}

// protocol serves a connection until it ends. ahead was read from it already.
type protocol interface {
	Serve(socket net.Conn, ahead []byte)
}

// speak serves a connection whose protocol is known.
func (s *server) speak(plain net.Conn, kind protocol, socket net.Conn, ahead []byte) {
	_ = socket.SetWriteDeadline(time.Time{})
	if kind == protocol(s.two) {
		_ = socket.SetReadDeadline(time.Time{})
	}
	s.starting.Remove(plain)
	kind.Serve(socket, ahead)
}

// endStarting closes connections on which nothing was asked yet.
func (s *server) endStarting() { s.starting.Close(func(c net.Conn) { _ = c.Close() }) }

func (s *server) connections() int { return int(s.open.Load()) }

// shutdown closes idle connections, lets the others finish the request they are
// at, and closes them when ctx is done.
func (s *server) shutdown(ctx context.Context) error {
	s.endStarting()
	result := make(chan error, 3)
	go func() { result <- s.loops.Shutdown(ctx, (*loopClient).drain, (*loopClient).abort) }()
	go func() { result <- s.one.Shutdown(ctx) }()
	go func() { result <- s.two.Shutdown(ctx) }()
	err := errors.Join(<-result, <-result, <-result)
	if err != nil {
		s.close()
	}
	return err
}

func (s *server) close() {
	s.endStarting()
	s.loops.Close((*loopClient).abort)
	s.one.Close()
	s.two.Close()
}
