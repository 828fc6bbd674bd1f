package redis

import (
	"errors"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// What a client sends while an earlier request of its own is being redirected is
// executed behind that, also if the table has changed meanwhile.
func TestClusterOrderOverChangeOfTable(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	main := f.clusters["main"]
	right := *main.Table()
	stale := right
	stale.Slots = new([redisproto.Slots]int32)
	for i, s := range right.Slots {
		stale.Slots[i] = s % 2 // those of the third are taken for the first's
	}
	c := f.dial()
	key, other, long := f.keyIn(2, "k"), f.keyIn(1, "o"), strings.Repeat("x", 100_000)
	for _, read := range []struct{ request, want string }{
		{redistest.Command("GET", key), "$2\r\n20\r\n"},
		{redistest.Command("MGET", other, key), "*2\r\n$-1\r\n$2\r\n20\r\n"},
		{redistest.Command("EVAL", "return redis.call('get', KEYS[1])", "1", key), "$2\r\n20\r\n"},
		{redistest.Command("APPEND", key, long), ":100002\r\n"},
	} {
		main.table.Store(&stale)
		check(t, c, "SET "+key+" 1", "+OK")
		f.nodes[0].Freeze()
		c.Send(redistest.Command("SET", key, "20"))
		f.awaitClient(t, "the SET to be sent", func(p *client) bool { return p.ring.len() == 1 })
		main.table.Store(&right)
		c.Send(read.request)
		f.awaitClient(t, "the next request to be seen", func(p *client) bool { return p.ring.len() == 2 || p.has(stateBarrier) })
		f.nodes[0].Thaw()
		if got := c.ReadFrame(); got != "+OK\r\n" {
			t.Errorf("SET: %q", got)
		}
		if got := c.ReadFrame(); got != read.want {
			t.Errorf("%.40q behind a SET: got %q, want %q", read.request, got, read.want)
		}
	}
	f.quit(t, c)
}

// So is what it sends behind a request that was placed before the table changed, and
// came in whole only after that.
func TestClusterOrderBehindSlowRequest(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	main := f.clusters["main"]
	right := *main.Table()
	stale := right
	stale.Slots = new([redisproto.Slots]int32)
	for i, s := range right.Slots {
		stale.Slots[i] = s % 2 // those of the third are taken for the first's
	}
	c, d := f.dial(), f.dial()
	key := f.keyIn(2, "k")
	main.table.Store(&stale)
	check(t, c, "SET "+key+" 1", "+OK")
	request := redistest.Command("APPEND", key, strings.Repeat("x", 100_000))
	c.Send(request[:90_000])
	f.awaitClient(t, "the request to be placed", func(p *client) bool { return p.x != nil && p.x.upload != nil })
	main.table.Store(&right)
	check(t, d, "GET "+key, "$1 1")
	f.nodes[0].Freeze()
	c.Send(request[90_000:])
	f.awaitClient(t, "the request to be sent", func(p *client) bool { return p.ring.len() == 1 })
	c.Send(redistest.Command("STRLEN", key))
	f.awaitClient(t, "the next request to be seen", func(p *client) bool { return p.ring.len() == 2 || p.has(stateBarrier) })
	f.nodes[0].Thaw()
	for range 2 {
		if got := c.ReadFrame(); got != ":100001\r\n" {
			t.Errorf("got %q", got)
		}
	}
	f.quit(t, c)
	f.quit(t, d)
}

// awaitClient waits until a client is in a state.
func (f *fixture) awaitClient(t *testing.T, what string, is func(*client) bool) {
	t.Helper()
	eventually(t, what, func() error {
		seen := false
		f.onLoop(func(w *worker) {
			w.peers("test/redis", func(p *client) { seen = seen || is(p) })
		})
		if !seen {
			return errors.New("it is not")
		}
		return nil
	})
}

// alternating is a cluster whose table is another one each time that it is asked for.
type alternating struct {
	*cluster
	tables [2]*filters.Table
	n      int
}

func (a *alternating) Table() *filters.Table {
	a.n++
	return a.tables[a.n%2]
}

// The keys of one request are placed by one table, whatever changes meanwhile: shards
// of the next one have other numbers.
func TestKeysOfOneRequestByOneTable(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	main := newCluster("main", nodes...)
	first := main.Table()
	second := *first
	second.Shards = []filters.Shard{first.Shards[1], first.Shards[0]}
	f := start(t, defaults(), main)
	f.onLoop(func(*worker) {
		f.filter.catchAll.cluster = &alternating{cluster: main, tables: [2]*filters.Table{first, &second}}
	})
	c := f.dial()
	check(t, c, "MSET "+main.keyOn(0, 0)+" a "+main.keyOn(1, 0)+" b", "+OK")
	for _, n := range nodes {
		if got := n.Do("DBSIZE"); got != ":1\r\n" {
			t.Errorf("a shard has %q keys of two", got)
		}
	}
}
