package redis

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestClientList(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	a, b, sub := f.dial(), f.dial(), f.dial()
	check(t, a, "CLIENT SETNAME a", "+OK", "CLIENT SETINFO LIB-NAME lib", "+OK", "CLIENT SETINFO LIB-VER 1.2", "+OK", "CLIENT SETINFO FOO x", "-ERR Unrecognized option 'FOO'")
	check(t, sub, "SUBSCRIBE x y", "*3 $9 subscribe $1 x :1")
	sub.ReadFrame()
	check(t, b, "SELECT 3", "+OK", "MULTI", "+OK", "PING", "+QUEUED")
	list := a.Do("CLIENT", "LIST")
	for _, want := range []string{" name=a ", " lib-name=lib lib-ver=1.2\n", " flags=P db=0 sub=2 psub=0 ", " flags=x db=3 sub=0 psub=0 ssub=0 multi=1 "} {
		if !strings.Contains(list, want) {
			t.Errorf("%q is not in %q", want, list)
		}
	}
	if got := a.Do("CLIENT", "LIST", "TYPE", "pubsub"); strings.Count(got, "id=") != 1 || !strings.Contains(got, "sub=2") {
		t.Errorf("CLIENT LIST TYPE pubsub: %q", got)
	}
	check(t, b, "DISCARD", "+OK")
	id := bulkInt(b, "CLIENT", "ID")
	check(t, a, "CLIENT KILL ID "+id, ":1", "CLIENT KILL ID "+id, ":0", "CLIENT KILL TYPE pubsub", ":1", "CLIENT KILL TYPE normal SKIPME yes", ":0")
	wantEnd(t, b)
	wantEnd(t, sub)
	check(t, a, "CLIENT KILL TYPE normal SKIPME no", ":1")
	wantEnd(t, a)
}

func bulkInt(c *redistest.Client, args ...string) string {
	return strings.Trim(c.Do(args...), ":\r\n")
}

func TestClientsOfAllLoops(t *testing.T) {
	t.Parallel()
	f := startLoops(t, 3, defaults(), newCluster("main", servers(t, 2)...))
	var clients []*redistest.Client
	ids := map[string]*redistest.Client{}
	for range 12 {
		c := f.dial()
		clients = append(clients, c)
		ids[bulkInt(c, "CLIENT", "ID")] = c
	}
	a := clients[0]
	if got := strings.Count(a.Do("CLIENT", "LIST"), "id="); got != 12 || len(ids) != 12 {
		t.Errorf("%d clients with %d numbers", got, len(ids))
	}
	for id, c := range ids {
		if c == a {
			continue
		}
		c.Send(redistest.Command("BLPOP", "q", "0"))
		redistest.Eventually(t, 5*time.Second, "the client to be blocked", func() error {
			if got := a.Do("CLIENT", "UNBLOCK", id); got != ":1\r\n" {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
		if got := c.ReadFrame(); got != "*-1\r\n" {
			t.Errorf("got %q", got)
		}
		a.Send(redistest.Command("CLIENT", "KILL", "ID", id) + redistest.Command("PING"))
		if got := a.ReadFrame() + a.ReadFrame(); got != ":1\r\n+PONG\r\n" {
			t.Errorf("got %q", got)
		}
		wantEnd(t, c)
	}
	check(t, a, "CLIENT KILL TYPE normal", ":0", "CLIENT KILL 127.0.0.1:1", "-ERR No such client", "CLIENT KILL TYPE normal SKIPME no", ":1")
	wantEnd(t, a)
}

func TestClientUnblock(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	check(t, b, "CLIENT UNBLOCK "+id, ":0")
	unblock := func(how string) {
		t.Helper()
		redistest.Eventually(t, 5*time.Second, "the client to be blocked", func() error {
			if got := b.Do(words("CLIENT UNBLOCK " + id + how)...); got != ":1\r\n" {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
	}
	a.Send(redistest.Command("BLPOP", "q", "0") + redistest.Command("PING"))
	unblock("")
	if got := a.ReadFrame() + a.ReadFrame(); got != "*-1\r\n+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	a.Send(redistest.Command("BLPOP", "q", "0"))
	unblock(" ERROR")
	if got := a.ReadFrame(); got != "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n" {
		t.Errorf("got %q", got)
	}
	redistest.Eventually(t, 30*time.Second, "the shards to know that nobody waits", func() error {
		for _, n := range f.nodes {
			if got := n.Info("blocked_clients"); got != "0" {
				return fmt.Errorf("%s of %s", got, n.Addr())
			}
		}
		return nil
	})
	check(t, b, "RPUSH q v", ":1", "LLEN q", ":1")
	f.unpinned()
}

// A reply that has begun is not cut off: the client is blocked no more.
func TestClientUnblockTooLate(t *testing.T) {
	t.Parallel()
	const half = 500_000
	head := "*2\r\n$1\r\nq\r\n$1000000\r\n" + strings.Repeat("x", half)
	rest := strings.Repeat("y", half) + "\r\n"
	release := make(chan struct{})
	server := newFake(t, func(_ int, c *fakeConn) {
		c.answer(func(args []string) (string, bool) {
			if args[0] == "CLIENT" {
				return ":1\r\n", true
			}
			c.send(head)
			<-release
			return rest, true
		})
	})
	f := start(t, defaults(), fakeCluster(server.addr))
	a, b := f.dial(), f.dial()
	id := bulkInt(a, "CLIENT", "ID")
	a.Send(redistest.Command("BLPOP", "q", "0"))
	got := make([]byte, len(head)+len(rest))
	if _, err := io.ReadFull(a.Conn(), got[:len(head)/2]); err != nil {
		t.Fatal(err)
	}
	check(t, b, "CLIENT UNBLOCK "+id, ":0")
	close(release)
	if _, err := io.ReadFull(a.Conn(), got[len(head)/2:]); err != nil {
		t.Fatal(err)
	}
	if string(got) != head+rest {
		t.Error("the reply is not what the server sent")
	}
	f.quiet()
}
