package netloop

import (
	"io"
	"os"
	"syscall"
)

func (l *Loop) newConn(d Driver, side Side) *Conn {
	l.lastID++
	l.open[side].Add(1)
	return &Conn{loop: l, driver: d, side: side, id: l.lastID, fd: -1}
}

// read reads once, from whatever the connection is made of.
func (c *Conn) read(b []byte) (int, result) {
	if x := c.rare; x != nil {
		switch {
		case x.tls != nil:
			return x.tls.read(c, b)
		case x.pipe != nil:
			return x.pipe.read(c, b)
		}
	}
	return c.readSocket(b)
}

func (c *Conn) readSocket(b []byte) (int, result) {
	l := c.loop
	n, errno := recv(c.fd, b)
	l.stats.Reads++
	switch {
	case errno == syscall.EAGAIN:
		if c.is(isBroken) {
			return 0, readEOF
		}
		return 0, readDry
	case errno == syscall.EINTR:
		return 0, readMore
	case errno != 0:
		return 0, c.failRead(errno)
	case n == 0:
		return 0, readEOF
	}
	l.stats.BytesIn += uint64(n)
	if c.is(isCoarse) {
		c.rare.coarse.got += uint64(n)
	}
	if n < len(b) {
		return n, readDry
	}
	return n, readMore
}

// failRead notes why reading failed; an earlier failure to write weighs more.
func (c *Conn) failRead(err error) result {
	x := c.extra()
	if !c.is(isBroken) {
		if e, ok := err.(syscall.Errno); ok {
			err = os.NewSyscallError("read", e)
		}
		x.err = err
	}
	return readError
}

// atEOF says whether the peer's FIN is the next thing to be read.
func (c *Conn) atEOF() bool {
	if x := c.rare; x != nil && x.pipe != nil {
		return len(x.pipe.in) == 0 && x.pipe.ended == io.EOF
	}
	n, errno := peek(c.fd)
	return errno == 0 && n == 0
}

// socketError returns the failure that epoll reported.
func (c *Conn) socketError() error {
	if x := c.rare; x != nil && x.pipe != nil {
		return x.pipe.ended
	}
	n, err := syscall.GetsockoptInt(int(c.fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil || n == 0 {
		return syscall.ECONNRESET
	}
	return syscall.Errno(n)
}

// discardInput drops what has arrived: unread input would turn the close into a
// reset, which may overtake our last words.
func (c *Conn) discardInput() {
	if c.fd >= 0 {
		_, _ = recv(c.fd, c.loop.cipherBuffer().buf) // whatever it is, it is not wanted
	}
}

// shutdownWrite sends FIN.
func (c *Conn) shutdownWrite() {
	if c.rare != nil && c.rare.tls != nil && !c.rare.tls.notified {
		c.rare.tls.closeNotify(c)
		if c.Buffered() > 0 {
			return
		}
	}
	if c.fd >= 0 {
		_ = syscall.Shutdown(int(c.fd), syscall.SHUT_WR) // fails only if the peer is gone already
	}
}

// setTCP sets the options that every TCP connection gets.
func setTCP(fd int) {
	_ = syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1) // of use only for latency
}
