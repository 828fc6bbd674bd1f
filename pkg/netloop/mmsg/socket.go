package mmsg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// Socket is a bound socket of datagrams. Go's own poller would be woken by each
// datagram that arrives, also while the one before is being worked on. So this
// socket is not in it: it is in an epoll instance of its own, which tells of one
// datagram when it is asked to and then keeps still (EPOLLONESHOT), and only
// that instance is in the poller.
type Socket struct {
	// read-only after construction
	addr   net.Addr
	file   *os.File // blocking, so that the poller does not get it; it is read with MSG_DONTWAIT
	socket syscall.RawConn
	gate   *os.File // the epoll instance
	waiter syscall.RawConn
	unix   bool
}

// Listen binds a socket of a datagram network (udp or unixgram).
func Listen(ctx context.Context, network, address string) (*Socket, error) {
	c, err := new(net.ListenConfig).ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	s := &Socket{addr: c.LocalAddr(), unix: c.LocalAddr().Network() == "unixgram"}
	s.file, err = duplicate(c)
	err = errors.Join(err, c.Close()) // which takes it out of the poller; the duplicate stays
	if err == nil {
		err = s.guard()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("taking a socket out of the poller: %w", err), s.Close())
	}
	return s, nil
}

// duplicate is the socket with a descriptor of its own.
func duplicate(c net.PacketConn) (*os.File, error) {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var copied uintptr
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		copied, _, errno = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_DUPFD_CLOEXEC, 0)
	})
	switch {
	case err != nil:
		return nil, err
	case errno != 0:
		return nil, os.NewSyscallError("fcntl", errno)
	}
	err = syscall.SetNonblock(int(copied), false)
	return os.NewFile(copied, "datagrams"), err
}

// guard makes the epoll instance.
func (s *Socket) guard() error {
	epfd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	err = syscall.SetNonblock(epfd, true) // what the poller takes
	s.gate = os.NewFile(uintptr(epfd), "epoll")
	if err != nil {
		return err
	}
	if s.socket, err = s.file.SyscallConn(); err != nil {
		return err
	}
	if s.waiter, err = s.gate.SyscallConn(); err != nil {
		return err
	}
	failed := s.socket.Control(func(fd uintptr) { err = s.arm(syscall.EPOLL_CTL_ADD, epfd, fd) })
	return errors.Join(failed, err)
}

// arm asks to be told of one datagram.
func (s *Socket) arm(op, epfd int, fd uintptr) error {
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLERR | syscall.EPOLLONESHOT, Fd: int32(fd)}
	return os.NewSyscallError("epoll_ctl", syscall.EpollCtl(epfd, op, int(fd), &ev))
}

// LocalAddr is where the socket is bound.
func (s *Socket) LocalAddr() net.Addr { return s.addr }

// SetReadBuffer has the kernel keep so many bytes of what has arrived. It may
// keep fewer without an error.
func (s *Socket) SetReadBuffer(bytes int) error {
	var err error
	failed := s.socket.Control(func(fd uintptr) {
		err = os.NewSyscallError("setsockopt", syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes))
	})
	return errors.Join(failed, err)
}

// Drops is [Drops] of the socket; [os.ErrClosed] when it is closed.
func (s *Socket) Drops() (drops uint32, err error) {
	if s.socket.Control(func(fd uintptr) { drops, err = Drops(fd) }) != nil {
		return 0, os.ErrClosed
	}
	return drops, err
}

// SetDeadline ends a Serve that waits.
func (s *Socket) SetDeadline(t time.Time) error { return s.gate.SetDeadline(t) }

