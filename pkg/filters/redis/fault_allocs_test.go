package redis

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// GET and SET must not allocate, whatever they pass through.
func TestNoAllocations(t *testing.T) {
	cl := newCluster("main", servers(t, 2)...)
	f := start(t, defaults(), cl)
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	const rounds, pipeline = 300, 100
	small, large := strings.Repeat("v", 64), strings.Repeat("v", 4096)
	tests := map[string]struct{ first, second, reply string }{
		"GET":        {redistest.Command("GET", k0), redistest.Command("GET", k1), bulk(small)},
		"SET":        {redistest.Command("SET", k0, small), redistest.Command("SET", k1, small), "+OK\r\n"},
		"MGET":       {redistest.Command("MGET", k0, k1), redistest.Command("MGET", k1, k0), "*2\r\n" + bulk(small) + bulk(small)},
		"SET of 4 K": {redistest.Command("SET", k0+"l", large), redistest.Command("SET", k1+"l", large), "+OK\r\n"},
		"GET of 4 K": {redistest.Command("GET", k0+"L"), redistest.Command("GET", k1+"L"), bulk(large)},
	}
	c := f.dial()
	for _, k := range []string{k0, k1} {
		c.Do("SET", k, small)
		c.Do("SET", k+"L", large)
	}
	conn := c.Conn()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	for name, tt := range tests {
		request := []byte(strings.Repeat(tt.first+tt.second, pipeline/2))
		replies := make([]byte, pipeline*len(tt.reply))
		round := func() {
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, replies); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			round()
		}
		if string(replies[:len(tt.reply)]) != tt.reply {
			t.Fatalf("%s: got %.100q", name, replies)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round()
		}
		runtime.ReadMemStats(&after)
		each := float64(after.Mallocs-before.Mallocs) / (rounds * pipeline)
		t.Logf("%s: %.4f allocations a request", name, each)
		if each > 0.1 {
			t.Errorf("%s: %.4f allocations a request", name, each)
		}
	}
}

// Nor does a crowd, whose clients all have replies that wait for an earlier one.
func TestNoAllocationsInACrowd(t *testing.T) {
	const clients, rounds, pipeline = 200, 30, 16
	cl := newCluster("main", servers(t, 2)...)
	f := start(t, defaults(), cl)
	k0, k1 := cl.keyOn(0, 0), cl.keyOn(1, 0)
	request := []byte(strings.Repeat(redistest.Command("GET", k0)+redistest.Command("GET", k1), pipeline/2))
	replies := make([]byte, pipeline*len("$-1\r\n"))
	var crowd []net.Conn
	for range clients {
		crowd = append(crowd, f.dial().Conn())
	}
	round := func() {
		for _, conn := range crowd {
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if _, err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
		}
		for _, conn := range crowd {
			if _, err := io.ReadFull(conn, replies); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 5 {
		round()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / (rounds * clients * pipeline)
	t.Logf("%.4f allocations a request", each)
	if each > 0.03 {
		t.Errorf("%.4f allocations a request", each)
	}
}
