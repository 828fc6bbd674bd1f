package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Huge values in a transaction stream over its connection.
func TestHugeInTransaction(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, cl)
	key, other := cl.keyOn(0, 0), cl.keyOn(1, 0)
	const size = 100 << 20
	for _, before := range [][]string{{"MULTI"}, {"WATCH " + key, "MULTI"}, {"MULTI", "SET " + key + " x", "GET " + key}, {"WATCH " + key, "STRLEN " + key}} {
		c := f.dial()
		c.Timeout = 30 * time.Second
		heap, chunks := f.during(func() {
			for _, line := range before {
				c.Send(redistest.Command(strings.Split(line, " ")...))
			}
			c.Send(setHeader(key, size))
			if err := newPayload(size).writeTo(c.Conn(), size); err != nil {
				t.Error(err)
			}
			c.Send("\r\n" + redistest.Command("STRLEN", key))
			for range before {
				c.ReadFrame()
			}
			want := []string{"+QUEUED\r\n", "+QUEUED\r\n"}
			if strings.HasPrefix(before[len(before)-1], "STRLEN") {
				want = []string{"+OK\r\n", fmt.Sprintf(":%d\r\n", size)}
			}
			for _, w := range want {
				if got := c.ReadFrame(); got != w {
					t.Errorf("%v: got %q, want %q", before, got, w)
				}
			}
			if want[0] == "+QUEUED\r\n" {
				if got := c.Do("EXEC"); !strings.HasSuffix(got, fmt.Sprintf("+OK\r\n:%d\r\n", size)) && !strings.Contains(got, "x\r\n+OK\r\n") {
					t.Errorf("%v: EXEC: %.200q", before, got)
				}
			}
		})
		if heap > 32<<20 || chunks > 32<<20 {
			t.Errorf("%v: the heap grew by %d MB, the loop's chunks by %d MB", before, heap>>20, chunks>>20)
		}
		wantPrefix(t, "another shard", c.Do("SET", other, "x"), "+OK")
		c.Close()
	}
	f.quiet()

	// The server goes away: EXEC must not succeed. The client goes away: nothing is executed.
	c, gone := f.dial(), f.dial()
	for _, x := range []*redistest.Client{c, gone} {
		x.Send(redistest.Command("MULTI") + redistest.Command("SET", key, "half") + setHeader(key, size))
		if err := newPayload(size).writeTo(x.Conn(), size/2); err != nil {
			t.Fatal(err)
		}
	}
	gone.Close()
	nodes[0].Restart()
	if err := newPayload(size).writeTo(c.Conn(), size-size/2); err != nil {
		t.Fatal(err)
	}
	c.Send("\r\n" + redistest.Command("GET", key) + redistest.Command("EXEC"))
	wantPrefix(t, "MULTI", c.ReadFrame(), "+OK")
	c.ReadFrame()
	wantPrefix(t, "SET", c.ReadFrame(), "-ERR dragoman: shard \"s1\"")
	wantPrefix(t, "GET", c.ReadFrame(), "-ERR dragoman: ")
	wantPrefix(t, "EXEC", c.ReadFrame(), "-EXECABORT")
	wantPrefix(t, "GET", c.Do("GET", key), "$-1")
	f.quiet()
}
