package netloop

import (
	"strings"
	"testing"
)

func TestCorkedOutput(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		first, second func(c *Conn) // what the driver does in two iterations
		want          [2]string     // what the peer has got after each
	}{
		"goes with what follows": {
			func(c *Conn) { c.WriteString("a"); c.SetCorked(true) },
			func(c *Conn) { c.WriteString("b"); c.SetCorked(false) },
			[2]string{"", "ab"},
		},
		"is not kept any longer": {
			func(c *Conn) { c.WriteString("a"); c.SetCorked(true) },
			func(*Conn) {},
			[2]string{"", "a"},
		},
		"goes with what follows though more is to come": {
			func(c *Conn) { c.WriteString("a"); c.SetCorked(true) },
			func(c *Conn) { c.WriteString("b") },
			[2]string{"", "ab"},
		},
		"goes at once when the cork is out": {
			func(c *Conn) { c.SetCorked(true); c.WriteString("a"); c.SetCorked(false) },
			func(*Conn) {},
			[2]string{"a", "a"},
		},
		"goes at once before the end": {
			func(c *Conn) { c.SetCorked(true); c.WriteString("a"); c.CloseAfterFlush() },
			func(*Conn) {},
			[2]string{"a", "a"},
		},
		"goes at once before a FIN": {
			func(c *Conn) { c.SetCorked(true); c.WriteString("a"); c.CloseWrite() },
			func(*Conn) {},
			[2]string{"a", "a"},
		},
		"goes at once if it is much": {
			func(c *Conn) { c.SetCorked(true); c.WriteString(strings.Repeat("a", 32<<10)) },
			func(*Conn) {},
			[2]string{strings.Repeat("a", 32<<10), strings.Repeat("a", 32<<10)},
		},
		"of a closed connection is dropped": {
			func(c *Conn) { c.SetCorked(true); c.WriteString("a") },
			func(c *Conn) { c.Close() },
			[2]string{"", ""},
		},
	}
	for name, tt := range tests {
		for on, side := range map[string]Side{"downstream": Downstream, "upstream": Upstream} {
			t.Run(name+"/"+on, func(t *testing.T) {
				t.Parallel()
				l := NewTestLoop()
				c := l.Pipe(echo(), side)
				for i, step := range []func(*Conn){tt.first, tt.second} {
					l.now += int64(i) * heldFor
					step(c)
					l.iterate(0)
					if got := string(c.rare.pipe.sent); got != tt.want[i] {
						t.Errorf("after iteration %d: sent %.20q, want %.20q", i+1, got, tt.want[i])
					}
				}
				c.Close()
				l.Turn()
				if s := l.Stats(); s.HeldBytes != 0 || len(l.held) != 0 {
					t.Errorf("holds %d bytes, %d connections", s.HeldBytes, len(l.held))
				}
			})
		}
	}
}

// On a loop where nothing else happens corked output is sent as well.
func TestCorkedOutputOnAQuietLoop(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(c *Conn) Driver { c.SetCorked(true); return echo() })
	c := dial(t, n.Addr())
	for range 100 {
		roundTrip(t, c, "x")
	}
}

// What is corked waits for its rest: upstream for one iteration, downstream for a
// while.
func TestCorkedOutputWaits(t *testing.T) {
	t.Parallel()
	const much, little = heldFor * 2 / 3, heldFor / 3
	const oldKernel = Side(2) // of a downstream connection, without short waits
	for name, tt := range map[string]struct {
		side  Side
		took  []int64       // ns after the one before that an iteration begins
		touch func(c *Conn) // in the last iteration
		want  string
	}{
		"upstream waits for one":          {Upstream, []int64{0}, nil, "a"},
		"so it is on an old kernel":       {oldKernel, []int64{0}, nil, "a"},
		"downstream waits":                {Downstream, []int64{little, little}, nil, ""},
		"downstream does not wait long":   {Downstream, []int64{much, much}, nil, "a"},
		"goes when the rest has come":     {Downstream, []int64{little}, func(c *Conn) { c.WriteString("b"); c.SetCorked(false) }, "ab"},
		"waits for more than the next":    {Downstream, []int64{little}, func(c *Conn) { c.WriteString("b") }, ""},
		"goes when it has become much":    {Downstream, []int64{little}, func(c *Conn) { c.Write(make([]byte, 32<<10)) }, "a" + string(make([]byte, 32<<10))},
		"goes when the connection ends":   {Downstream, []int64{little}, (*Conn).CloseAfterFlush, "a"},
		"is dropped when it has been cut": {Downstream, []int64{little}, (*Conn).Close, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := NewTestLoop()
			if tt.side == oldKernel {
				l.noShortWaits, tt.side = true, Downstream
			}
			c := l.Pipe(echo(), tt.side)
			c.SetCorked(true)
			c.WriteString("a")
			l.flushAll(tt.side)
			for i, d := range tt.took {
				l.now += d
				l.releaseHeld()
				if i == len(tt.took)-1 && tt.touch != nil {
					tt.touch(c)
				}
				l.flushAll(tt.side)
			}
			if got := string(c.rare.pipe.sent); got != tt.want {
				t.Errorf("sent %.20q, want %.20q", got, tt.want)
			}
			l.Turn()
			if len(l.held) != 0 || len(l.dirty[tt.side]) != 0 {
				t.Errorf("%d connections are held, %d dirty", len(l.held), len(l.dirty[tt.side]))
			}
		})
	}
}
