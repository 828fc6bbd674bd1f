package redis

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// withoutThird makes the third primary, whose host name the nodes announce, unknown,
// and returns the table with it.
func (f *redisCluster) withoutThird() *filters.Table {
	name := "third.example"
	for _, n := range f.nodes {
		n.Do("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
	}
	f.nodes[2].Do("CONFIG", "SET", "cluster-announce-hostname", name)
	main := f.clusters["main"]
	known := *main.Table()
	known.Version = 3
	known.Shards = slices.Clone(known.Shards)
	third := endpointOf(f.nodes[2].Addr(), "s3")
	third.Hostname = net.JoinHostPort(name, strconv.Itoa(f.nodes[2].Port()))
	known.Shards[2].Primary = third
	key := f.keyIn(2, "k")
	eventually(f.tb, "the name to be known", func() error {
		if got := f.nodes[0].Do("GET", key); !strings.Contains(got, third.Hostname) {
			return fmt.Errorf("the first node says %q", got)
		}
		return nil
	})
	unknown := known
	unknown.Version, unknown.Shards, unknown.Slots = 2, known.Shards[:2], new([redisproto.Slots]int32)
	for i, s := range known.Slots {
		unknown.Slots[i] = s % 2
	}
	main.table.Store(&unknown)
	return &known
}

// A request that is redirected to a node of which nothing but a host name is known
// waits for the topology that has it.
func TestClusterUnknownHostName(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	known := f.withoutThird()
	main := f.clusters["main"]
	c, gone := f.dial(), f.dial()
	key, other := f.keyIn(2, "k"), f.keyIn(0, "o")
	c.Send(redistest.Command("SET", key, "1") + redistest.Command("APPEND", key, "2") +
		redistest.Command("MGET", other, key) + redistest.Command("APPEND", key, "3"))
	gone.Send(redistest.Command("SET", key, "gone"))
	eventually(t, "the requests to wait", func() error {
		n := 0
		f.onLoop(func(w *worker) { n = len(w.strays["third.example:"+strconv.Itoa(f.nodes[2].Port())]) })
		if n != 5 {
			return fmt.Errorf("%d are waiting", n)
		}
		return nil
	})
	if err := gone.Conn().(*net.TCPConn).SetLinger(0); err != nil { // a reset: it waits for no reply
		t.Fatal(err)
	}
	gone.Close()
	f.clientsAre(1)
	main.mu.Lock()
	if want := "unknown node third.example:" + strconv.Itoa(f.nodes[2].Port()); !slices.Contains(main.wanted, want) {
		t.Errorf("asked for %q", main.wanted)
	}
	main.mu.Unlock()
	main.table.Store(known)
	for _, want := range []string{"+OK\r\n", ":2\r\n", "*2\r\n$-1\r\n$2\r\n12\r\n", ":3\r\n"} {
		if got := c.ReadFrame(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(t, c, "GET "+key, "$3 123")
	f.quit(t, c)
}

// So do a transaction, and a blocking command.
func TestClusterUnknownHostNameOfTransaction(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	known := f.withoutThird()
	main := f.clusters["main"]
	c, d := f.dial(), f.dial()
	key := f.keyIn(2, "k")
	queue := "{" + key + "}q"
	c.Send(redistest.Command("MULTI") + redistest.Command("INCR", key) + redistest.Command("RPUSH", queue, "x") + redistest.Command("EXEC"))
	d.Send(redistest.Command("BLPOP", queue, "0"))
	eventually(t, "the topology to be asked for", func() error {
		main.mu.Lock()
		defer main.mu.Unlock()
		n := 0
		for _, reason := range main.wanted {
			if strings.HasPrefix(reason, "unknown node third.example:") {
				n++
			}
		}
		if n < 4 {
			return fmt.Errorf("%d times so far", n)
		}
		return nil
	})
	main.table.Store(known)
	for _, want := range []string{"+OK\r\n", "+QUEUED\r\n", "+QUEUED\r\n", "*2\r\n:1\r\n:1\r\n"} {
		if got := c.ReadFrame(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got, want := d.ReadFrame(), redistest.Command(queue, "x"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	f.quit(t, c, d)
}

// The wait has an end.
func TestClusterUnknownHostNameForGood(t *testing.T) {
	t.Parallel()
	f := overCluster(t, func(cfg *resource.RedisFilter) { cfg.OpTimeout = 300 * time.Millisecond })
	f.withoutThird()
	c := f.dial()
	key := f.keyIn(2, "k")
	check(t, c, "SET "+key+" v", "-"+errOnTheMove, "MGET "+key+" "+f.keyIn(0, "o"), "-"+errOnTheMove, "PING", "+PONG",
		"BLPOP "+key+" 0", "-"+errOnTheMove, "MULTI", "+OK", "INCR "+key, "-"+errOnTheMove, "EXEC", errAborted)
	f.quit(t, c)
}

// counted is a cluster that counts how often its table is asked for, and may change it
// just then.
type counted struct {
	*cluster
	n        int
	changeAt int // 0: never
	next     *filters.Table
}

func (c *counted) Table() *filters.Table {
	if c.n++; c.n == c.changeAt {
		c.table.Store(c.next)
	}
	return c.cluster.Table()
}

// The table may change at any moment, also while requests that wait for it are looked
// through: none gets before those that came earlier.
func TestClusterUnknownHostNameInOrder(t *testing.T) {
	t.Parallel()
	const many = 100
	f := overCluster(t, patient)
	known := f.withoutThird()
	main := &counted{cluster: f.clusters["main"], next: known}
	f.onLoop(func(*worker) { f.filter.catchAll.cluster = main })
	c := f.dial()
	key := f.keyIn(2, "k")
	c.Send(strings.Repeat(redistest.Command("INCR", key), many))
	f.waiting(many)
	f.onLoop(func(*worker) { main.changeAt = main.n + many/2 })
	for i := range many {
		if got, want := c.ReadFrame(), fmt.Sprintf(":%d\r\n", i+1); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f.quit(t, c)
}

// Requests that wait are not looked at anew for each one that joins them.
func TestClusterManyToUnknownHostName(t *testing.T) {
	t.Parallel()
	const many = 1000
	f := overCluster(t, patient)
	known := f.withoutThird()
	main := &counted{cluster: f.clusters["main"]}
	f.onLoop(func(*worker) { f.filter.catchAll.cluster = main })
	c := f.dial()
	key := f.keyIn(2, "k")
	c.Send(strings.Repeat(redistest.Command("INCR", key), many))
	f.waiting(many)
	asked := 0
	f.onLoop(func(*worker) { asked = main.n })
	if asked > 20*many {
		t.Errorf("the table was asked for %d times", asked)
	}
	main.table.Store(known)
	for i := range many {
		if got, want := c.ReadFrame(), fmt.Sprintf(":%d\r\n", i+1); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f.quit(t, c)
}

// waiting waits until so many requests wait for the address of a node.
func (f *fixture) waiting(want int) {
	f.tb.Helper()
	eventually(f.tb, "the requests to wait", func() error {
		n := 0
		f.onLoop(func(w *worker) {
			for _, list := range w.strays {
				n += len(list)
			}
		})
		if n != want {
			return fmt.Errorf("%d are waiting", n)
		}
		return nil
	})
}

func (f *fixture) clientsAre(want int) {
	f.tb.Helper()
	eventually(f.tb, "clients to leave", func() error {
		n := 0
		f.onLoop(func(w *worker) { w.peers("test/redis", func(*client) { n++ }) })
		if n != want {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
}
