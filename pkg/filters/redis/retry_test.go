package redis

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// partialCluster is a cluster whose nodes go on when a slot is not served.
func partialCluster(t *testing.T, edit func(*resource.RedisFilter)) *redisCluster {
	t.Helper()
	f := overCluster(t, edit)
	for _, n := range f.nodes {
		n.Do("CONFIG", "SET", "cluster-require-full-coverage", "no")
	}
	return f
}

// retried waits until n requests are waiting to be tried again.
func (f *fixture) retried(t *testing.T, n int) {
	t.Helper()
	eventually(t, "refused requests", func() error {
		got := 0
		f.onLoop(func(w *worker) {
			for _, c := range w.retrying {
				got += len(c.x.retries)
			}
		})
		if got != n {
			return fmt.Errorf("%d of %d wait", got, n)
		}
		return nil
	})
}

// nothingLeft waits until nothing is kept for another try.
func (f *fixture) nothingLeft(t *testing.T) {
	t.Helper()
	eventually(t, "the requests to be forgotten", func() error {
		var err error
		f.onLoop(func(w *worker) {
			if len(w.retrying) > 0 || w.retryBytes != 0 {
				err = fmt.Errorf("%d clients, %d bytes", len(w.retrying), w.retryBytes)
			}
		})
		return err
	})
}

// A slot that nobody serves for a while, as during a failover, is waited for.
func TestClusterDownIsTriedAgain(t *testing.T) {
	t.Parallel()
	f := partialCluster(t, nil)
	c, d, gone := f.dial(), f.dial(), f.dial()
	key, same, other := f.keyIn(0, "k"), f.keyIn(0, "s"), f.keyIn(1, "o")
	slot := strconv.Itoa(redistest.KeySlot(key))
	for round := range 3 {
		check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+slot, "+OK")
		c.Send(redistest.Command("SET", key, "1") + redistest.Command("SET", other, "x") + redistest.Command("APPEND", key, "2") +
			redistest.Command("MGET", key, other) + redistest.Command("APPEND", key, "3"))
		gone.Send(redistest.Command("APPEND", key, "gone"))
		f.retried(t, 5)
		c.Send(redistest.Command("GET", key))
		check(t, d, "SET "+same+" v", "+OK", "GET "+same, "$1 v", "GET "+other, "$1 x") // nobody else waits
		eventually(t, "who is to go to be between two tries", func() error {
			err := errors.New("it is being tried")
			f.onLoop(func(w *worker) {
				for _, p := range w.retrying {
					if len(p.x.retries) == 1 {
						p.drop() // as if it had hung up
						err = nil
					}
				}
			})
			return err
		})
		f.retried(t, 4)
		check(t, f.nodes[0].Client(), "CLUSTER ADDSLOTS "+slot, "+OK")
		for i, want := range []string{"+OK\r\n", "+OK\r\n", ":2\r\n", "*2\r\n$2\r\n12\r\n$1\r\nx\r\n", ":3\r\n", "$3\r\n123\r\n"} {
			if got := c.ReadFrame(); got != want {
				t.Errorf("round %d, reply %d: got %q, want %q", round, i, got, want)
			}
		}
		gone = f.dial()
	}
	f.nothingLeft(t)
	f.quit(t, c, d, gone)
}

// What is not served for long is answered as the cluster does, and further requests
// for it at once.
func TestClusterDownForLong(t *testing.T) {
	t.Parallel()
	f := partialCluster(t, func(cfg *resource.RedisFilter) { cfg.OpTimeout = time.Second })
	c := f.dial()
	key := f.keyIn(0, "k")
	slot := strconv.Itoa(redistest.KeySlot(key))
	check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+slot, "+OK")
	down := "-CLUSTERDOWN Hash slot not served"
	check(t, c, "SET "+key+" 1", down)
	before := f.nodes[0].Calls("set") // of which only those that were executed count
	f.onLoop(func(w *worker) {
		if len(w.givenUp) != 1 {
			t.Errorf("%d slots are given up", len(w.givenUp))
		}
	})
	check(t, c, "SET "+key+" 1", down, "INCR "+key, down)
	f.nothingLeft(t)
	check(t, f.nodes[0].Client(), "CLUSTER ADDSLOTS "+slot, "+OK")
	check(t, c, "SET "+key+" 1", "+OK")
	if got := f.nodes[0].Calls("set"); got != before+1 {
		t.Errorf("%d SETs were executed", got-before)
	}
	f.quit(t, c)
}

