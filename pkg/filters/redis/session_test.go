package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestTracking(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 1)
	f := start(t, defaults(), newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	a.Do("HELLO", "3")
	check(t, a, "CLIENT TRACKING ON", "+OK", "GET k", "_", "SET other 1", "+OK")
	invalidated := func(keys ...string) {
		t.Helper()
		if got, want := a.ReadFrame(), ">2\r\n$10\r\ninvalidate\r\n"+redistest.Command(keys...); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(t, b, "SET k 1", "+OK")
	invalidated("k")
	// Everything still works, and on that one connection.
	check(t, a, "MGET k other", "*2 $1 1 $1 1", "MULTI", "+OK", "GET k", "+QUEUED", "EXEC", "*1 $1 1",
		"WATCH k", "+OK", "MULTI", "+OK", "GET k", "+QUEUED", "EXEC", "*1 $1 1",
		"BLPOP nope 0.02", "_", "SELECT 2", "+OK", "GET k", "_", "SELECT 99", "-ERR DB index is out of range",
		"CLIENT GETREDIR", ":0", "SUBSCRIBE ch", ">3 $9 subscribe $2 ch :1", "CLIENT GETNAME", "_")
	if got := a.Do("CLIENT", "TRACKINGINFO"); !strings.Contains(got, "$2\r\non\r\n") {
		t.Errorf("TRACKINGINFO: %q", got)
	}
	check(t, b, "SELECT 2", "+OK", "SET k 2", "+OK", "PUBLISH ch x", ":1")
	got := heard(a, 2)
	if want := ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"; got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
	a.Send(redistest.Command("BLPOP", "q", "5"))
	check(t, b, "RPUSH q x", ":1")
	if got, want := a.ReadFrame(), redistest.Command("q", "x"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	check(t, a, "WAIT 0 10", ":0", "CLIENT CACHING YES", "-ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.")
	// invalidations come between the pieces of nothing
	big := strings.Repeat("x", 1<<20)
	b.Do("SET", "big", big)
	a.Do("SELECT", "2")
	a.Send(redistest.Command("GET", "k") + redistest.Command("GET", "big") + redistest.Command("GET", "big"))
	a.ReadFrame()
	b.Do("SET", "k", "3")
	rest := heard(a, 3)
	if len(rest[1]) < len(big) || rest[2] != ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n" {
		t.Errorf("got %.60q", rest)
	}
	a.Do("HELLO", "2")
	check(t, a, "UNSUBSCRIBE", "*3 $11 unsubscribe $2 ch :0", "HGETALL nope", "*0", "RESET", "+RESET", "GET k", "$1 1")
	f.unpinned()
	check(t, b, "CLIENT TRACKING ON REDIRECT 1", "-ERR The client ID you want redirect to does not exist")
	// the server's end is the session's
	b.Do("HELLO", "3")
	b.Do("CLIENT", "TRACKING", "ON", "BCAST")
	nodes[0].Restart()
	if got, err := b.TryReadFrame(); err == nil {
		t.Errorf("got %q, want the end", got)
	}
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 1)
	f := start(t, defaults(), newCluster("main", nodes...))
	a, b := f.dial(), f.dial()
	check(t, b, "PING", "+PONG", "GET k", "$-1") // so that the shared connection is there
	check(t, a, "MONITOR", "+OK")
	value := strings.Repeat("v", 100<<10)
	for i := range 5 {
		b.Do("SET", fmt.Sprintf("k%d", i), value)
		if got := a.ReadFrame(); !strings.HasSuffix(got, fmt.Sprintf("\"SET\" \"k%d\" \"%s\"\r\n", i, value)) {
			t.Fatalf("got %.100q", got)
		}
		check(t, a, "PING", "+PONG", "GET k", "-ERR Replica can't interact with the keyspace")
	}
	check(t, a, "RESET", "+RESET", "GET k", "$-1")
	f.unpinned()
	check(t, a, "MONITOR", "+OK")
	a.Send("QUIT\r\n")
	if got := a.ReadFrame(); got != "+OK\r\n" {
		t.Errorf("QUIT: %q", got)
	}
	f.unpinned()
}

func TestReplicationThroughTheProxy(t *testing.T) {
	t.Parallel()
	primary := redistest.Server(t)
	f := start(t, defaults(), newCluster("main", primary))
	primary.Do("SET", "k", "v")
	replica := redistest.Server(t)
	port := f.addr[strings.LastIndexByte(f.addr, ':')+1:]
	if got := replica.Do("REPLICAOF", "127.0.0.1", port); got != "+OK\r\n" {
		t.Fatalf("REPLICAOF: %q", got)
	}
	redistest.Eventually(t, 20*time.Second, "the replica to follow", func() error {
		if got := replica.Do("GET", "k"); got != "$1\r\nv\r\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	primary.Do("SET", "k", "later")
	redistest.Eventually(t, 20*time.Second, "a later write", func() error {
		if got := replica.Do("GET", "k"); got != "$5\r\nlater\r\n" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
}

func TestPipeIsForUnrestrictedUsers(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.Users = []resource.User{{Name: "default", Deny: []string{"flushall"}}}
	f := start(t, cfg, newCluster("main", servers(t, 1)...))
	c := f.dial()
	check(t, c,
		"FLUSHALL", "-NOPERM this user has no permissions to run the 'flushall' command",
		"SYNC", "-NOPERM this user has no permissions to run the 'sync' command",
		"SCRIPT DEBUG YES", "-NOPERM this user has no permissions to run the 'script|debug' command",
		"MONITOR", "+OK", "FLUSHALL", "-NOPERM this user has no permissions to run the 'flushall' command", "RESET", "+RESET",
		"CLIENT TRACKING ON", "+OK", "FLUSHALL", "-NOPERM this user has no permissions to run the 'flushall' command", "GET k", "$-1",
	)
}
