package netloop

import (
	"io"
	"syscall"
	"time"
)

// testState makes a loop one without descriptors and with a manual clock.
type testState struct {
	turning bool
}

// pipeState is the far end of a connection without a socket.
type pipeState struct {
	in      []byte // not yet read by the loop
	ended   error  // after in: io.EOF or a failure
	sent    []byte // what the "kernel" took
	stalled bool
}

// NewTestLoop returns a loop for tests: no descriptors, no goroutine, a clock
// that only [Loop.Advance] moves. Connections come from [Loop.Pipe].
func NewTestLoop() *Loop {
	l := newLoop(Options{Name: "test"})
	l.test = new(testState)
	l.wall = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	return l
}

// Pipe returns an established connection without a socket, of a test loop. The
// test is its peer: [Conn.Feed], [Conn.TakeOutput].
func (l *Loop) Pipe(d Driver, side Side) *Conn {
	c := l.newConn(d, side)
	c.flags |= isWritable
	c.extra().pipe = new(pipeState)
	return c
}

// Turn runs one iteration of a test loop, and more as long as something is
// due at once.
func (l *Loop) Turn() {
	for i := 0; i == 0 || i < 1000 && (l.busyNow() || len(l.held) > 0 || l.hasPosted()); i++ {
		if len(l.held) > 0 && !l.busyNow() {
			l.now = max(l.now, l.held[0].until)
		}
		l.test.turning = true
		l.iterate(0)
		l.test.turning = false
	}
}

func (l *Loop) hasPosted() bool {
	l.state.Lock()
	defer l.state.Unlock()
	return len(l.state.posted) > 0
}

// Advance moves a test loop's clock, stopping at every timer on the way.
func (l *Loop) Advance(d time.Duration) {
	end := l.now + int64(d)
	for {
		l.Turn()
		t := l.timers.top()
		if t == nil || t.at > end {
			break
		}
		l.now = max(l.now, t.at)
	}
	l.now = end
	l.Turn()
}

// Feed makes b arrive on a connection of a test loop. What the driver is ready
// for it is shown before Feed returns, unless Feed is called by a driver.
func (c *Conn) Feed(b []byte) {
	c.rare.pipe.in = append(c.rare.pipe.in, b...)
	c.arrived()
}

// FeedEOF makes the peer of a test connection finish sending.
func (c *Conn) FeedEOF() { c.FeedError(io.EOF) }

// FeedError makes a test connection fail after what was fed before.
func (c *Conn) FeedError(err error) {
	p := c.rare.pipe
	p.ended = err
	c.flags |= isHungUp
	if err != io.EOF {
		c.flags |= isReset
	}
	c.arrived()
}

// FailDial makes the dialling of a test connection fail; for [Loop.OnDial].
func (c *Conn) FailDial(err error) { c.loop.closeConn(c, err) }

// StallOutput makes the peer of a test connection stop or resume taking output.
func (c *Conn) StallOutput(on bool) {
	c.rare.pipe.stalled = on
	if !on {
		c.flags |= isWritable
		c.markDirty()
	}
}

// TakeOutput returns what a test connection has sent since the last call.
func (c *Conn) TakeOutput() []byte {
	p := c.rare.pipe
	if !c.is(isClosed | isConnecting) {
		c.loop.send(c)
	}
	b := p.sent
	p.sent = nil
	return b
}

// arrived serves the connection as long as input is left and wanted.
func (c *Conn) arrived() {
	l := c.loop
	c.flags |= isReadable
	if l.test.turning || l.shown != nil {
		l.enqueue(c)
		return
	}
	l.test.turning = true
	for range 1000 {
		l.recycle() // every turn is an iteration
		l.serve(c)
		if !c.is(isQueued) {
			break
		}
		c.flags &^= isQueued
		l.dequeue(c)
	}
	l.test.turning = false
}

// dequeue takes c off the list of the next iteration.
func (l *Loop) dequeue(c *Conn) {
	list := l.next[c.side]
	for i, x := range list {
		if x == c {
			l.next[c.side] = append(list[:i], list[i+1:]...)
			return
		}
	}
}

func (p *pipeState) read(c *Conn, b []byte) (int, result) {
	n := copy(b, p.in)
	p.in = p.in[n:]
	switch {
	case n > 0 && n == len(b):
		return n, readMore
	case n > 0:
		return n, readDry
	case p.ended == io.EOF:
		return 0, readEOF
	case p.ended != nil:
		return 0, c.failRead(p.ended)
	}
	return 0, readDry
}

// accept takes output as the kernel would.
func (p *pipeState) accept(l *Loop, c *Conn) {
	if p.stalled {
		c.flags &^= isWritable
		return
	}
	if c.out.n == 0 {
		return
	}
	for q := c.out.head; q != nil; q = q.next {
		p.sent = append(p.sent, q.buf[q.r:q.w]...)
	}
	c.out.Skip(l, c.out.n)
}

// BreakOutput makes writing to a test connection fail, as when its peer is gone.
func (c *Conn) BreakOutput() { c.loop.breakConn(c, syscall.EPIPE) }
