package netloop

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"sync"
	"testing"
)

// A round trip through a loop allocates nothing.
func TestNoAllocationPerEvent(t *testing.T) {
	g := startGroup(t, GroupOptions{Loops: 1})
	back := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	n := serveTunnel(t, g, ListenOptions{}, "tcp", back.Addr(), DialOptions{}, nil)
	c := dial(t, n.Addr())
	b := make([]byte, 64)
	rounds := func(n int) {
		for range n {
			if _, err := c.Write(b); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, b); err != nil {
				t.Fatal(err)
			}
		}
	}
	rounds(100)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	rounds(5000)
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > 500 { // the runtime's own
		t.Errorf("%d allocations in 5000 round trips", n)
	}
}

func BenchmarkEcho(b *testing.B) {
	g := startGroup(b, GroupOptions{Loops: 1})
	n := serve(b, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	b.Run("1", func(b *testing.B) { roundTrips(b, n.Addr(), 1, 64) })
	b.Run("50", func(b *testing.B) { roundTrips(b, n.Addr(), 50, 64) })
}

func BenchmarkRelay(b *testing.B) {
	g := startGroup(b, GroupOptions{Loops: 1})
	back := serve(b, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	n := serveTunnel(b, g, ListenOptions{}, "tcp", back.Addr(), DialOptions{}, nil)
	b.Run("1", func(b *testing.B) { roundTrips(b, n.Addr(), 1, 64) })
	b.Run("50", func(b *testing.B) { roundTrips(b, n.Addr(), 50, 64) })
	b.Run("1x256K", func(b *testing.B) { roundTrips(b, n.Addr(), 1, 256<<10) })
}

// BenchmarkTwoRelays has a relay behind a relay; with TLS, between the two.
func BenchmarkTwoRelays(b *testing.B) {
	server, client := testTLS(b)
	g := startGroup(b, GroupOptions{Loops: 1})
	back := serve(b, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	for name, o := range map[string]struct{ server, client *tls.Config }{"plain": {}, "TLS": {server, client}} {
		inner := serveTunnel(b, g, ListenOptions{TLS: o.server}, "tcp", back.Addr(), DialOptions{}, nil)
		outer := serveTunnel(b, g, ListenOptions{}, "tcp", inner.Addr(), DialOptions{TLS: o.client}, nil)
		b.Run(name+"/50", func(b *testing.B) { roundTrips(b, outer.Addr(), 50, 64) })
		b.Run(name+"/1x256K", func(b *testing.B) { roundTrips(b, outer.Addr(), 1, 256<<10) })
	}
}

// BenchmarkGoroutines is what the loops are measured against: a goroutine per
// connection that blocks.
func BenchmarkGoroutines(b *testing.B) {
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	go func() {
		for {
			c, err := n.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }()
		}
	}()
	b.Run("1", func(b *testing.B) { roundTrips(b, n.Addr().String(), 1, 64) })
	b.Run("50", func(b *testing.B) { roundTrips(b, n.Addr().String(), 50, 64) })
}

func roundTrips(b *testing.B, addr string, conns, size int) {
	var wg sync.WaitGroup
	b.SetBytes(int64(size))
	for i := range conns {
		c := dial(b, addr)
		rounds := b.N / conns
		if i == 0 {
			rounds += b.N % conns
		}
		wg.Go(func() {
			out, in := make([]byte, size), make([]byte, size)
			for range rounds {
				if _, err := c.Write(out); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(c, in); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}
