package http

import (
	"context"
	"net"
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// accept begins to serve a connection on its loop.
func (s *server) accept(conn *netloop.Conn, rt *router) netloop.Driver {
	l := conn.Loop()
	c := &loopClient{server: s, conn: conn, worker: rt.loops.of(l), born: l.Now()}
	ctx := context.WithValue(context.Background(), http.LocalAddrContextKey, net.Addr(localAddress{conn}))
	c.base = (&http.Request{RemoteAddr: conn.RemoteAddr(), Body: http.NoBody, ProtoMajor: 1}).WithContext(ctx)
	c.clock.start(l, c.due)
	if !s.loops.Add(c) {
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
