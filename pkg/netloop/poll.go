package netloop

import (
	"fmt"
	"syscall"
)

const (
	epollET = 1 << 31 // syscall.EPOLLET is a negative constant

	hangups    = syscall.EPOLLRDHUP | syscall.EPOLLHUP | syscall.EPOLLERR
	interest   = syscall.EPOLLIN | syscall.EPOLLRDHUP | epollET
	batch      = 256 // events per wait
	extraWaits = 2   // more waits, without blocking, to fill a batch

	wakeSlot  = -1 // the eventfd
	tickSlot  = -2 // the ticker
	firstSlot = -3 // listeners are here and below
)

func (l *Loop) openPoller() error {
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create: %w", err)
	}
	wake, err := eventfd()
	if err != nil {
		syscall.Close(epfd)
		return fmt.Errorf("eventfd: %w", err)
	}
	ticker, err := openTicker()
	if err != nil {
		syscall.Close(epfd)
		syscall.Close(wake)
		return fmt.Errorf("timerfd: %w", err)
	}
	l.epfd, l.wakeU, l.tickU = epfd, wake, ticker
	l.events = make([]syscall.EpollEvent, batch)
	err = l.register(wake, syscall.EPOLLIN|epollET, wakeSlot, 0)
	if err == nil {
		err = l.register(ticker, syscall.EPOLLIN|epollET, tickSlot, 0)
	}
	if err != nil {
		l.closePoller()
	}
	return err
}

func (l *Loop) closePoller() {
	l.state.Lock()
	defer l.state.Unlock()
	if l.epfd >= 0 {
		syscall.Close(l.epfd)
		syscall.Close(l.wakeU)
		syscall.Close(l.tickU)
		l.epfd, l.wakeU, l.tickU = -1, -1, -1
	}
}

