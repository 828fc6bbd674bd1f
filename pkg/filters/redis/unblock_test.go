package redis

import (
	"errors"
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
	cfg.OpTimeout = 4 * time.Second
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

// A client in WAIT gets what has been acknowledged until then, as at Redis.
func TestUnblockedFromWait(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	f := startLoops(t, 2, defaults(), newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	for i, x := range []struct{ request, reason, want string }{
		{"WAIT 1 0", "TIMEOUT", ":0\r\n"},
		{"WAIT 1 0", "ERROR", "-" + errUnblocked + "\r\n"},
		{"WAIT 1 0", "TIMEOUT", ":0\r\n"},
	} {
		a.Send(redistest.Command(words(x.request)...))
		for _, n := range nodes {
			awaitBlocked(t, n, "1")
		}
		check(t, b, "CLIENT UNBLOCK "+id+" "+x.reason, ":1")
		if got := a.ReadFrame(); got != x.want {
			t.Errorf("round %d: got %q, want %q", i, got, x.want)
		}
		check(t, b, "CLIENT UNBLOCK "+id, ":0")
		check(t, a, "PING", "+PONG")
	}
	for _, n := range nodes {
		awaitBlocked(t, n, "0")
	}
	f.unpinned()
}

// Nor does a server that does not answer keep a client in WAIT.
func TestUnblockedFromWaitAtAFrozenServer(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cfg := defaults()
	cfg.OpTimeout = 4 * time.Second
	f := start(t, cfg, newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	a.Send(redistest.Command("WAIT", "1", "0"))
	for _, n := range nodes {
		awaitBlocked(t, n, "1")
	}
	nodes[0].Freeze()
	check(t, b, "CLIENT UNBLOCK "+id, ":1")
	if got := a.ReadFrame(); got != ":0\r\n" {
		t.Errorf("got %q", got)
	}
	nodes[0].Thaw()
	for _, n := range nodes {
		awaitBlocked(t, n, "0")
	}
	f.unpinned()
}

// The number of a connection that is still being made is waited for, and no longer
// than the request may take.
func TestUnblockedBeforeTheServerAnswers(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 1)
	cfg := defaults()
	cfg.OpTimeout = 4 * time.Second
	main := newCluster("main", nodes...)
	main.Table().Options.ConnectTimeout = time.Minute // a frozen server is not taken for dead
	f := start(t, cfg, main)
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	nodes[0].Freeze()
	a.Send(redistest.Command("BLPOP", "q", "0"))
	f.awaitClient(t, "the client to be blocked", func(p *client) bool { return p.has(stateBlocked) })
	check(t, b, "CLIENT UNBLOCK "+id, ":1")
	if got := a.ReadFrame(); got != "*-1\r\n" {
		t.Errorf("got %q", got)
	}
	a.Send(redistest.Command("BLPOP", "q", "0"))
	f.awaitClient(t, "the client to be blocked", func(p *client) bool { return p.has(stateBlocked) })
	b.Send(redistest.Command("CLIENT", "UNBLOCK", id, "ERROR"))
	eventually(t, "the unblocking to wait", func() error {
		waiting := false
		f.onLoop(func(w *worker) {
			w.peers("test/redis", func(p *client) { waiting = waiting || p.waitsAt() != nil && len(p.waitsAt().needID) > 0 })
		})
		if !waiting {
			return errors.New("it does not")
		}
		return nil
	})
	nodes[0].Thaw()
	if got := b.ReadFrame() + a.ReadFrame(); got != ":1\r\n-"+errUnblocked+"\r\n" {
		t.Errorf("got %q", got)
	}
	f.unpinned()
}
