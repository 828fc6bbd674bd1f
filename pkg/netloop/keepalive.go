package netloop

import (
	"cmp"
	"math"
	"syscall"
	"time"
)

// KeepAlive are TCP probes that find out about a peer that is gone without a
// word, as after a loss of power. The zero value means none. The kernel probes
// only where nothing is under way; a peer that does not acknowledge what it was
// sent either is given up after the same time in all (see silence).
type KeepAlive struct {
	Idle     time.Duration // without a byte, until the first probe
	Interval time.Duration // between two probes; 0: a third of Idle
	Probes   int           // without an answer, until the connection counts as broken; 0: 3
}

// What the kernel takes (tcp(7)).
const (
	mostKeepAlive = 32767 * time.Second
	mostProbes    = 127
)

// KernelKeepAlive fills what is left out with Linux' own defaults (tcp(7)), as in Envoy.
func KernelKeepAlive(idle, interval time.Duration, probes uint32) KeepAlive {
	return KeepAlive{
		Idle:     cmp.Or(idle, 2*time.Hour),
		Interval: cmp.Or(interval, 75*time.Second),
		Probes:   int(cmp.Or(probes, 9)),
	}
}

// kernel gives what the kernel is told: idle and interval in seconds, and probes.
func (k KeepAlive) kernel() (idle, interval, probes int) {
	return keepAliveSeconds(k.Idle), keepAliveSeconds(cmp.Or(k.Interval, k.Idle/3)), min(cmp.Or(k.Probes, 3), mostProbes)
}

// set sets the options of a socket, or of a listening one for all that it accepts.
func (k KeepAlive) set(fd int) {
	if k.Idle <= 0 {
		return
	}
	idle, interval, probes := k.kernel()
	options := []struct{ level, option, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, idle},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, interval},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, probes},
	}
	for _, o := range options {
		_ = syscall.SetsockoptInt(fd, o.level, o.option, o.value) // the connection is as good without
	}
}

// patience is how long a peer may say nothing, in s; 0: as long as the kernel waits.
func (k KeepAlive) patience() uint16 {
	if k.Idle <= 0 {
		return 0
	}
	idle, interval, probes := k.kernel()
	return uint16(min(idle+interval*probes, math.MaxUint16))
}

// keepAliveSeconds rounds up.
func keepAliveSeconds(d time.Duration) int {
	return int((min(max(d, time.Second), mostKeepAlive) + time.Second - 1) / time.Second)
}
