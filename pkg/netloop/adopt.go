package netloop

import (
	"crypto/tls"
	"syscall"
)

// Adopt makes a connection of a socket. The loop owns fd from now on and makes
// it non-blocking. cfg, if not nil, is for a TLS server (Downstream) or client
// (Upstream). Failures are reported by Closed.
func (l *Loop) Adopt(fd int, d Driver, side Side, cfg *tls.Config) *Conn {
	c := l.newConn(d, side)
	c.flags |= isWritable
	if sa, err := syscall.Getpeername(fd); err == nil {
		if _, ok := sa.(*syscall.SockaddrUnix); ok {
			c.flags |= isUnix
		} else {
			c.remote = addrPortOf(sa)
			setTCP(fd)
		}
	}
	if err := syscall.SetNonblock(fd, true); err != nil {
		c.fd = int32(fd)
		l.closeConn(c, err)
		return c
	}
	l.take(c, fd, cfg)
	return c
}

// take puts a connected socket under the loop's care.
func (l *Loop) take(c *Conn, fd int, cfg *tls.Config) {
	err := ErrStopped
	if c.fd = int32(fd); !l.draining {
		err = l.attach(c, fd)
	}
	if err != nil {
		l.closeConn(c, err)
		return
	}
	if cfg != nil {
		l.startTLS(c, cfg)
	}
}
