package http

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// loopServer is a server's connections that their event loops serve: those of
// HTTP/1.1 in the clear whose chain is a router alone.
type loopServer struct {
	draining atomic.Bool

	mu    sync.Mutex
	conns map[*loopClient]struct{} // guarded by mu
	empty chan struct{}            // closed when conns is empty; nil: nobody waits; guarded by mu
}

// accept begins to serve a connection on its loop.
func (s *server) accept(conn *netloop.Conn, rt *router) netloop.Driver {
	l := conn.Loop()
	c := &loopClient{server: s, conn: conn, worker: rt.loops.of(l), born: l.Now()}
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(localAddress{conn}))
	c.base = (&http.Request{RemoteAddr: conn.RemoteAddr(), Body: http.NoBody, ProtoMajor: 1}).WithContext(ctx)
	c.clock.start(l, c.due)
	if !s.loops.add(c) {
		return nil
	}
	s.open.Add(1)
	conn.SetUnshared()
	conn.SetHangupNotice(true)
	c.clock.set(dueIdle, s.conf.Limits.Idle)
	return c
}

// localAddress is looked up when somebody wants to know.
type localAddress struct{ conn *netloop.Conn }

// Network implements net.Addr.
func (localAddress) Network() string { return "tcp" }

// String implements net.Addr.
func (a localAddress) String() string { return a.conn.LocalAddr() }

func (s *loopServer) add(c *loopClient) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	if s.conns == nil {
		s.conns = map[*loopClient]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *loopServer) remove(c *loopClient) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if len(s.conns) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// shutdown closes idle connections, lets the others end with the response that
// they are at, and closes them when ctx is done.
func (s *loopServer) shutdown(ctx context.Context) error {
	s.draining.Store(true)
	s.mu.Lock()
	for c := range s.conns {
		c.conn.Loop().Post(c.drain)
	}
	if len(s.conns) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		s.close()
		return ctx.Err()
	}
}

// close closes all connections.
func (s *loopServer) close() {
	s.draining.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.conn.Loop().Post(c.conn.Close)
	}
}
