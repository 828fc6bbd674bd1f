// Package rawio has connections whose reads and writes the scheduler does not
// hear of. Go tells its monitor thread of each system call that may last, and
// wakes the thread for the first one after a rest: a process that has little to
// do, and that often, spends a quarter of its CPU time on it. The sockets of Go
// never block, so the calls never last.
package rawio

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Conn is a connection over a socket. One goroutine may read and one may write at
// the same time.
type Conn struct {
	net.Conn
	raw           syscall.RawConn
	reads, writes transfer
}

// transfer is what one call of Read or Write does, without memory of its own for
// each.
type transfer struct {
	try   func(fd uintptr) bool
	b     []byte
	after []byte // to be written after b
	iov   [2]syscall.Iovec
	n     int
	errno syscall.Errno
}

// Wrap returns a [Conn], or the connection itself where it is no socket.
func Wrap(conn net.Conn) net.Conn {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return conn
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return conn
	}
	c := &Conn{Conn: conn, raw: raw}
	c.reads.try = func(fd uintptr) bool { return c.reads.do(syscall.SYS_READ, fd) }
	c.writes.try = func(fd uintptr) bool {
		t := &c.writes
		return t.both(fd) && (t.errno != 0 || len(t.b) == 0 || t.do(syscall.SYS_WRITE, fd))
	}
	return c
}

// do makes a system call until it is not interrupted any more; false: there is
// nothing to be read, or no room to write.
func (t *transfer) do(call, fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.b))), uintptr(len(t.b)))
		t.errno = errno
		switch errno {
		case 0:
			t.n += int(n)
			t.b = t.b[n:]
			if call == syscall.SYS_WRITE && len(t.b) > 0 {
				continue
			}
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			return true
		}
	}
}

// both writes b, and of what comes after it what the kernel takes along: the rest
// is in b then. False: there is no room.
func (t *transfer) both(fd uintptr) bool {
	t.errno = 0
	for len(t.b) > 0 && len(t.after) > 0 {
		for i, p := range [...][]byte{t.b, t.after} {
			t.iov[i].Base = unsafe.SliceData(p)
			t.iov[i].SetLen(len(p))
		}
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&t.iov)), uintptr(len(t.iov)))
		switch errno {
		case 0:
			t.n += int(n)
			first := min(int(n), len(t.b))
			t.b, t.after = t.b[first:], t.after[int(n)-first:]
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			t.errno = errno
			return true
		}
	}
	if len(t.b) == 0 {
		t.b, t.after = t.after, nil
	}
	return true
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	t := &c.reads
	t.b, t.n = b, 0
	err := c.raw.Read(t.try)
	t.b = nil
	switch {
	case err != nil:
		return t.n, err
	case t.errno != 0:
		return t.n, &net.OpError{Op: "read", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("read", t.errno)}
	case t.n == 0:
		return 0, io.EOF
	}
	return t.n, nil
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) { return c.WriteBoth(b, nil) }

// WriteBoth writes a, and then b: with one system call, if the kernel takes both.
func (c *Conn) WriteBoth(a, b []byte) (int, error) {
	if len(a) == 0 {
		a, b = b, nil
	}
	if len(a) == 0 {
		return 0, nil
	}
	t := &c.writes
	t.b, t.after, t.n, t.errno = a, b, 0, 0
	err := c.raw.Write(t.try)
	t.b, t.after, t.iov = nil, nil, [2]syscall.Iovec{}
	if err == nil && t.errno != 0 {
		err = &net.OpError{Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: os.NewSyscallError("write", t.errno)}
	}
	return t.n, err
}

// CloseWrite says that nothing more is written.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.raw, nil }
