package netloop

import (
	"context"
	"testing"
	"time"
)

// TestLooksAreSpread: a turn of the loop looks at a bounded number of connections, and a
// round comes to all of them.
func TestLooksAreSpread(t *testing.T) {
	t.Parallel()
	const clients = 3*sweepTurn + 10
	g := startGroup(t, GroupOptions{Loops: 1})
	loop := g.Loops()[0]
	n := serve(t, g, ListenOptions{KeepAlive: KeepAlive{Idle: time.Hour}}, func(*Conn) Driver { return echo() })
	for range clients {
		roundTrip(t, dial(t, n.Addr()), "x")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	turn := func() (looked, left int) {
		if err := loop.Call(ctx, func() {
			s := &loop.silence
			from, slots := s.at, len(loop.conns)
			loop.sweep()
			if looked = s.at - from; s.at == 0 {
				looked = slots - from
			}
			for _, c := range loop.conns {
				if c != nil && c.is(hasSent) {
					left++
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		return looked, left
	}
	turns := 0
	for seen := 0; seen < clients; turns++ {
		looked, _ := turn()
		if looked > sweepTurn {
			t.Fatalf("a turn looks at %d connections", looked)
		}
		seen += looked
	}
	if turns < 4 {
		t.Errorf("%d turns for %d connections", turns, clients)
	}
	await(t, "all connections to be known as well", func() bool {
		_, left := turn()
		return left == 0
	})
	var every time.Duration
	if err := loop.Call(ctx, func() { every = loop.silence.every }); err != nil || every != mostSweep {
		t.Errorf("a round takes %v, %v", every, err)
	}
}

// TestPauseBetweenLooks: the more connections there are, the shorter it is, so that a
// round takes as long.
func TestPauseBetweenLooks(t *testing.T) {
	t.Parallel()
	s := silence{every: mostSweep}
	for n, want := range map[int]time.Duration{0: mostSweep, 1: mostSweep, sweepTurn: mostSweep, 2 * sweepTurn: mostSweep / 2, 100 * sweepTurn: mostSweep / 100} {
		if got := s.pause(n); got != want {
			t.Errorf("%d connections: %v instead of %v", n, got, want)
		}
	}
}
