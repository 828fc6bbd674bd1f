package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// byShard sorts writers by whether their keys are at a node.
func byShard(writers []*writer, node *redistest.Node) (theirs, others []*writer) {
	for _, w := range writers {
		if node.Do("EXISTS", w.key) == ":1\r\n" {
			theirs = append(theirs, w)
		} else {
			others = append(others, w)
		}
	}
	return theirs, others
}

// TestFaultShard kills, freezes and revives one shard of four while clients write. Its keys get errors that name it, soon and without a lost
// connection; the other shards' clients notice nothing; and when it is back, so are its keys.
func TestFaultShard(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name          string
		harm, undo    func(n *redistest.Node)
		keepsItsState bool
	}{
		{"killed", func(n *redistest.Node) { n.Kill() }, func(n *redistest.Node) { n.Restart() }, false},
		{"frozen", func(n *redistest.Node) { n.Freeze() }, func(n *redistest.Node) { n.Thaw() }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			groups := startShards(t, 4, 0)
			m := mesh{
				port: redistest.Port(t), env: shards(groups...),
				redis: "hash: md5, opTimeout: 4s, connectTimeout: 4s, healthCheck: {interval: 500ms, timeout: 4s}",
			}
			p := startProxy(t, m.YAML())
			writers := startWriters(t, m.Addr(), 12)
			awaitProgress(t, writers, 5)
			victim := groups[2][0]
			theirs, others := byShard(writers, victim)
			if len(theirs) == 0 || len(others) == 0 {
				t.Fatalf("%d writers on the victim, %d elsewhere: want some on each", len(theirs), len(others))
			}
			tt.harm(victim)
			redistest.Eventually(t, readyLimit, "clear errors", func() error {
				for _, w := range theirs {
					_, failures, _ := w.state()
					if len(failures) < 3 {
						return fmt.Errorf("%s has %d failures", w.key, len(failures))
					}
				}
				return nil
			})
			awaitProgress(t, others, 50)
			p.awaitShows("/clusters", victim.Addr()+"::health_flags::/failed")
			if got := redistest.Dial(t, m.Addr()).Do("GET", theirs[0].key); !strings.HasPrefix(got, "-ERR dragoman: shard \"s3\"") {
				t.Errorf("a key of the dead shard: got %q", got)
			}
			tt.undo(victim)
			awaitProgress(t, theirs, 20)
			wantNothingLost(t, others)
			for _, w := range theirs {
				w.end()
				written, failures, _ := w.state()
				for _, f := range failures {
					if !strings.HasPrefix(f, "-ERR dragoman: shard \"s3\"") {
						t.Errorf("%s: %s", w.key, f)
					}
				}
				// A write that was answered with an error may have happened all the same; one that was acknowledged has.
				count, err := strconv.Atoi(strings.TrimSpace(redisCLI(t, m.Addr(), "", "get", w.key)))
				if tt.keepsItsState && (err != nil || count < written || count > written+len(failures)) {
					t.Errorf("%s: %d writes were acknowledged, %d failed, the server counts %d, %v", w.key, written, len(failures), count, err)
				}
			}
		})
	}
}

// resources are what a process may leak. Descriptors are those that are no connection to a server.
type resources struct{ descriptors, goroutines, upstream int }

func (p *Proxy) resources(nodes ...*redistest.Node) resources {
	p.t.Helper()
	_, after, _ := strings.Cut(p.Get("/debug/pprof/goroutine?debug=1"), "total ")
	number, _, _ := strings.Cut(after, "\n")
	goroutines, err := strconv.Atoi(number)
	if err != nil {
		p.t.Fatal(err)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.Pid())) // behind the request, whose connection stays: it is always one of them
	if err != nil {
		p.t.Fatal(err)
	}
	r := resources{descriptors: len(entries), goroutines: goroutines}
	for _, n := range nodes {
		clients, err := strconv.Atoi(n.Info("connected_clients"))
		if err != nil {
			p.t.Fatal(err)
		}
		r.upstream += clients - 1
	}
	r.descriptors -= r.upstream
	return r
}

