package netloop

import (
	"cmp"
	"syscall"
	"time"
)

// KeepAlive are TCP probes that find out about a peer that is gone without a
// word, as after a loss of power. The zero value means none.
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

// set sets the options of a socket, or of a listening one for all that it accepts.
func (k KeepAlive) set(fd int) {
	if k.Idle <= 0 {
		return
	}
	options := []struct{ level, option, value int }{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE, keepAliveSeconds(k.Idle)},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL, keepAliveSeconds(cmp.Or(k.Interval, k.Idle/3))},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT, min(cmp.Or(k.Probes, 3), mostProbes)},
	}
	for _, o := range options {
		_ = syscall.SetsockoptInt(fd, o.level, o.option, o.value) // the connection is as good without
	}
}

// keepAliveSeconds rounds up.
func keepAliveSeconds(d time.Duration) int {
	return int((min(max(d, time.Second), mostKeepAlive) + time.Second - 1) / time.Second)
}
