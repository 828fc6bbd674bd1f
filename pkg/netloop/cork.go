package netloop

import (
	"syscall"
	"unsafe"
)

// holdFor is how long, in ns, corked output waits for more at most, if nothing
// else happens meanwhile: long enough for a server nearby that is answering
// already, and little beside a network's round trip.
const holdFor = 30e3

// SetCorked says whether more output is about to follow, as when some of a
// pipeline's answers have come and others are on their way from other servers.
// Output of a corked connection is written one iteration later, together with
// what has come by then: fewer system calls, and a peer that is woken less
// often (measured with pipelines of 16 over four shards: a quarter less CPU).
// It never waits longer than for that, and not at all once there is much of it.
func (c *Conn) SetCorked(yes bool) {
	if yes {
		c.flags |= isCorked
	} else {
		c.flags &^= isCorked
	}
}

// hold reports whether the output of a corked connection waits for the next
// iteration. It stays marked as dirty.
func (l *Loop) hold(c *Conn) bool {
	const urgent = isHeld | isHigh | wantFIN | isClosing | isBroken | isClosed
	if c.flags&urgent != 0 || c.out.n == 0 || c.out.n >= l.o.FlushEarly {
		c.flags &^= isHeld
		return false
	}
	c.flags |= isHeld
	l.held = append(l.held, c)
	return true
}

// releaseHeld has what was held in the iteration before written in this one.
func (l *Loop) releaseHeld() {
	if len(l.held) == 0 {
		return
	}
	l.dirty[Downstream] = append(l.dirty[Downstream], l.held...)
	clear(l.held)
	l.held = l.held[:0]
}

// waitHeld waits for events while output is held.
func (l *Loop) waitHeld() (int, syscall.Errno) {
	if holdFor == 0 || l.noWait2 {
		return epollWait(l.epfd, l.events, 0, false)
	}
	n, errno := epollWait2(l.epfd, l.events, syscall.Timespec{Nsec: holdFor})
	if errno == syscall.ENOSYS || errno == syscall.EPERM { // before Linux 5.11; or a sandbox does not know it
		l.noWait2 = true
		return epollWait(l.epfd, l.events, 0, false)
	}
	return n, errno
}

// epollWait2 is epoll_wait with a timeout finer than a millisecond.
func epollWait2(epfd int, events []syscall.EpollEvent, timeout syscall.Timespec) (int, syscall.Errno) {
	const epollPwait2 = 441 // on all architectures
	n, _, errno := syscall.RawSyscall6(epollPwait2, uintptr(epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))),
		uintptr(len(events)), uintptr(unsafe.Pointer(&timeout)), 0, 0)
	return int(n), errno
}
