package netloop

import (
	"syscall"
	"time"
)

const (
	// remainsTime is how long is read, and thrown away, what a peer still sends
	// after it was told all, and remainsBytes how much.
	remainsTime  = 5 * time.Second
	remainsBytes = 16 << 20
	// mostRemains bounds how many such peers a loop looks after at once.
	mostRemains = 4096
)

// CloseLingering is [Conn.CloseAfterFlush] for a peer that may be sending, and
// is to read our last words: what reaches a closed socket is answered with a
// reset, after which the peer's next write fails, before it has read anything. So
// FIN goes out behind the output, and what comes is thrown away until the peer
// closes, or for five seconds. To the driver and in all counts the connection is
// closed as soon as its output is out.
//
// Over TCP the last words and the FIN leave together: a client that has read an
// error that ends its session, and looks whether its connection is still good for
// another one, must not find it open.
func (c *Conn) CloseLingering() {
	c.flags |= isLingering
	if c.fd >= 0 && !c.is(isUnix) {
		_ = syscall.SetsockoptInt(int(c.fd), syscall.IPPROTO_TCP, syscall.TCP_CORK, 1) // else they follow each other
	}
	c.CloseAfterFlush()
}

// remains is the driver of what is left of a connection that lingers.
type remains struct{ bytes int }

// leaveRemains goes on with the socket of a connection whose Closed has been
// called, if it is to linger.
func (l *Loop) leaveRemains(c *Conn, err error) bool {
	if !c.is(isLingering) || err != nil || c.is(isBroken|isReset|sawEOF) || c.fd < 0 || c.gen == 0 || l.draining || l.lingering >= mostRemains {
		return false
	}
	if syscall.Shutdown(int(c.fd), syscall.SHUT_WR) != nil {
		return false // the peer is gone
	}
	if c.is(isCoarse) && setReadMark(c.fd, 1) != nil {
		return false
	}
	r := &Conn{loop: l, driver: &remains{}, side: c.side, id: c.id, fd: c.fd, slot: c.slot, gen: c.gen}
	r.flags = isRemains | isReadable | isUnshared | c.flags&(isUnix|isHungUp|wantOut)
	r.extra().linger = l.After(remainsTime, r.Close)
	l.conns[c.slot] = r
	l.lingering++
	c.fd, c.gen = -1, 0
	l.enqueue(r)
	return true
}

// Data implements Driver.
func (r *remains) Data(c *Conn, b []byte) int {
	if r.bytes += len(b); r.bytes > remainsBytes {
		c.Close()
	}
	return len(b)
}

// Drained implements Driver.
func (*remains) Drained(*Conn) {}

// EOF implements Driver.
func (*remains) EOF(c *Conn) { c.Close() }

// Closed implements Driver.
func (*remains) Closed(*Conn, error) {}
