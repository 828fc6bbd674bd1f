package netloop

import (
	"syscall"
	"time"
)

const (
	// streamFrom is how long a stream has to be, in bytes, for the wait at its end
	// not to be felt.
	streamFrom = 4 << 20
	// coarseRead is the input that the kernel gathers: a little less than one read
	// takes, so that the read is a short one and needs no other behind it.
	coarseRead = 48 << 10
	// coarsePeriod is how long it waits for so much.
	coarsePeriod = time.Millisecond
)

// Stream counts the bytes of something that one connection gets as a whole: an
// answer, an upload. The input of long ones is gathered by the kernel, so that
// the loop is woken once for many packets: a server that writes 8 KiB at a time
// would otherwise cost a wake-up, a read and a write for each. The end of a long
// stream may be seen a millisecond or two late. The zero value is ready.
type Stream struct{ n int }

// Saw is told that n more bytes of the stream have come on c.
func (t *Stream) Saw(c *Conn, n int) {
	if t.n += n; t.n >= streamFrom {
		t.n -= streamFrom / 4 // should it thin out meanwhile, so much makes it coarse again
		c.coarsen()
	}
}

// Ended says that what comes next is another stream.
func (t *Stream) Ended() { t.n = 0 }

// coarseState is that of a connection whose input is gathered.
type coarseState struct {
	timer *Timer
	got   uint64 // bytes that came in this period
}

// coarsen has the kernel gather input, until less of it comes in a period than
// is waited for. Sockets that know no low-water mark stay as they are.
func (c *Conn) coarsen() {
	if c.fd < 0 || c.is(isUnix|isClosed|isCoarse) || setReadMark(c.fd, coarseRead) != nil {
		return
	}
	c.flags |= isCoarse
	x := c.extra()
	if x.coarse == nil {
		x.coarse = &coarseState{timer: c.loop.After(coarsePeriod, c.lookCoarse)}
	}
	x.coarse.got = coarseRead // of the period before
	x.coarse.timer.Reset(coarsePeriod)
}

// lookCoarse is the end of a period: what there is is read, whether it is enough
// or not.
func (c *Conn) lookCoarse() {
	x := c.rare.coarse
	if x.got < coarseRead {
		c.flags &^= isCoarse
		_ = setReadMark(c.fd, 1) // went well for another value
	} else {
		x.got = 0
		x.timer.Reset(coarsePeriod)
	}
	c.flags |= isReadable
	if !c.is(isPaused) {
		c.loop.enqueue(c)
	}
}

// setReadMark says from how many bytes on a TCP socket counts as readable.
func setReadMark(fd int32, n int) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVLOWAT, n)
}