// A refused request gets its error in time also if those behind it are never done: so
// much of their replies is held until its own has come that no more is read.
func TestClusterDownBeforeLargeReplies(t *testing.T) {
	t.Parallel()
	f := partialCluster(t, func(cfg *resource.RedisFilter) { cfg.OpTimeout = 0 })
	c := f.dial()
	c.Timeout = time.Minute
	key, big := f.keyIn(0, "k"), f.keyIn(1, "b")
	value := strings.Repeat("x", maxGather/16)
	if got := f.nodes[1].Do("SET", big, value); got != "+OK\r\n" {
		t.Fatal(got)
	}
	check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+strconv.Itoa(redistest.KeySlot(key)), "+OK")
	const replies = 24
	c.Send(redistest.Command("SET", key, "1") + strings.Repeat(redistest.Command("GET", big), replies))
	if got := c.ReadFrame(); got != "-CLUSTERDOWN Hash slot not served\r\n" {
		t.Errorf("SET: %q", got)
	}
	for i := range replies {
		if got := c.ReadFrame(); got != bulk(value) {
			t.Fatalf("reply %d: %.100q", i, got)
		}
	}
	f.nothingLeft(t)
	f.quit(t, c)
}

// A command with several keys of a slot that is on the move is executed before what
// follows it.
func TestClusterKeysOnTheMoveInOrder(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c := f.dial()
	key := f.keyIn(0, "k")
	slot := redistest.KeySlot(key)
	tagged := func(n int) string { return fmt.Sprintf("{%s}%d", key, n) }
	here, there, stays := tagged(1), tagged(2), tagged(3)
	check(t, c, fmt.Sprintf("MSET %s old %s old %s renamed", here, there, stays), "+OK")
	f.rc.MoveSlot(slot, f.nodes[0], f.nodes[1], func(step redistest.MoveStep) {
		if step != redistest.SlotMigrating {
			return
		}
		check(t, f.nodes[0].Client(), fmt.Sprintf("MIGRATE 127.0.0.1 %d %s 0 10000", f.nodes[1].Port(), there), "+OK")
		check(t, c, "GET "+there, "$3 old") // which shows the move
		c.Send(redistest.Command("DEL", here, there) + redistest.Command("SET", here, "new") + redistest.Command("GET", here))
		for _, want := range []string{":2\r\n", "+OK\r\n", "$3\r\nnew\r\n"} {
			if got := c.ReadFrame(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		c.Send(redistest.Command("RENAME", stays, here) + redistest.Command("GET", here)) // which needs both on one node
		f.retried(t, 1)
	})
	for _, want := range []string{"+OK\r\n", "$7\r\nrenamed\r\n"} {
		if got := c.ReadFrame(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f.nothingLeft(t)
	f.quit(t, c)
}

// What concerns all nodes is executed behind an earlier request that is redirected.
func TestClusterFlushBehindRedirectedWrite(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c := f.dial()
	main := f.clusters["main"]
	stale := *main.Table()
	stale.Slots = new([redisproto.Slots]int32) // all at the first
	key := f.keyIn(2, "k")
	check(t, c, "GET "+key, "$-1", "GET "+f.keyIn(0, "k"), "$-1") // both are connected
	main.table.Store(&stale)
	for _, flush := range []string{"FLUSHALL", "FLUSHDB"} {
		f.nodes[0].Freeze()
		c.Send(redistest.Command("SET", key, "x") + redistest.Command(flush) + redistest.Command("GET", key))
		f.awaitClient(t, "the next request to be seen", func(p *client) bool { return p.ring.len() == 3 || p.has(stateBarrier) })
		f.nodes[0].Thaw()
		for _, want := range []string{"+OK\r\n", "+OK\r\n", "$-1\r\n"} {
			if got := c.ReadFrame(); got != want {
				t.Errorf("%s: got %q, want %q", flush, got, want)
			}
		}
	}
	f.quit(t, c)
}

// So is the slot of a blocking command.
func TestClusterDownForBlockingCommand(t *testing.T) {
	t.Parallel()
	f := partialCluster(t, func(cfg *resource.RedisFilter) { cfg.OpTimeout = 4 * time.Second })
	c, d := f.dial(), f.dial()
	key := f.keyIn(0, "k")
	slot := strconv.Itoa(redistest.KeySlot(key))
	check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+slot, "+OK")
	before := f.nodes[0].Calls("client|id")
	c.Send(redistest.Command("BLPOP", key, "0") + redistest.Command("PING"))
	eventually(t, "another try", func() error {
		if got := refusedBLPOPs(f.nodes[0]); got < 2 {
			return fmt.Errorf("%d so far", got)
		}
		return nil
	})
	check(t, f.nodes[0].Client(), "CLUSTER ADDSLOTS "+slot, "+OK")
	awaitBlocked(t, f.nodes[0], "1")
	check(t, d, "RPUSH "+key+" v", ":1")
	if got, want := c.ReadFrame()+c.ReadFrame(), redistest.Command(key, "v")+"+PONG\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := f.nodes[0].Calls("client|id") - before; got != 1 {
		t.Errorf("%d connections were made for one command", got)
	}
	check(t, f.nodes[0].Client(), "CLUSTER DELSLOTS "+slot, "+OK")
	check(t, c, "BLPOP "+key+" 0", "-CLUSTERDOWN Hash slot not served")
	f.quit(t, c, d)
}

// refusedBLPOPs is how many times a node has refused BLPOP.
func refusedBLPOPs(n *redistest.Node) int {
	_, stats, _ := strings.Cut(n.Do("INFO", "commandstats"), "cmdstat_blpop:")
	_, rejected, _ := strings.Cut(stats, "rejected_calls=")
	rejected, _, _ = strings.Cut(rejected, ",")
	count, _ := strconv.Atoi(rejected)
	return count
}

// A refused blocking command whose client has been told meanwhile that its server was
// replaced is not sent again.
func TestRefusedBlockingCommandIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	s := newStage(newCommandTable(), "shards: 2\nslots: yes")
	s.build(t)
	s.play(t, "c > CLIENT ID", "c < :1", "wait 990ms", "c > BLPOP a1 0",
		"s1 < PING", "s1 < CLIENT ID", "s1 < BLPOP a1 0", "s1 > +PONG", "s1 > :7",
		"d > CLIENT UNBLOCK 1", "s1.2 < PING", "s1.2 < CLIENT UNBLOCK 7 TIMEOUT", // which keeps the connection
		`s1 > "-CLUSTERDOWN The cluster is down\r\n"`)
	main := s.filter.catchAll.cluster.(*cluster)
	table := *main.Table()
	table.Version++
	table.Shards = slices.Clone(table.Shards)
	table.Shards[0].Primary = endpointOf("10.0.0.1:s3", "s1")
	main.table.Store(&table)
	s.play(t, "wait 15ms", // the clients of the old one are looked for each second
		`c < "-UNBLOCKED dragoman: shard \"s1\" (10.0.0.1:s1) is not the primary any more\r\n"`,
		"wait 500ms", "c > PING", "c < +PONG")
	if s.conns["s3"] != nil {
		t.Error("the command is sent to the new primary")
	}
}
