// Package h2 serves HTTP/2 (RFC 9113) for net/http's handlers.
//
// A connection has a goroutine that reads frames, one that writes where nobody
// else can, and one for each request. All state of a connection is guarded by
// one lock. Frames are put into the connection's output, and whoever has
// something that must not wait hands that to the kernel, together with what the
// others have put there meanwhile: under load many responses leave with one
// system call, and otherwise a response is written by the goroutine that made it.
package h2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/drain"
)

// Preface is how a client begins, RFC 9113 section 3.4.
const Preface = http2.ClientPreface

// Options of a server. 0 means no bound where nothing else is said.
type Options struct {
	HeaderBytes      int           // of a request's header or trailers as RFC 9113 section 10.5.1 counts them; never 0
	Headers          time.Duration // for the preface, and for a header block that has begun
	Idle             time.Duration // without a request
	Still            time.Duration // for a client that takes nothing of a response
	MaxAge           time.Duration // of a connection, after which it takes no further request
	MaxRequests      int           // on one connection
	Streams          uint32        // requests at once; 0: DefaultStreams
	StreamWindow     uint32        // bytes of a request's body that are held; 0: DefaultStreamWindow
	ConnectionWindow uint32        // bytes of all bodies that are held; 0: DefaultConnectionWindow
	TableSize        uint32        // bytes of HPACK's dynamic table; 0: 4096
	PingEvery        time.Duration // a client that is silent for so long is asked whether it is there
	PingAnswer       time.Duration // and has so long to answer
	Floods           Floods
	// Refused is called for what is no request, with the status of the answer, 400
	// where it was a reset. A flood is an ErrFlood.
	Refused func(status int, err error)
}

// What is used where Options say nothing.
const (
	DefaultStreams          = 250
	DefaultStreamWindow     = 256 << 10
	DefaultConnectionWindow = 1 << 20
	defaultTable            = 4096
)

// orDefaults fills in what was not said.
func (o Options) orDefaults() Options {
	set := func(v *uint32, to uint32) {
		if *v == 0 {
			*v = to
		}
	}
	set(&o.Streams, DefaultStreams)
	set(&o.StreamWindow, DefaultStreamWindow)
	set(&o.ConnectionWindow, DefaultConnectionWindow)
	set(&o.TableSize, defaultTable)
	o.Floods = o.Floods.orDefaults()
	return o
}

// Server serves connections. Its methods may be called from any goroutine.
type Server struct {
	// read-only after construction
	handler http.Handler
	o       Options

	open drain.Set[*conn]
}

// NewServer returns a server.
func NewServer(h http.Handler, o Options) *Server {
	return &Server{handler: h, o: o.orDefaults()}
}

// Serve serves a connection until it ends and its last handler has returned, and
// closes it. ahead was read from it already.
func (s *Server) Serve(socket net.Conn, ahead []byte) {
	c := newConn(s, socket, ahead)
	if !s.open.Add(c) {
		_ = socket.Close()
		return
	}
	defer s.open.Remove(c)
	c.serve()
}

// Shutdown asks clients to go (GOAWAY), lets the requests under way end, and
// closes connections when ctx is done.
func (s *Server) Shutdown(ctx context.Context) error {
	return s.open.Shutdown(ctx, (*conn).drain, (*conn).abort)
}

// Close closes all connections.
func (s *Server) Close() { s.open.Close((*conn).abort) }

// weak says that TLS is not what HTTP/2 demands, RFC 9113 section 9.2.
func weak(state *tls.ConnectionState) bool {
	if state == nil || state.Version >= tls.VersionTLS13 {
		return false
	}
	if state.Version < tls.VersionTLS12 {
		return true
	}
	switch state.CipherSuite {
	case tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
		return false
	default:
		return true
	}
}
