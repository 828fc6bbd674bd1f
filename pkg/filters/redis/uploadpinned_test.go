package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// A large request over a client's own connection may end while its server takes
// nothing more: what the client sends behind it is read as soon as it does.
func TestUploadEndsAtAFullServer(t *testing.T) {
	t.Parallel()
	table := newCommandTable()
	for first, answer := range map[string]string{"WATCH a1": "+OK", "MULTI": "+QUEUED"} {
		t.Run(first, func(t *testing.T) {
			t.Parallel()
			s := newStage(table, "shards: 2")
			s.build(t)
			s.loop.Advance(time.Second)
			conn := s.loop.Pipe(nil, netloop.Downstream)
			conn.SetDriver(s.filter.Accept(conn))
			s.conns["c"] = conn
			conn.Feed(wire(first))
			conn.Feed(wire("STRLEN a1")) // so that there is a connection
			s.loop.Turn()
			server := s.conns["s1"]
			server.Feed(wire("+PONG +OK"))
			server.Feed(wire(answer))
			s.listen("s1")
			server.StallOutput(true)

			const size = 1 << 20 // what is above the high-water mark is the end of it
			conn.Feed([]byte(fmt.Sprintf("*3\r\n$3\r\nSET\r\n$2\r\na1\r\n$%d\r\n%s\r\n", size, strings.Repeat("x", size))))
			conn.Feed(wire("GET a1"))
			s.loop.Turn()
			if !server.Full() {
				t.Fatal("the server's connection is not full")
			}
			server.StallOutput(false)
			server.Feed(wire(answer))
			s.loop.Turn()
			if got := s.listen("s1"); !strings.HasSuffix(got, string(wire("GET a1"))) {
				t.Errorf("the server has got %d bytes that end with %q", len(got), got[max(0, len(got)-40):])
			}
		})
	}
}

// A transaction whose first request is refused stays where it is while a large one behind that
// is being passed on: half of it is at that server.
func TestRefusedBeforeALargeRequest(t *testing.T) {
	t.Parallel()
	table := newCommandTable()
	for refusal, answer := range map[string]string{
		"-MOVED 8145 127.0.0.1:7003":       "-" + errOnTheMove,
		"-CLUSTERDOWN The cluster is down": "-CLUSTERDOWN The cluster is down",
	} {
		s := newStage(table, "shards: 2\nslots: yes")
		s.build(t)
		s.loop.Advance(time.Second)
		const half = 1 << 20
		s.play(t, "c > MULTI", "c > SET a1 x", "c < +OK",
			fmt.Sprintf(`c > "*3\r\n$3\r\nSET\r\n$2\r\na1\r\n$%d\r\n"`, 2*half), fmt.Sprintf(`c > "%s"`, strings.Repeat("x", half)))
		s.listen("s1")
		s.heard["s1"] = ""
		s.play(t, "s1 > +PONG +OK", fmt.Sprintf("s1 > %q", refusal+"\r\n"), fmt.Sprintf("c < %q", answer+"\r\n"),
			fmt.Sprintf(`c > "%s\r\n"`, strings.Repeat("x", half)), "c > EXEC")
		if got := s.listen("s1"); !strings.HasSuffix(got, string(wire("EXEC"))) {
			t.Errorf("%s: the server has got %d bytes more", refusal, len(got))
		}
		s.play(t, fmt.Sprintf("s1 > %q", refusal+"\r\n"+refusal+"\r\n"), fmt.Sprintf("c < %q", answer+"\r\n"+answer+"\r\n"))
		if err := s.filter.b.worker(s.loop).check(); err != nil {
			t.Error(err)
		}
	}
}

// A large request of a transaction that has followed its slot is gathered, and counted once.
func TestLargeRequestOfARelocatedTransaction(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	main := f.clusters["main"]
	stale := *main.Table()
	stale.Slots = new([redisproto.Slots]int32) // all at the first
	main.table.Store(&stale)
	key := f.keyIn(2, "k")
	c, d := f.dial(), f.dial()
	check(t, c, "MULTI", "+OK", "GET "+key, "+QUEUED")
	c.Send(redistest.Command("SET", key, strings.Repeat("x", 3<<20)))
	if got := c.ReadFrame(); got != "+QUEUED\r\n" {
		t.Fatal(got)
	}
	if got := d.Do("CLIENT", "LIST"); !strings.Contains(got, " multi=2 ") {
		t.Errorf("CLIENT LIST: %q", got)
	}
	check(t, c, "EXEC", "*2 $-1 +OK", "STRLEN "+key, fmt.Sprintf(":%d", 3<<20))
	f.quit(t, c, d)
}
