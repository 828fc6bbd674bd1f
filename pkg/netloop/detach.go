package netloop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
)

// ErrBusy is a connection that cannot leave its loop any more: TLS has begun,
// or something was read or written.
var ErrBusy = errors.New("the connection is in use")

// Detach takes an accepted connection off its loop and returns its socket, for
// what serves it on goroutines of its own. It is for [Accept], before anything
// was read, which then returns no driver. Until the socket is closed the
// connection counts as one of its listener's.
func (c *Conn) Detach() (net.Conn, error) {
	if c.fd < 0 || c.gen == 0 || c.is(isClosed) || c.in != nil || c.out.n > 0 || c.rare != nil {
		return nil, ErrBusy
	}
	return c.toSocket()
}

// Leave is [Conn.Detach] for a connection that has had traffic; it is called by
// its driver, which hears of it no more, not even by Closed. Input that the driver
// has not consumed is lost to the socket: it has to be copied before, and what
// Data is being shown counts as consumed. unsent is output that the kernel did not
// take yet, for whoever writes to the socket first.
//
// A connection that speaks TLS, or has no socket, stays with [ErrBusy].
func (c *Conn) Leave() (socket net.Conn, unsent []byte, err error) {
	if c.fd < 0 || c.is(isClosed|isClosing|isConnecting|isHandshaking|isBroken|wantFIN) || c.rare != nil && (c.rare.tls != nil || c.rare.pipe != nil) {
		return nil, nil, ErrBusy
	}
	if c.is(isCoarse) {
		_ = setReadMark(c.fd, 1) // went well for another value
	}
	unsent = slices.Clone(c.out.Contiguous(c.loop))
	socket, err = c.toSocket()
	c.driver = nil
	c.Close()
	return socket, unsent, err
}

// toSocket takes the descriptor from the loop.
func (c *Conn) toSocket() (net.Conn, error) {
	l := c.loop
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_DEL, int(c.fd), nil); err != nil {
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	f := os.NewFile(uintptr(c.fd), "socket")
	l.conns[c.slot] = nil
	l.unused = append(l.unused, c.slot)
	c.fd, c.gen = -1, 0
	socket, err := net.FileConn(f) // a descriptor of its own
	f.Close()
	if err != nil {
		return nil, fmt.Errorf("taking a socket over: %w", err)
	}
	n := c.listener
	c.listener = nil // the socket is counted until it is closed
	if n == nil {
		return socket, nil
	}
	return countSocket(socket, n), nil
}

// countSocket has a listener count a socket until it is closed. A TCP connection
// stays one for who looks for its methods.
func countSocket(socket net.Conn, n *Listener) net.Conn {
	d := &detached{Conn: socket, listener: n}
	if tcp, ok := socket.(*net.TCPConn); ok {
		return &detachedTCP{TCPConn: tcp, detached: d}
	}
	return d
}

// detached is a connection of a listener that no loop serves.
type detached struct {
	net.Conn
	listener *Listener
	once     sync.Once
}

// Close implements net.Conn.
func (d *detached) Close() error {
	d.once.Do(func() { d.listener.live.Add(-1) })
	return d.Conn.Close()
}

// detachedTCP has the methods of a TCP connection, of which ReadFrom and
// WriteTo spare copies.
type detachedTCP struct {
	*net.TCPConn
	detached *detached
}

// Close implements net.Conn.
func (d *detachedTCP) Close() error { return d.detached.Close() }
