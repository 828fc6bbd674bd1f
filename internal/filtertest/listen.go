package filtertest

import (
	"context"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Listen has a filter serve a port of this machine until the test ends. Then it is
// retired, and what its builder still has under way is drained. loops: 0 for the default.
func Listen(tb testing.TB, loops int, f filters.Network, drain func(context.Context) error) (addr string) {
	tb.Helper()
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: loops})
	if err != nil {
		tb.Fatal(err)
	}
	group.Start()
	ln, err := netloop.Listen(group, "tcp", "127.0.0.1:0", netloop.ListenOptions{},
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return f.Accept(c) })
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ln.Close()
		retired := make(chan struct{})
		f.Retire(filters.Retirement{Deadline: 30 * time.Second, Done: func() { close(retired) }})
		<-retired
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := drain(ctx); err != nil {
			tb.Errorf("drain: %v", err)
		}
		if err := group.Stop(ctx); err != nil {
			tb.Errorf("stop: %v", err)
		}
	})
	return ln.Addr()
}