func (l *Loop) register(fd int, events uint32, slot, gen int32) error {
	ev := syscall.EpollEvent{Events: events, Fd: slot, Pad: gen}
	if err := syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// attach puts a socket into the loop's table and under epoll's eye.
func (l *Loop) attach(c *Conn, fd int) error {
	slot := int32(len(l.conns))
	if n := len(l.unused); n > 0 {
		slot = l.unused[n-1]
		l.unused = l.unused[:n-1]
	} else {
		l.conns = append(l.conns, nil)
	}
	l.lastGen++
	c.fd, c.slot, c.gen = int32(fd), slot, l.lastGen
	l.conns[slot] = c
	return l.register(fd, c.interest(), slot, c.gen)
}

// interest is what epoll is asked for. A unix socket reports room for output
// whenever the peer reads, blocked or not: so it is asked only when blocked.
func (c *Conn) interest() uint32 {
	if c.is(isUnix) && !c.is(wantOut|isConnecting) {
		return interest
	}
	return interest | syscall.EPOLLOUT
}

// rearm tells epoll of a changed interest.
func (l *Loop) rearm(c *Conn) error {
	ev := syscall.EpollEvent{Events: c.interest(), Fd: c.slot, Pad: c.gen}
	return syscall.EpollCtl(l.epfd, syscall.EPOLL_CTL_MOD, int(c.fd), &ev)
}

// closeSocket gives back the descriptor and the slot.
func (l *Loop) closeSocket(c *Conn, err error) {
	if c.is(isRemains) {
		l.lingering--
	} else {
		l.open[c.side].Add(-1)
	}
	if c.listener != nil {
		c.listener.live.Add(-1)
	}
	if c.fd < 0 || l.leaveRemains(c, err) {
		return
	}
	syscall.Close(int(c.fd))
	c.fd = -1
	if c.gen != 0 {
		l.conns[c.slot] = nil
		l.unused = append(l.unused, c.slot)
	}
}

// wake ends a wait; the caller holds the state's lock.
func (l *Loop) wake() {
	if l.wakeU >= 0 {
		one := [8]byte{1}             // either byte order will do: any non-zero count wakes
		write(int32(l.wakeU), one[:]) // EAGAIN: a wake-up is on its way already
	}
}

// busyNow says that an iteration is due at once.
func (l *Loop) busyNow() bool {
	return len(l.next[0])+len(l.next[1])+len(l.dirty[0])+len(l.dirty[1])+len(l.closing)+l.heldAtOnce > 0
}

// timeout returns how long the next wait may take, in ms; negative: for ever.
func (l *Loop) timeout(now int64) int {
	t := l.timers.top()
	if t == nil {
		return -1
	}
	const ms = 1e6
	return int(min(max((t.at-now+ms-1)/ms, 0), 1<<30))
}

// wait waits for events.
func (l *Loop) wait() (int, error) {
	if l.busyNow() {
		n, errno := epollWait(l.epfd, l.events, 0, false)
		l.now = l.clock()
		l.busy.Add(l.now - l.woke)
		l.woke = l.now
		return l.waited(n, errno)
	}
	before := l.clock()
	l.busy.Add(before - l.woke)
	ms, parked := l.timeout(before), l.quiet
	if !parked && ms > tick/1e6 {
		ms = -1 // the tick comes before
	}
	var n int
	var errno syscall.Errno
	if len(l.held) > 0 {
		n, errno = l.waitHeld(before)
	} else {
		n, errno = epollWait(l.epfd, l.events, ms, parked)
	}
	l.woke = l.clock()
	l.now = l.woke
	l.stats.Waits++
	if parked {
		l.stats.Parks++
		if n > 0 {
			l.unpark()
		}
	}
	return l.waited(n, errno)
}

func (l *Loop) waited(n int, errno syscall.Errno) (int, error) {
	switch errno {
	case 0:
		l.stats.Events += uint64(n)
		return n, nil
	case syscall.EINTR: // a preemption signal, perhaps
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_wait: %w", errno)
}

// gatherMore serves what arrives while downstream connections are being
// served, so that upstreams get it in one write. served is how many of them share upstreams.
func (l *Loop) gatherMore(served int) {
	for range extraWaits {
		if served == 0 || l.open[Downstream].Load() <= 1 {
			return
		}
		n, errno := epollWait(l.epfd, l.events, 0, false)
		if errno != 0 || n == 0 {
			return
		}
		l.stats.Events += uint64(n)
		l.collect(n)
		served = l.serveAll(Downstream)
	}
}

// collect turns the first n events into flags and ready lists.
func (l *Loop) collect(n int) {
	for i := range l.events[:n] {
		ev := &l.events[i]
		if ev.Fd < 0 {
			l.special(ev.Fd)
			continue
		}
		c := l.conns[ev.Fd]
		if c == nil || c.gen != ev.Pad { // of a connection that is gone
			continue
		}
		l.notice(c, ev.Events)
	}
}

// notice takes up one event.
func (l *Loop) notice(c *Conn, events uint32) {
	if events&(syscall.EPOLLIN|hangups) != 0 {
		c.flags |= isReadable
		if events&hangups != 0 {
			c.flags |= isHungUp
			if events&syscall.EPOLLERR != 0 {
				c.flags |= isReset
			}
		}
		if !c.is(isQueued|isPaused|isClosed) || c.is(isHungUp) && !c.is(isQueued|isClosed) {
			c.flags |= isQueued
			l.ready[c.side] = append(l.ready[c.side], c)
		}
	}
	if events&syscall.EPOLLOUT == 0 || c.is(isWritable) {
		return
	}
	c.flags |= isWritable
	switch {
	case c.is(isConnecting | isHandshaking):
		l.enqueue(c)
	case c.Buffered() > 0:
		c.markDirty()
	}
	if c.is(wantOut) {
		c.flags &^= wantOut
		if err := l.rearm(c); err != nil {
			l.breakConn(c, err)
		}
	}
}

// special takes up an event of the eventfd or of a listener.
func (l *Loop) special(slot int32) {
	switch slot {
	case wakeSlot:
		l.posted = true
		return
	case tickSlot:
		l.ticked()
		return
	}
	if n := l.accepts[firstSlot-slot]; n != nil {
		n.acceptSome()
	}
}

// woken says whether something was posted, once.
func (l *Loop) woken() bool {
	was := l.posted
	l.posted = false
	return was || l.test != nil
}
