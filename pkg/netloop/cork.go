package netloop

import (
	"syscall"
	"time"
)

// heldFor is how long, in ns, the output of a corked downstream connection waits. It
// is what a busy server takes for the rest of a pipeline; to one who does not get
// all of it, it is little beside two system calls and a wake-up.
const heldFor = int64(300 * time.Microsecond)

// SetCorked says whether more output is about to follow, so that what is there had
// better leave together with it: fewer system calls, and a peer that is woken less
// often.
//
// Downstream, as when some of a pipeline's answers have come and others are on their
// way from other servers, output waits for at most 0.3 ms. Upstream, as when a server
// has requests to answer before it looks at the next ones, and on kernels that have no
// such short waits, it waits for the next iteration, which then begins at once. Much
// output does not wait.
func (c *Conn) SetCorked(yes bool) {
	if yes {
		c.flags |= isCorked
		return
	}
	c.flags &^= isCorked
	c.unhold()
}

// held is a connection whose output waits. It stays marked as dirty, without being
// on the list of those.
type held struct {
	c     *Conn
	until int64 // by the loop's clock
}

// isUrgent are the states of connections whose output does not wait.
const isUrgent = isHigh | wantFIN | isClosing | isBroken | isClosed

// hold has the output of a corked connection wait, unless it has done so, and
// reports whether it does.
func (l *Loop) hold(c *Conn) bool {
	if c.is(isUrgent|isHeld) || c.out.n == 0 || c.out.n >= l.o.FlushEarly {
		c.flags &^= isHeld
		return false
	}
	c.flags |= isHeld
	until := l.now
	if c.side == Downstream && !l.noShortWaits {
		until += heldFor
	} else {
		l.heldAtOnce++
	}
	l.held = append(l.held, held{c, until})
	return true
}

// unhold has what is held written in this iteration, if it is.
func (c *Conn) unhold() {
	if c.is(isHeld) {
		c.flags &^= isHeld
		c.loop.dirty[c.side] = append(c.loop.dirty[c.side], c)
	}
}

// releaseHeld has written in this iteration what has been held for long enough.
func (l *Loop) releaseHeld() {
	if len(l.held) == 0 {
		return
	}
	l.heldAtOnce = 0
	still := l.held[:0]
	for _, h := range l.held {
		switch {
		case !h.c.is(isHeld):
		case h.until <= l.now || h.c.is(isUrgent):
			l.dirty[h.c.side] = append(l.dirty[h.c.side], h.c)
		default:
			still = append(still, h)
		}
	}
	clear(l.held[len(still):])
	l.held = still
}

// waitHeld waits until the first of what is held has been so for long enough.
func (l *Loop) waitHeld(now int64) (int, syscall.Errno) {
	n, errno := epollWaitNanos(l.epfd, l.events, max(l.held[0].until-now, 0))
	if errno == 0 || errno == syscall.EINTR {
		return n, errno
	}
	l.noShortWaits = true // an old kernel, or one that has been forbidden this call
	return epollWait(l.epfd, l.events, 0, false)
}
