package netloop

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	defaultDialTimeout = 10 * time.Second
	// unixRetry is the pause before a connect to a unix socket whose backlog is
	// full is tried again: the kernel does not tell when there is room.
	unixRetry = 5 * time.Millisecond
)

// DialOptions say how to connect.
type DialOptions struct {
	Timeout    time.Duration // for connect and TLS handshake together; 10 s
	TLS        *tls.Config   // nil: plain
	KeepAlive  KeepAlive
	SourceAddr string // literal IP to connect from; empty: the kernel's choice
}

// dialState is what a connection needs until it is established.
type dialState struct {
	tls   *tls.Config
	timer *Timer
	retry *Timer
	to    syscall.Sockaddr
	addr  string
}

func (d *dialState) stop() {
	d.timer.Stop()
	if d.retry != nil {
		d.retry.Stop()
	}
}

// Dial connects to addr, a literal IP:port ("tcp") or a path ("unix"; a
// leading @ means the abstract name space), and returns at once. Output is
// buffered until the connection is established. A failure is reported by
// Closed, never during Dial. If d is a [ConnectDriver] it hears of success.
func (l *Loop) Dial(network, addr string, o DialOptions, d Driver) *Conn {
	c := l.newConn(d, Upstream)
	if l.test != nil {
		c.flags |= isWritable
		c.extra().pipe = new(pipeState)
		if l.OnDial != nil {
			l.OnDial(c, network, addr)
		}
		l.Post(c.connected)
		return c
	}
	c.flags |= isConnecting
	x := c.extra()
	x.dial = &dialState{tls: o.TLS, addr: addr}
	timeout := cmp.Or(o.Timeout, defaultDialTimeout)
	x.dial.timer = l.After(timeout, func() { l.failDial(c, ErrDialTimeout) })
	err := ErrStopped
	if !l.draining {
		err = l.startDial(c, network, addr, o)
	}
	if err != nil {
		l.failDial(c, err)
	}
	return c
}

// startDial makes the socket and begins to connect.
func (l *Loop) startDial(c *Conn, network, addr string, o DialOptions) error {
	family, to, err := parseAddr(network, addr)
	if err != nil {
		return err
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.fd = int32(fd)
	if family == syscall.AF_UNIX {
		c.flags |= isUnix
		c.rare.path = addr
	} else {
		c.remote = addrPortOf(to)
		setTCP(fd)
		o.KeepAlive.set(fd)
		c.setPatience(o.KeepAlive.patience())
		if err := bindSource(fd, o.SourceAddr); err != nil {
			return err
		}
	}
	c.rare.dial.to = to
	return l.connect(c)
}

// connect begins to connect, and watches the socket.
func (l *Loop) connect(c *Conn) error {
	err := syscall.Connect(int(c.fd), c.rare.dial.to)
	switch {
	case err == nil, errors.Is(err, syscall.EINPROGRESS), errors.Is(err, syscall.EINTR):
		return l.attach(c, int(c.fd))
	case errors.Is(err, syscall.EAGAIN) && c.is(isUnix):
		c.rare.dial.retry = l.After(unixRetry, func() {
			if err := l.connect(c); err != nil {
				l.failDial(c, err)
			}
		})
		return nil
	}
	return fmt.Errorf("connect: %w", err)
}

func (l *Loop) failDial(c *Conn, err error) {
	switch {
	case !c.is(isConnecting | isHandshaking):
	case c.rare.dial == nil: // StartTLS
		l.closeConn(c, err)
	default:
		l.closeConn(c, fmt.Errorf("dialing %q: %w", c.rare.dial.addr, err))
	}
}

// advance is the turn of a connection that is not yet established.
func (l *Loop) advance(c *Conn) {
	if !c.is(isConnecting) {
		c.rare.tls.feed(c)
		return
	}
	if !c.is(isWritable | isHungUp) {
		return
	}
	n, err := syscall.GetsockoptInt(int(c.fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err == nil && n != 0 {
		err = syscall.Errno(n)
	}
	if err != nil {
		l.failDial(c, fmt.Errorf("connect: %w", err))
		return
	}
	c.flags &^= isConnecting
	if c.is(isUnix) {
		if err := l.rearm(c); err != nil {
			l.closeConn(c, err)
			return
		}
	}
	if t := c.rare.dial.tls; t != nil {
		l.startTLS(c, t)
		return
	}
	l.established(c)
}

// established opens the connection to its driver.
func (l *Loop) established(c *Conn) {
	x := c.rare
	if x.dial != nil {
		x.dial.stop()
		x.dial = nil
	}
	if *x == (connExtra{}) {
		c.rare = nil
	}
	if c.Buffered() > 0 || c.is(wantFIN|isClosing) {
		c.markDirty()
	}
	if c.is(isReadable) {
		l.enqueue(c)
	}
	if c.side == Upstream {
		c.connected()
	}
}

// connected tells a driver that wants to know.
func (c *Conn) connected() {
	if d, ok := c.driver.(ConnectDriver); ok && !c.is(isClosed) {
		d.Connected(c)
	}
}
