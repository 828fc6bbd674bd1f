package netloop

import (
	"syscall"
	"unsafe"
)

const (
	// tick is how often, in ns, a loop with traffic looks whether it still has some.
	tick = 10 * 1e6
	// parkAfter is after how many ticks without anything a loop parks: it gives its
	// processor back to the scheduler. That is dear to do for a short while: once
	// all processors of the process are idle, the first one that is not has Go's
	// monitor thread look after it every 20 us, and then ever more rarely, some 70
	// times (measured at a COPY whose server pauses: 16 % of the CPU).
	parkAfter = 5
)

// The tick is a timer's descriptor and no timeout of the wait: a timeout has
// the kernel arm a timer for each wait, and disarm it (measured at one client:
// 3 to 6 % of the CPU). The kernel rearms the descriptor only once it has been
// read, so a parked loop is not woken.

// openTicker makes the descriptor; it ticks from the first [Loop.rewind] on.
func openTicker() (int, error) {
	const monotonic = 1
	fd, _, errno := syscall.RawSyscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return -1, errno
	}
	every := syscall.NsecToTimespec(tick)
	spec := struct{ interval, value syscall.Timespec }{every, every}
	if _, _, errno = syscall.RawSyscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0); errno != 0 {
		syscall.Close(int(fd))
		return -1, errno
	}
	return int(fd), nil
}

// ticked is called when the tick has come.
func (l *Loop) ticked() {
	l.idleTicks++
	if l.stats.Events-l.eventsAtTick > 1 { // more than the tick itself
		l.idleTicks = 0
	}
	if l.idleTicks == parkAfter {
		l.quiet = true
		return
	}
	l.rewind()
}

// unpark is called when a parked loop has got something to do.
func (l *Loop) unpark() {
	l.quiet, l.idleTicks = false, 0
	l.rewind()
}

// rewind has the next tick come.
func (l *Loop) rewind() {
	var expirations [8]byte
	read(int32(l.tickU), expirations[:])
	l.eventsAtTick = l.stats.Events
}