// Close closes the socket. Nothing may be reading it.
func (s *Socket) Close() error {
	var errs []error
	for _, f := range []*os.File{s.gate, s.file} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Serve takes datagrams until ctx is done, and the deadline over where it waits.
// At most batch at once are given to deliver: the first n of the reader, with the
// time, which has a reading of the monotonic clock. What has arrived when it is to end
// is given, too: the socket may be closed next. It returns nil when it was ended.
func (s *Socket) Serve(ctx context.Context, batch int, deliver func(r *Reader, n int, now time.Time)) error {
	r, err := NewReader(batch)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // nobody has its datagrams any more
	failed := s.socket.Control(func(fd uintptr) {
		began := time.Now()
		g := gatherer{most: s.pause(fd), pause: shortestPause}
		for ctx.Err() == nil && err == nil {
			n, errno := r.Read(fd)
			switch errno {
			case 0:
				now := time.Now()
				deliver(r, n, now)
				pause, more := g.next(n, batch, int64(now.Sub(began)))
				switch {
				case !more:
					err = s.wait(fd)
				case pause > 0:
					time.Sleep(pause)
				}
			case syscall.EAGAIN:
				err = s.wait(fd)
			case syscall.EINTR, syscall.ECONNREFUSED: // of a datagram that was sent
			default:
				err = os.NewSyscallError("recvmmsg", errno)
			}
		}
		if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			rest(r, fd, batch, deliver)
		}
	})
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return failed
	}
	return errors.Join(failed, err)
}

// rest gives what is there of datagrams, as far as no more come than are taken.
func rest(r *Reader, fd uintptr, batch int, deliver func(r *Reader, n int, now time.Time)) {
	began := time.Now()
	for more := true; more && time.Since(began) < restTime; {
		n, errno := r.Read(fd)
		if more = errno == 0 && n == batch; errno == 0 {
			deliver(r, n, time.Now())
		}
	}
}

// wait returns when there is a datagram, or the deadline is over.
func (s *Socket) wait(fd uintptr) error {
	var err error
	armed := false
	failed := s.waiter.Read(func(epfd uintptr) bool {
		if !armed {
			armed = true
			if err = s.arm(syscall.EPOLL_CTL_MOD, int(epfd), fd); err != nil {
				return true
			}
		}
		var events [1]syscall.EpollEvent
		// Raw, since it returns at once: a call that may last wakes the monitor thread.
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, epfd, uintptr(unsafe.Pointer(&events)), uintptr(len(events)), 0, 0, 0)
		return errno == 0 && n > 0 || errno != 0 && errno != syscall.EINTR
	})
	return errors.Join(failed, err)
}

// pause is for how long datagrams may gather; 0 where there is no room for many.
func (s *Socket) pause(fd uintptr) time.Duration {
	if s.unix { // senders wait when a few are there already
		return 0
	}
	size, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF)
	if err != nil {
		return 0 // not known, so none is safe
	}
	return time.Duration(min(size/roomPerPause, longestPause)) * time.Millisecond
}

// Datagrams that come one after the other cost more to wait for than to read. So
// while they do, and the socket's buffer has room for many more, they are given
// a moment to gather: long enough for it to be worth it, and no longer, since
// whatever else keeps the reader away comes on top. (A nanosleep of the thread
// costs three times as much CPU time: Go's monitor thread watches system calls
// that last.)
const (
	often   = int64(time.Millisecond / 5)
	several = 4
	worth   = 128 // datagrams
	// roomPerPause is how much of a buffer, in bytes as the kernel counts them,
	// allows for a millisecond: some 1,000 datagrams of 1,400 bytes.
	roomPerPause  = 2 << 20
	shortestPause = time.Millisecond
	longestPause  = 5
)

// restTime bounds how long datagrams that keep coming are taken at the end.
const restTime = 100 * time.Millisecond

// gatherer decides when datagrams are given time to gather.
type gatherer struct {
	most  time.Duration // of a pause; 0: there are none
	pause time.Duration // the next one
	since int           // datagrams since the last one
	last  int64         // when datagrams were read
}

// next is how long to pause after n datagrams were read, and whether more are
// to be looked for then, without waiting for one.
func (g *gatherer) next(n, batch int, now int64) (pause time.Duration, more bool) {
	before := g.last
	g.last = now
	g.since += n
	switch {
	case n == batch:
		return 0, true
	case g.most == 0 || n < several && g.since < several && now-before >= often:
		g.since, g.pause = 0, shortestPause
		return 0, false
	case g.since > 2*worth:
		g.pause = max(g.pause/2, shortestPause)
	case g.since < worth:
		g.pause = min(2*g.pause, g.most)
	}
	g.since = 0
	return g.pause, true
}