// awaitNoMore waits until a proxy holds no more than it did, but for a few idle connections that it keeps for later, to its servers or of who asks
// for its pages.
func (p *Proxy) awaitNoMore(before resources, spare int, nodes ...*redistest.Node) {
	p.t.Helper()
	redistest.Eventually(p.t, 2*readyLimit, "everything to be given back", func() error {
		now := p.resources(nodes...)
		if now.descriptors > before.descriptors+spare || now.goroutines > before.goroutines+spare || now.upstream > before.upstream+spare {
			return fmt.Errorf("before %+v, now %+v", before, now)
		}
		return nil
	})
}

// TestFaultDyingClients: clients die in every state that holds something, and nothing stays behind.
func TestFaultDyingClients(t *testing.T) {
	t.Parallel()
	nodes := []*redistest.Node{redistest.Server(t), redistest.Server(t)}
	m := mesh{port: redistest.Port(t), env: shards(nodes[:1], nodes[1:])}
	p := startProxy(t, m.YAML())
	warm := redistest.Dial(t, m.Addr())
	for i := range 20 {
		warm.Do("SET", fmt.Sprint("k", i), "v")
	}
	before := p.resources(nodes...)
	states := []string{
		redistest.Command("MULTI") + redistest.Command("SET", "k1", "dead"),
		redistest.Command("WATCH", "k1"),
		redistest.Command("BLPOP", "queue", "0"),
		redistest.Command("XREAD", "BLOCK", "0", "STREAMS", "stream", "$"),
		redistest.Command("SUBSCRIBE", "news"),
		redistest.Command("PSUBSCRIBE", "n*"),
		redistest.Command("SSUBSCRIBE", "shard"),
		"*3\r\n$3\r\nSET\r\n$2\r\nk1\r\n$100\r\nhalf",
		"*2\r\n$3\r\nSET\r\n$2000000\r\n" + strings.Repeat("x", 100000),
		strings.Repeat(redistest.Command("GET", "k1"), 200),
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"*-5\r\n$9999999999999\r\n",
	}
	var all sync.WaitGroup
	for round := range 4 {
		for _, state := range states {
			all.Go(func() {
				for range 4 {
					client := redistest.Dial(t, m.Addr())
					if round%2 == 0 { // known to the proxy before the rest comes
						_, _ = client.TryDo("PING")
					}
					_ = client.TrySend(state)
					if round > 1 {
						client.Timeout = 200 * time.Millisecond
						_, _ = client.TryDo("PING") // an answer to what came before, or the end
					}
					client.Close()
				}
			})
		}
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	wake := time.NewTicker(20 * time.Millisecond)
	defer wake.Stop()
	for waiting := true; waiting; { // some that block are answered just when they die
		select {
		case <-done:
			waiting = false
		case <-wake.C:
			for _, n := range nodes {
				n.Do("RPUSH", "queue", "job")
				n.Do("XADD", "stream", "*", "k", "v")
			}
		}
	}
	wantReply(t, warm, bulkOf("v"), "GET", "k1")
	p.awaitNoMore(before, 4, nodes...)
}

// TestFaultReloadChurn: each configuration takes the place of the one before, and leaves nothing of it behind.
func TestFaultReloadChurn(t *testing.T) {
	t.Parallel()
	nodes := []*redistest.Node{redistest.Server(t), redistest.Server(t)}
	m := mesh{port: redistest.Port(t), env: shards(nodes[:1], nodes[1:])}
	p := startProxy(t, m.YAML())
	client := redistest.Dial(t, m.Addr())
	use := func() {
		t.Helper()
		for i := range 10 {
			wantReply(t, client, "+OK\r\n", "SET", fmt.Sprint("k", i), "v")
		}
	}
	use()
	before := p.resources(nodes...)
	for i := range 24 {
		version := p.version()
		m.env = shards(nodes[:1], nodes[1:])
		switch i % 4 {
		case 0:
			m.env = shards(nodes[1:])
		case 1:
			m.redis = fmt.Sprintf("opTimeout: %ds, readPolicy: PreferReplica, healthCheck: {interval: 1s}", 5+i)
		case 2:
			m.env = strings.Replace(m.env, "name: s2", fmt.Sprint("name: other", i), 1)
		default:
			m.redis = ""
		}
		p.Rewrite(m.YAML())
		p.awaitChange(version)
		use()
	}
	p.awaitNoMore(before, 3, nodes...)
}
