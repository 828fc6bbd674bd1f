package netloop

import (
	"crypto/tls"
	"net/netip"
	"time"
)

// lingerTime is how long a connection closed with [Conn.CloseAfterFlush] may
// take to get its output out.
const lingerTime = 5 * time.Second

// state is a set of a connection's flags.
type state uint32

const (
	isReadable    state = 1 << iota // an edge was seen and reading has not yet run dry
	isWritable                      // the kernel has not refused output
	isHungUp                        // peer's FIN, reset or error reported: read until it shows
	isPaused                        // by the driver
	isClosed                        // Closed is due or done
	isClosing                       // CloseAfterFlush: no more reading
	isConnecting                    // connect or handshake under way
	isHandshaking                   // TLS handshake under way
	wantFIN                         // CloseWrite asked for
	sentFIN                         // and done
	sawEOF                          // reading returned 0
	toldEOF                         // and the driver knows
	isQueued                        // in a ready list
	isDirty                         // in a dirty list
	isHigh                          // above the high-water mark; Drained is due below the low one
	wantAgain                       // show the kept input (or none) even if nothing arrives
	wantNotice                      // SetHangupNotice
	isBroken                        // writing failed; reading goes on until it ends
	isUnix                          // a unix socket: EPOLLOUT is asked for only when blocked
	wantOut                         // EPOLLOUT is asked for on a unix socket
	isFull                          // the last bulk read filled its chunk
	isReset                         // EPOLLERR was reported
	isUnshared                      // SetUnshared
	isCoarse                        // the kernel gathers input
	isLingering                     // CloseLingering
	isRemains                       // what is left of one that lingers
	isCorked                        // SetCorked
	isHeld                          // its output waits, corked, see hold
	hasSent                         // something was written since all had been acknowledged
)

// Conn is one connection of a loop. It costs no buffer while it has no unread
// input and no output.
type Conn struct {
	loop     *Loop
	driver   Driver
	in       *Chunk     // input that the driver left
	out      Chain      // output not yet handed to the kernel; plain text if TLS
	rare     *connExtra // what few connections need
	listener *Listener  // that accepted it, if any
	remote   netip.AddrPort
	id       uint64
	bulk     int64 // bytes of an announced payload still to come
	fd       int32
	slot     int32
	gen      int32
	flags    state
	patience uint16 // how long the peer may acknowledge nothing, in s; 0: as long as the kernel waits
	side     Side
}

// connExtra is the state of connections that are being dialled, speak TLS,
// linger, or have no socket.
type connExtra struct {
	err    error // why writing failed
	tls    *tlsState
	dial   *dialState
	linger *Timer
	path   string // peer of a unix socket that we dialled
	pipe   *pipeState
	coarse *coarseState
}

func (c *Conn) extra() *connExtra {
	if c.rare == nil {
		c.rare = new(connExtra)
	}
	return c.rare
}

func (c *Conn) is(f state) bool { return c.flags&f != 0 }

// Loop returns the loop that owns the connection.
func (c *Conn) Loop() *Loop { return c.loop }

// Side returns the pass of an iteration that serves the connection.
func (c *Conn) Side() Side { return c.side }

// Driver returns the driver.
func (c *Conn) Driver() Driver { return c.driver }

// SetDriver replaces the driver. Input that the old one left is shown to the
// new one in the next iteration, or when more arrives.
func (c *Conn) SetDriver(d Driver) {
	c.driver = d
	if c.in != nil {
		c.loop.Again(c)
	}
}

// ID returns a number that no other connection of the process has, provided
// that its loops have different [Options.ID].
func (c *Conn) ID() uint64 { return c.id }

// FD returns the descriptor, for socket options. It is -1 without a socket.
func (c *Conn) FD() int { return int(c.fd) }

// Connected says that the connection is established, TLS included.
func (c *Conn) Connected() bool { return !c.is(isConnecting | isHandshaking | isClosed) }

// Write appends a copy of b to the output. On a closed connection it does nothing.
func (c *Conn) Write(b []byte) {
	if c.is(isClosed | isBroken) {
		return
	}
	c.out.Append(c.loop, b)
	c.wrote()
}

// WriteString is [Conn.Write] for a string.
func (c *Conn) WriteString(s string) { c.Write(stringBytes(s)) }

// WriteChunk appends p to the output without a copy and takes ownership of it.
func (c *Conn) WriteChunk(p *Chunk) {
	if c.is(isClosed | isBroken) {
		c.loop.Free(p)
		return
	}
	c.out.AppendChunk(p)
	c.wrote()
}

// WriteChain moves all of q to the output.
func (c *Conn) WriteChain(q *Chain) {
	if c.is(isClosed | isBroken) {
		q.Free(c.loop)
		return
	}
	q.MoveTo(&c.out)
	c.wrote()
}

