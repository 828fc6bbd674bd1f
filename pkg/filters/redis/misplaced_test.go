package redis

import (
	"errors"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// moved gives the cluster's only shard another primary; nil: none is known.
func (c *cluster) moved(primary *filters.Endpoint, replicas ...*filters.Endpoint) {
	next := *c.Table()
	next.Version++
	next.Shards = []filters.Shard{{Name: next.Shards[0].Name, Primary: primary, Replicas: replicas}}
	c.table.Store(&next)
}

// awaitTable waits until the filter has looked after its clients by the current table.
func (f *fixture) awaitTable() {
	f.tb.Helper()
	want := f.clusters["main"].Table().Version
	redistest.Eventually(f.tb, 30*time.Second, "the filter to see the table", func() (err error) {
		f.onLoop(func(w *worker) {
			if w.local(f.filter).version != want {
				err = errors.New("it is another one")
			}
		})
		return err
	})
}

// awaitBlocked waits until the server has so many blocked clients.
func awaitBlocked(tb testing.TB, n *redistest.Node, clients string) {
	tb.Helper()
	redistest.Eventually(tb, 30*time.Second, clients+" clients to be blocked", func() error {
		if got := n.Info("blocked_clients"); got != clients {
			return errors.New(got + " are")
		}
		return nil
	})
}

// A client that is blocked learns that its server is no primary any more even if the
// server says nothing: by the word that Redis has for it.
func TestBlockedAtAServerThatWasReplaced(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	main := newCluster("main", nodes[0])
	f := start(t, defaults(), main)
	blocked, waiting, tracking, monitor := f.dial(), f.dial(), f.dial(), f.dial()
	check(t, tracking, "CLIENT TRACKING ON BCAST", "+OK")
	tracking.Do("HELLO", "3")
	check(t, tracking, "CLIENT TRACKING ON BCAST", "+OK")
	check(t, monitor, "MONITOR", "+OK")
	blocked.Send(redistest.Command("BLPOP", "q", "0") + redistest.Command("GET", "k"))
	awaitBlocked(t, nodes[0], "1")
	old := main.Table().Shards[0].Primary

	main.moved(nil, old) // nobody knows where it will be
	f.awaitTable()
	main.moved(old)
	f.awaitTable()
	nodes[0].Do("RPUSH", "q", "v")
	if got := blocked.ReadFrame() + blocked.ReadFrame(); got != redistest.Command("q", "v")+"$-1\r\n" {
		t.Fatalf("got %q", got)
	}

	nodes[0].Do("SET", "k", "0")
	nodes[1].Do("SET", "k", "1")
	blocked.Send(redistest.Command("BLPOP", "q", "0") + redistest.Command("GET", "k"))
	waiting.Send(redistest.Command("WAIT", "1", "0") + redistest.Command("GET", "k"))
	awaitBlocked(t, nodes[0], "2")
	nodes[0].Freeze()
	main.moved(endpointOf(nodes[1].Addr(), "s1"), old)
	if got, want := blocked.ReadFrame(), `-UNBLOCKED dragoman: shard "s1" (`+nodes[0].Addr()+") is not the primary any more\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := blocked.ReadFrame(); got != "$1\r\n1\r\n" {
		t.Errorf("behind it: %q", got)
	}
	if got, want := waiting.ReadFrame(), `-ERR dragoman: shard "s1" (`+nodes[0].Addr()+"): is not the primary any more\r\n"; got != want {
		t.Errorf("WAIT: got %q, want %q", got, want)
	}
	if got := waiting.ReadFrame(); got != "$1\r\n1\r\n" {
		t.Errorf("behind WAIT: %q", got)
	}
	blocked.Send(redistest.Command("BLPOP", "q", "0"))
	awaitBlocked(t, nodes[1], "1")
	check(t, f.dial(), "RPUSH q v", ":1")
	if got := blocked.ReadFrame(); got != redistest.Command("q", "v") {
		t.Errorf("at the new one: %q", got)
	}
	nodes[0].Thaw()
	for _, c := range []*redistest.Client{tracking, monitor} {
		for {
			if _, err := c.TryReadFrame(); err != nil {
				break
			}
		}
		wantEnd(t, c)
	}
	f.unpinned()
}
