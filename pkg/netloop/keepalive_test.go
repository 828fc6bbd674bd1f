package netloop

import (
	"context"
	"io"
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

// TestKeepAliveChanges: a listener's next connections have other probes; those that are there keep theirs.
func TestKeepAliveChanges(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	accepted := make(chan int, 2)
	n := serve(t, g, ListenOptions{KeepAlive: KeepAlive{Idle: 5 * time.Minute}}, func(c *Conn) Driver {
		accepted <- c.FD()
		return echo()
	})
	dial(t, n.Addr())
	first := <-accepted
	n.SetKeepAlive(KeepAlive{Idle: 20 * time.Second, Interval: 5 * time.Second, Probes: 4})
	dial(t, n.Addr())
	for fd, want := range map[int][]int{first: {1, 300, 100, 3}, <-accepted: {1, 20, 5, 4}} {
		if diff := cmp.Diff(want, probesOf(fd)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
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

// TestSlowPeerIsNotSilent: a peer that takes nothing for much longer than a silent one is waited for is there all the same, as its kernel says.
func TestSlowPeerIsNotSilent(t *testing.T) {
	t.Parallel()
	const most = 64 << 20 // more than any kernel takes for a peer that does not read
	g := startGroup(t, GroupOptions{Loops: 1})
	loop := g.Loops()[0]
	ended := make(chan error, 1)
	n := serve(t, g, ListenOptions{KeepAlive: KeepAlive{Idle: time.Second, Interval: time.Second, Probes: 1}}, func(c *Conn) Driver {
		c.Write(make([]byte, most))
		return &script{closed: func(_ *Conn, err error) { ended <- err }}
	})
	peer := dial(t, n.Addr())
	over := make(chan struct{})
	loop.Post(func() { loop.After(4*2*time.Second, func() { close(over) }) })
	<-over // several times as long
	select {
	case err := <-ended:
		t.Fatalf("the connection has ended: %v", err)
	default:
	}
	if _, err := io.CopyN(io.Discard, peer, most); err != nil {
		t.Errorf("reading at last: %v", err)
	}
}