// wrote marks the connection dirty, and hands output over early once there is
// enough of it for the system call to be worth it.
func (c *Conn) wrote() {
	if !c.is(isDirty) {
		c.markDirty()
	}
	if c.out.n < c.loop.o.FlushEarly {
		return
	}
	if c.is(isWritable) && !c.is(isConnecting|isHandshaking) {
		c.loop.send(c)
	}
	if c.Buffered() > c.loop.o.HighWater {
		c.flags |= isHigh
	}
}

func (c *Conn) markDirty() {
	c.unhold()
	if c.is(isDirty | isConnecting | isHandshaking | isClosed) {
		return
	}
	c.flags |= isDirty
	c.loop.dirty[c.side] = append(c.loop.dirty[c.side], c)
}

// Buffered returns how many bytes of output the kernel has not yet taken.
func (c *Conn) Buffered() int {
	if c.rare != nil && c.rare.tls != nil {
		return c.out.n + c.rare.tls.out.n
	}
	return c.out.n
}

// Full says that the output is above the high-water mark, so that
// [Driver.Drained] is due once it has fallen. Pause the source then.
func (c *Conn) Full() bool { return c.is(isHigh) }

// Pause stops reading. The kernel's buffer then fills, and the peer has to wait.
func (c *Conn) Pause() {
	c.flags |= isPaused
	c.watchHangup()
}

// watchHangup takes care that a hangup already reported is looked at, now that
// no read will come upon it.
func (c *Conn) watchHangup() {
	if c.is(isHungUp) && c.is(isPaused) {
		c.loop.enqueue(c)
	}
}

// Paused says whether reading is stopped.
func (c *Conn) Paused() bool { return c.is(isPaused) }

// Resume starts reading again. Input that the driver left is shown again in
// the next iteration, even if nothing more has arrived.
func (c *Conn) Resume() {
	if !c.is(isPaused) {
		return
	}
	c.flags &^= isPaused
	if c.in != nil {
		c.flags |= wantAgain
	}
	if c.is(isReadable|wantAgain) || c.is(sawEOF) && !c.is(toldEOF) {
		c.loop.enqueue(c)
	}
}

// SetUnshared says that what comes of this connection's input goes upstream by a
// connection of its own: to wait for other clients' input would save no write.
func (c *Conn) SetUnshared() { c.flags |= isUnshared }

// HungUp says that the peer has closed its side or is gone, as far as the
// kernel has told. Input that precedes it may still be unread.
func (c *Conn) HungUp() bool { return c.is(isHungUp) }

// SetHangupNotice asks for EOF to be called even while the connection is
// paused, if the peer closes and no unread input precedes that.
func (c *Conn) SetHangupNotice(on bool) {
	if !on {
		c.flags &^= wantNotice
		return
	}
	c.flags |= wantNotice
	c.watchHangup()
}

// ReadBulk says that the n bytes after those that the current [Driver.Data]
// call consumes are a payload, to be delivered through [BulkDriver.Bulk] in
// owned chunks of up to 256 KiB, read directly from the socket where possible.
func (c *Conn) ReadBulk(n int64) { c.bulk = max(n, 0) }

// Own returns the bytes of b, a part of what [Driver.Data] is being shown, as
// an owned chunk. From 16 KiB on the loop gives the input buffer away instead
// of copying, once per buffer. b itself stays valid until Data returns.
func (c *Conn) Own(b []byte) *Chunk {
	l := c.loop
	if len(b) >= ownThreshold && l.shown != nil && !l.given {
		if at := l.shown.offset(b); at >= 0 {
			l.given = true
			return l.detach(l.shown, at, at+len(b))
		}
	}
	p := l.NewChunk(len(b))
	p.w = copy(p.buf, b)
	return p
}

// Close closes the connection and discards its output. Closed is called, with
// a nil error, at the end of the iteration; no other call follows.
func (c *Conn) Close() { c.loop.closeConn(c, nil) }

// CloseAfterFlush stops reading, and closes when the output is out or after
// five seconds; in the latter case Closed gets [ErrLinger].
func (c *Conn) CloseAfterFlush() {
	if c.is(isClosed | isClosing) {
		return
	}
	c.flags |= isClosing
	c.markDirty()
	c.extra().linger = c.loop.After(lingerTime, func() { c.loop.closeConn(c, ErrLinger) })
}

// CloseWrite sends FIN (with TLS, close_notify before it) when the output is
// out. Once both directions have ended the connection is closed, with a nil
// error.
func (c *Conn) CloseWrite() {
	c.flags |= wantFIN
	c.markDirty()
}

// TLSState returns the state of the TLS session, nil before the handshake is
// done and on plain connections.
func (c *Conn) TLSState() *tls.ConnectionState {
	if c.rare == nil || c.rare.tls == nil || c.is(isHandshaking) {
		return nil
	}
	s := c.rare.tls.conn.ConnectionState()
	return &s
}
