package netloop

import (
	"os"
	"syscall"
	"unsafe"
)

// maxVectors is how many chunks one writev takes.
const maxVectors = 64

// flushAll writes every dirty connection of a side. What becomes dirty
// meanwhile waits for the next call.
func (l *Loop) flushAll(side Side) {
	list := l.dirty[side]
	n := len(list)
	for _, c := range list {
		if c.is(isCorked) && l.hold(c) {
			continue
		}
		c.flags &^= isDirty
		l.flush(c)
	}
	list = l.dirty[side] // flush may have appended
	m := copy(list, list[n:])
	clear(list[m:])
	l.dirty[side] = list[:m]
}

// flush writes what the kernel takes and does what was waiting for that.
func (l *Loop) flush(c *Conn) {
	if c.is(isClosed | isConnecting | isHandshaking) {
		return
	}
	if c.is(isWritable) {
		l.send(c)
	}
	if c.flags&(isHigh|wantFIN|isClosing|isBroken) != 0 {
		l.flushed(c)
	}
}

// flushed looks after the rare states once output has been written.
func (l *Loop) flushed(c *Conn) {
	left := c.Buffered()
	if c.is(isBroken) {
		l.enqueue(c) // reads what the peer said last, then closes
		return
	}
	if left == 0 && c.is(wantFIN) && !c.is(sentFIN) {
		c.flags |= sentFIN
		c.shutdownWrite()
		if c.Buffered() > 0 { // TLS close_notify that the kernel did not take at once
			c.flags &^= sentFIN
			return
		}
	}
	if c.is(sentFIN) && c.is(toldEOF) {
		l.closeConn(c, nil)
		return
	}
	if left == 0 && c.is(isClosing) {
		c.discardInput()
		l.closeConn(c, nil)
		return
	}
	if c.is(isHigh) && left <= l.o.LowWater {
		c.flags &^= isHigh
		if !c.is(isClosing | isClosed) {
			c.driver.Drained(c)
		}
	}
}

// send writes until the output is out or the kernel refuses. It calls no
// driver: it also runs inside driver calls.
func (l *Loop) send(c *Conn) {
	if c.rare != nil && (c.rare.tls != nil || c.rare.pipe != nil) {
		l.sendRare(c)
		return
	}
	l.drain(c, &c.out)
}

// sendRare is send for connections whose output is not written as it is.
func (l *Loop) sendRare(c *Conn) {
	x := c.rare
	if x.pipe != nil {
		x.pipe.accept(l, c)
		return
	}
	for !c.is(isBroken) && c.is(isWritable) {
		if err := x.tls.encrypt(l, &c.out); err != nil {
			l.breakConn(c, err)
			return
		}
		if x.tls.out.n == 0 {
			return
		}
		l.drain(c, &x.tls.out)
	}
}

// drain writes a chain to c's socket.
func (l *Loop) drain(c *Conn, q *Chain) {
	for q.n > 0 {
		want := q.n
		var n int
		var errno syscall.Errno
		if p := q.head; p.next == nil {
			n, errno = send(c.fd, p.buf[p.r:p.w])
		} else {
			want = l.gather(q)
			n, errno = writev(c.fd, l.vectors[:l.nvec])
		}
		l.stats.Writes++
		switch errno {
		case 0:
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			l.blocked(c)
			return
		default:
			l.breakConn(c, os.NewSyscallError("write", errno))
			return
		}
		l.stats.BytesOut += uint64(n)
		c.flags |= hasSent
		q.Skip(l, n)
		if n < want { // the kernel's buffer is full: an edge will follow
			l.blocked(c)
			return
		}
	}
}

// gather fills the loop's vectors from the head of q and returns their bytes.
func (l *Loop) gather(q *Chain) int {
	n, i := 0, 0
	for p := q.head; p != nil && i < maxVectors; p = p.next {
		if p.r == p.w {
			continue
		}
		l.vectors[i].Base = unsafe.SliceData(p.buf[p.r:])
		l.vectors[i].SetLen(p.w - p.r)
		n += p.w - p.r
		i++
	}
	l.nvec = i
	return n
}

// blocked notes that the kernel takes no more for now.
func (l *Loop) blocked(c *Conn) {
	c.flags &^= isWritable
	if c.is(isUnix) && !c.is(wantOut) {
		c.flags |= wantOut
		if err := l.rearm(c); err != nil {
			l.breakConn(c, err)
		}
	}
}

// breakConn notes that writing failed. The peer may have said something before
// it went away (an upstream that refuses us, say): reading goes on until it
// ends, then the connection is closed with err. No driver is called here.
func (l *Loop) breakConn(c *Conn, err error) {
	if c.is(isBroken) {
		return
	}
	c.extra().err = err
	c.flags |= isBroken | isReadable | isHungUp
	c.out.Free(l)
	if t := c.rare.tls; t != nil {
		t.out.Free(l)
	}
	l.enqueue(c)
}
