// Package mmsg reads datagrams many at a time (recvmmsg), and asks the kernel how
// many it had to drop.
package mmsg

import (
	"fmt"
	"syscall"
	"unsafe"
)

// largest is the size of the largest datagram of UDP, and of one over a unix
// socket that a sender is likely to make.
const largest = 1 << 16

// apart is how far from each other datagrams are in memory: more than a whole
// number of pages, so that their beginnings, which is all that most of them have,
// don't compete for the same few lines of the processor's cache.
const apart = largest + 3*cacheLine

const cacheLine = 64 // bytes

// header is struct mmsghdr.
type header struct {
	msg syscall.Msghdr
	n   uint32
	_   [4]byte
}

// Reader has room for a batch of datagrams. It is for one goroutine.
type Reader struct {
	memory  []byte // mapped: a page that no datagram was ever long enough for takes no memory
	iovecs  []syscall.Iovec
	headers []header
}

// NewReader makes room for n datagrams of up to 64 KiB.
func NewReader(n int) (*Reader, error) {
	memory, err := syscall.Mmap(-1, 0, n*apart, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping memory for %d datagrams: %w", n, err)
	}
	r := &Reader{memory: memory, iovecs: make([]syscall.Iovec, n), headers: make([]header, n)}
	for i := range r.headers {
		r.iovecs[i].Base = &memory[i*apart]
		r.iovecs[i].SetLen(largest)
		r.headers[i].msg.Iov = &r.iovecs[i]
		r.headers[i].msg.Iovlen = 1
	}
	return r, nil
}

// Read takes datagrams off the socket, which must not block, and returns how
// many. The error is EAGAIN when there is none.
func (r *Reader) Read(fd uintptr) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(unsafe.SliceData(r.headers))),
		uintptr(len(r.headers)), syscall.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), 0
}

// Datagram is the i-th of what Read returned, valid until the next Read, and
// whether its end did not fit.
func (r *Reader) Datagram(i int) (b []byte, truncated bool) {
	h := &r.headers[i]
	return r.memory[i*apart:][:min(h.n, largest)], h.msg.Flags&syscall.MSG_TRUNC != 0
}

// Size is for how many datagrams there is room.
func (r *Reader) Size() int { return len(r.headers) }

// Close gives the memory back. What Datagram returned must not be used any more.
func (r *Reader) Close() error {
	err := syscall.Munmap(r.memory)
	r.memory = nil
	return err
}

// Drops is how many datagrams the kernel could not give to the socket, mostly
// since its buffer was full: the counter of SO_RXQ_OVFL, but read when somebody
// asks, so that also what was lost after the last datagram is in it. It wraps
// around. Linux 4.12 or newer knows it.
func Drops(fd uintptr) (uint32, error) {
	const (
		soMemInfo = 55 // SO_MEMINFO
		drops     = 8  // SK_MEMINFO_DROPS
		vars      = 9  // SK_MEMINFO_VARS
	)
	var info [vars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.RawSyscall6(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, soMemInfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("asking for the drops of a socket: %w", errno)
	}
	if size <= drops*4 {
		return 0, fmt.Errorf("asking for the drops of a socket: %w", syscall.ENOTSUP)
	}
	return info[drops], nil
}
