package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// What comes for a client that is being unblocked is not lost: it goes to that client,
// or stays.
func TestUnblockedLosesNothing(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	f := startLoops(t, 2, defaults(), newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	key := f.clusters["main"].keyOn(0, 0)
	for i := range 100 {
		value := fmt.Sprint("v", i)
		a.Send(redistest.Command("BLPOP", key, "0"))
		awaitBlocked(t, nodes[0], "1")
		push, unblock := redistest.Command("RPUSH", key, value), redistest.Command("CLIENT", "UNBLOCK", id)
		if i%2 == 0 {
			b.Send(unblock + push)
		} else {
			b.Send(push + unblock)
		}
		replies, got := b.ReadFrame()+b.ReadFrame(), a.ReadFrame()
		left := b.Do("LPOP", key)
		want, wantGot, wantLeft := ":1\r\n:1\r\n", "*-1\r\n", bulk(value)
		if i%2 == 1 {
			want, wantGot, wantLeft = ":1\r\n:0\r\n", redistest.Command(key, value), "$-1\r\n"
		}
		if replies != want || got != wantGot || left != wantLeft {
			t.Fatalf("round %d: the replies are %q, the blocked client got %q, and %q is left", i, replies, got, left)
		}
	}
	a.Send(redistest.Command("BLPOP", key, "0"))
	awaitBlocked(t, nodes[0], "1")
	check(t, b, "CLIENT UNBLOCK "+id+" ERROR", ":1")
	if got := a.ReadFrame(); got != "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n" {
		t.Errorf("got %q", got)
	}
	if got := nodes[0].Calls("client|id"); got > 2 {
		t.Errorf("the server was asked %d times for the number of a connection", got)
	}
	f.unpinned()
}

// A client that is tracking waits on the connection that it keeps.
func TestUnblockedWhileTracking(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 1)
	f := start(t, defaults(), newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	a.Do("HELLO", "3")
	check(t, a, "CLIENT TRACKING ON", "+OK")
	a.Send(redistest.Command("BLPOP", "q", "0"))
	awaitBlocked(t, nodes[0], "1")
	check(t, b, "CLIENT UNBLOCK "+id, ":1")
	if got := a.ReadFrame(); got != "_\r\n" {
		t.Errorf("got %q", got)
	}
	check(t, a, "PING", "+PONG")
	f.quiet()
}

// A server that does not answer keeps nobody who is to be unblocked.
func TestUnblockedFromAFrozenServer(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 1)
	cfg := defaults()
	cfg.OpTimeout = 500 * time.Millisecond
	f := start(t, cfg, newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	a.Send(redistest.Command("BLPOP", "q", "0"))
	awaitBlocked(t, nodes[0], "1")
	nodes[0].Freeze()
	check(t, b, "CLIENT UNBLOCK "+id+" ERROR", ":1")
	if got := a.ReadFrame(); got != "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n" {
		t.Errorf("got %q", got)
	}
	nodes[0].Thaw()
	awaitBlocked(t, nodes[0], "0")
	f.unpinned()
}
