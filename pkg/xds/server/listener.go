package server

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Limit bounds how many connections of a listener are open at a time
// ([Limits.Connections]): those beyond are closed as they come, before anybody
// has spent a handshake on them.
func (s *Server) Limit(l net.Listener) net.Listener {
	return &limitedListener{Listener: l, server: s}
}

type limitedListener struct {
	net.Listener
	server *Server
	open   atomic.Int64
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= int64(l.server.options.Limits.Connections) {
			return &limitedConn{Conn: conn, listener: l}, nil
		}
		l.open.Add(-1)
		remote := conn.RemoteAddr().String()
		_ = conn.Close()                                           // nothing was sent
		_ = l.server.refuse(reasonConnections, remote, time.Now()) // nobody to be told
	}
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	net.Conn
	listener *limitedListener
	once     sync.Once
}

// SyscallConn lets gRPC wait for a connection without holding a buffer for it.
func (c *limitedConn) SyscallConn() (syscall.RawConn, error) {
	if inner, ok := c.Conn.(syscall.Conn); ok {
		return inner.SyscallConn()
	}
	return nil, errors.ErrUnsupported
}

func (c *limitedConn) Close() error {
	c.once.Do(func() { c.listener.open.Add(-1) })
	return c.Conn.Close()
}
