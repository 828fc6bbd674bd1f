package netloop

import (
	"syscall"
	"unsafe"
)

// tick is how often a loop with traffic looks whether it still has some. A
// loop without any parks: it gives its processor back to the scheduler, which
// costs a few microseconds more to leave.
const tick = 5 * 1e6 // ns

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

// ticked notes that the tick has come: quiet says that nothing else has since
// the last one.
func (l *Loop) ticked() {
	if l.stats.Events-l.eventsAtTick <= 1 { // the tick itself
		l.quiet = true
		return
	}
	l.rewind()
}

// rewind has the next tick come.
func (l *Loop) rewind() {
	var expirations [8]byte
	_, _ = read(int32(l.tickU), expirations[:])
	l.eventsAtTick = l.stats.Events
}
