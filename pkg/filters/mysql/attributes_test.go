package mysql

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// ledger is what servers with query attributes have been asked, packet by packet. It says OK to everything.
type ledger struct {
	mu    sync.Mutex
	heard []string
}

func (l *ledger) server(t *testing.T) (addr string) {
	t.Helper()
	return nettest.Serve(t, func(c net.Conn) {
		_, _ = c.Write(hello(t, mysqlproto.QueryAttributes))
		if _, err := readPacket(c); err != nil {
			return
		}
		_, _ = c.Write(okPacket(2, mysqlproto.StatusAutocommit))
		for {
			b, err := readPacket(c)
			if err != nil {
				return
			}
			l.mu.Lock()
			l.heard = append(l.heard, string(b))
			l.mu.Unlock()
			_, _ = c.Write(okPacket(1, mysqlproto.StatusAutocommit))
		}
	})
}

// has reports whether exactly this was heard.
func (l *ledger) has(packet string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.heard, packet)
}

// TestQueryAttributes: what stands before the text of a query since MySQL 8.0.23 hides it neither from the log nor from what the filter answers itself.
func TestQueryAttributes(t *testing.T) {
	t.Parallel()
	attributes := map[string]string{
		"none": "\x00\x01",
		"some": "\x03\x01\x02\x01\xfd\x00\x0btraceparent\x06\x00\x01n\x08\x80\x01i" + "\x0500-01" + "12345678",
		"long": "\x01\x01\x00\x01\xfd\x00\x04note\xfc\xd0\x07" + strings.Repeat("n", 2000),
	}
	for name, before := range attributes {
		for _, piece := range []int{1 << 20, 7} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var l ledger
				cfg := named()
				cfg.SlowQuery = 0 // all of them
				f := start(t, cfg, l.server(t))
				c, victim := f.attributed(), f.attributed() // the second has another number than its server says
				ask := func(text string) {
					t.Helper()
					packet := mysqlproto.AppendPacket(nil, 0, []byte("\x03"+before+text))
					for len(packet) > 0 {
						n := min(piece, len(packet))
						if _, err := c.conn.Write(packet[:n]); err != nil {
							t.Fatal(err)
						}
						packet = packet[n:]
					}
					c.seq = 1
					if b := c.read(); b[0] != 0 {
						t.Fatalf("%s: %q", text, b)
					}
				}
				ask("/* app */ use shop")
				if !l.has("\x02" + dbtest.Database) {
					t.Error("the environment's database is not selected")
				}
				if victim.greeting.ThreadID == 1 {
					t.Fatal("both have the same number")
				}
				ask("kill query 2147483649")
				if !l.has("\x03kill query 1") {
					t.Error("KILL is not brought to the other session's server")
				}
				ask("update t set secret = 42")
				if !l.has("\x03" + before + "update t set secret = 42") {
					t.Error("a query is not passed on as it is")
				}
				eventually(t, "the query to be logged", func() bool { return strings.Contains(f.log.String(), "query=\"update t set secret = ?\"") })
				ask("use " + strings.Repeat("x", 200<<10)) // does not wait to be looked at as a whole
			})
		}
	}
}

// attributed logs in as a client that knows query attributes.
func (f *fixture) attributed() *bare {
	f.tb.Helper()
	c := f.dial()
	c.caps = mysqlproto.QueryAttributes
	c.greet()
	c.respond(nil)
	if b := c.read(); b[0] != 0 {
		f.tb.Fatalf("%q", b)
	}
	return c
}
