package netloop

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestKeepAlive: connections that are accepted, and those that are dialled, have
// the probes that were asked for.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		ask  KeepAlive
		want []int // whether; idle and interval in seconds, probes
	}{
		{"none", KeepAlive{}, []int{0}},
		{"after a while", KeepAlive{Idle: 5 * time.Minute}, []int{1, 300, 100, 3}},
		{"everything said", KeepAlive{Idle: 1500 * time.Millisecond, Interval: time.Millisecond, Probes: 7}, []int{1, 2, 1, 7}},
		{"too much", KeepAlive{Idle: 1000 * time.Hour, Interval: 1000 * time.Hour, Probes: 1 << 20}, []int{1, 32767, 32767, 127}},
	}
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := startGroup(t, GroupOptions{Loops: 1})
			accepted := make(chan []int, 2)
			n := serve(t, g, ListenOptions{KeepAlive: tt.ask}, func(c *Conn) Driver {
				accepted <- probesOf(c.FD())
				return echo()
			})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			var dialled []int
			loop := g.Loops()[0]
			if err := loop.Call(ctx, func() {
				c := loop.Dial("tcp", n.Addr(), DialOptions{KeepAlive: tt.ask}, echo())
				dialled = probesOf(c.FD())
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, dialled); diff != "" {
				t.Errorf("dialled (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.want, <-accepted); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
		})
	}
}

func probesOf(fd int) []int {
	var got []int
	for _, o := range [][2]int{
		{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL},
		{syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT},
	} {
		v, err := syscall.GetsockoptInt(fd, o[0], o[1])
		if err != nil {
			return []int{-1}
		}
		if got = append(got, v); got[0] == 0 {
			break // the rest is the kernel's
		}
	}
	return got
}
