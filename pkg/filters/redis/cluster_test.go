package redis

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// redisCluster is a filter in front of a Redis Cluster of three primaries with
// one replica each, whose slots are divided evenly at first.
type redisCluster struct {
	*fixture
	rc    *redistest.RedisCluster
	nodes []*redistest.Node // the primaries, then the replicas
}

func overCluster(t *testing.T, edit func(*resource.RedisFilter)) *redisCluster {
	t.Helper()
	rc := redistest.Cluster(t, 3, 1)
	var shards []filters.Shard
	for i, n := range rc.Nodes()[:3] {
		name := fmt.Sprintf("s%d", i+1)
		shards = append(shards, filters.Shard{
			Name: name, Primary: endpointOf(n.Addr(), name),
			Replicas: []*filters.Endpoint{endpointOf(rc.Replicas(n)[0].Addr(), name)},
		})
	}
	main := clusterOf("main", shards...)
	table := main.Table()
	table.Picker, table.Slots = nil, new([redisproto.Slots]int32)
	for i := range table.Slots {
		table.Slots[i] = int32(i * 3 / redisproto.Slots)
	}
	cfg := defaults()
	if edit != nil {
		edit(cfg)
	}
	return &redisCluster{start(t, cfg, main), rc, rc.Nodes()}
}

// keyIn makes a key of node i's slots.
func (f *redisCluster) keyIn(i int, prefix string) string {
	for n := 0; ; n++ {
		key := fmt.Sprintf("%s%d", prefix, n)
		if redistest.KeySlot(key)*3/redistest.Slots == i {
			return key
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c, sub := f.dial(), f.dial()
	k := []string{f.keyIn(0, "k"), f.keyIn(1, "k"), f.keyIn(2, "k")}
	check(t, c,
		fmt.Sprintf("MSET %s a %s b %s c", k[0], k[1], k[2]), "+OK",
		fmt.Sprintf("MGET %[3]s %[1]s {x}1 %[2]s {x}2", k[0], k[1], k[2]), "*5 $1 c $1 a $-1 $1 b $-1",
		fmt.Sprintf("EXISTS %s %s %s nope", k[0], k[1], k[2]), ":3",
		fmt.Sprintf("SUNION %s %s", k[0], k[1]), "-"+errCrossSlot,
		// the same shard is not enough: the slot has to be the same
		"RENAME "+k[0]+" "+f.keyIn(0, "other"), "-"+errCrossSlot,
		"DBSIZE", ":3", "SELECT 0", "+OK", "SELECT 1", "-ERR SELECT is not allowed in cluster mode",
		"READONLY", "+OK", "READWRITE", "+OK", "ASKING", "+OK",
		"MULTI", "+OK", "INCR {t}a", "+QUEUED", "INCR {t}a", "+QUEUED", "EXEC", "*2 :1 :2",
		"MULTI", "+OK", "INCR "+k[0], "+QUEUED", "INCR "+k[1], "-"+errCrossSlot, "EXEC", errAborted,
		"MULTI", "+OK", "PUBLISH "+k[0]+" m", "+QUEUED", "SET {t}a 2", "+QUEUED", "PUBLISH "+k[1]+" m", "+QUEUED", "PUBLISH "+k[2]+" m", "+QUEUED",
		"EXEC", "*4 :0 +OK :0 :0",
		"MULTI", "+OK", "INCR "+k[0], "+QUEUED", "SPUBLISH "+k[1]+" m", "-"+errCrossSlot, "DISCARD", "+OK",
		"WATCH {t}a {t}b", "+OK", "MULTI", "+OK", "GET {t}a", "+QUEUED", "EXEC", "*1 $1 2",
		"RPUSH {q}1 v", ":1", "BLPOP {q}0 {q}1 1", "*2 $4 {q}1 $1 v",
		"EVAL \"return redis.call('GET', KEYS[1])\" 1 "+k[2], "$1 c",
		"CLUSTER KEYSLOT foo", ":12182",
		"DEL "+strings.Join(k, " ")+" {t}a", ":4", "DBSIZE", ":0",
	)
	if got := c.Do("HELLO"); !strings.Contains(got, "$4\r\nmode\r\n$7\r\ncluster\r\n") {
		t.Errorf("HELLO: %q", got)
	}
	// A message is told on every node: a pattern must not hear it more than once.
	check(t, sub, "PSUBSCRIBE *", "*3 $10 psubscribe $1 * :1", "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :2", "SSUBSCRIBE sh", "*3 $10 ssubscribe $2 sh :1")
	c.Do("PUBLISH", "ch", "one")
	c.Do("SPUBLISH", "sh", "two")
	want := []string{message("message", "ch", "one"), message("smessage", "sh", "two"), message("pmessage", "*", "ch", "one")}
	if got := heard(sub, 3); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	check(t, sub, "PING", "*2 $4 pong $0 ")
	f.manyKeys(t, c)
	f.quit(t, c, sub)
}

// manyKeys asks for keys of more slots than are looked through one by one.
func (f *redisCluster) manyKeys(t *testing.T, c *redistest.Client) {
	t.Helper()
	mset, mget, want := []string{"MSET"}, []string{"MGET"}, ""
	for i := range 3000 {
		key, value := fmt.Sprint("many", i%2500), fmt.Sprint(i%2500)
		mset, mget = append(mset, key, value), append(mget, key)
		want += fmt.Sprintf("$%d\r\n%s\r\n", len(value), value)
	}
	if got := c.Do(mset...); got != "+OK\r\n" {
		t.Errorf("MSET: %.200q", got)
	}
	if got := c.Do(mget...); got != "*3000\r\n"+want {
		t.Errorf("MGET: %.200q", got)
	}
	if got := c.Do(append([]string{"DEL"}, mget[1:]...)...); got != ":2500\r\n" {
		t.Errorf("DEL: %q", got)
	}
}

// quit ends the clients, after which nothing may be left.
func (f *redisCluster) quit(t *testing.T, clients ...*redistest.Client) {
	t.Helper()
	for _, c := range clients {
		c.Close()
	}
	f.unpinned()
}

func TestClusterSlotMoves(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c := f.dial()
	key := f.keyIn(0, "k")
	slot := redistest.KeySlot(key)
	tagged := func(n int) string { return fmt.Sprintf("{%s}%d", key, n) }
	for i := range 20 {
		check(t, c, fmt.Sprintf("SET %s %d", tagged(i), i), "+OK")
	}
	check(t, c, "SSUBSCRIBE "+key, fmt.Sprintf("*3 $10 ssubscribe $%d %s :1", len(key), key), "SUNSUBSCRIBE "+key, fmt.Sprintf("*3 $12 sunsubscribe $%d %s :0", len(key), key))
	sub := f.dial()
	sub.Do("SSUBSCRIBE", key)
	steps := 0
	f.rc.MoveSlot(slot, f.nodes[0], f.nodes[1], func(step redistest.MoveStep) {
		steps++
		if step == redistest.SlotMigrating {
			f.rc.MoveKeys(slot, f.nodes[0], f.nodes[1], 10)
		}
		for i := range 20 {
			check(t, c, "GET "+tagged(i), fmt.Sprintf("$%d %d", len(fmt.Sprint(i)), i))
		}
		check(t, c, "SET "+tagged(100+steps), "-ERR wrong number of arguments for 'set' command",
			fmt.Sprintf("SET %s x", tagged(100+steps)), "+OK", "GET "+tagged(100+steps), "$1 x", "GET "+tagged(200), "$-1")
	})
	if steps != 4 {
		t.Errorf("%d steps", steps)
	}
	// A pipeline over slots that have moved and others, all to be in order.
	var script, want strings.Builder
	for i := range 20 {
		other := f.keyIn(2, fmt.Sprintf("o%d-", i))
		script.WriteString(redistest.Command("SET", other, "x") + redistest.Command("GET", tagged(i)) + redistest.Command("MGET", tagged(i), other))
		want.WriteString("+OK\r\n" + bulk(fmt.Sprint(i)) + "*2\r\n" + bulk(fmt.Sprint(i)) + bulk("x"))
	}
	c.Send(script.String())
	var got strings.Builder
	for range 60 {
		got.WriteString(c.ReadFrame())
	}
	if got.String() != want.String() {
		t.Errorf("got %q, want %q", got.String(), want.String())
	}
	main := f.clusters["main"]
	main.mu.Lock()
	if !slices.Contains(main.wanted, "MOVED") || !slices.Contains(main.wanted, "ASK") {
		t.Errorf("asked for %q", main.wanted)
	}
	main.mu.Unlock()
	// The server ends the subscriptions of a slot that leaves it.
	if got, want := sub.ReadFrame(), fmt.Sprintf("*3\r\n$12\r\nsunsubscribe\r\n$%d\r\n%s\r\n:0\r\n", len(key), key); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	check(t, sub, "GET "+tagged(3), "$1 3")
	f.quit(t, c, sub)
}

func TestClusterUnknownNode(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	main := f.clusters["main"]
	old := main.Table()
	// as if the third primary had come later
	table := &filters.Table{Version: 2, Shards: old.Shards[:2], Slots: new([redisproto.Slots]int32), Options: old.Options}
	for i, s := range old.Slots {
		table.Slots[i] = s % 2
	}
	table.Slots[redistest.KeySlot("nobody")] = -1 // nobody is known to serve it
	main.table.Store(table)
	c := f.dial()
	key := f.keyIn(2, "k")
	check(t, c, "SET "+key+" v", "+OK", "GET "+key, "$1 v", "MGET "+key+" "+f.keyIn(0, "k"), "*2 $1 v $-1")
	if f.nodes[2].Calls("set") != 1 {
		t.Error("the third primary has not had the SET")
	}
	check(t, c, "SET nobody x", "+OK", "GET nobody", "$1 x", "MGET nobody "+key, "*2 $1 x $1 v") // the nodes know better
	f.quit(t, c)
}

// TestClusterTransactionKeepsItsTable has the slot's primary change, as in a failover, while
// commands are being queued: the node that they are queued at is to say what becomes of them.
func TestClusterTransactionKeepsItsTable(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	main := f.clusters["main"]
	failedOver := *main.Table()
	failedOver.Shards = slices.Clone(failedOver.Shards)
	first := &failedOver.Shards[0]
	first.Primary, first.Replicas = first.Replicas[0], []*filters.Endpoint{first.Primary}
	before := main.Table()
	key, other := f.keyIn(0, "k"), f.keyIn(1, "k")
	c := f.dial()
	during := func(begin, then []string) {
		main.table.Store(before)
		check(t, c, begin...)
		main.table.Store(&failedOver)
		check(t, c, then...)
	}
	during(
		[]string{"MULTI", "+OK", "INCR " + key, "+QUEUED"},
		[]string{"INCR " + key, "+QUEUED", "PUBLISH " + key + " m", "+QUEUED", "EXEC", "*3 :1 :2 :0"})
	during(
		[]string{"WATCH " + key, "+OK"},
		[]string{"GET " + key, "$1 2", "GET " + other, "$-1", "WATCH " + key, "+OK", "MULTI", "+OK", "INCR " + key, "+QUEUED", "EXEC", "*1 :3"})
	during(
		[]string{"MULTI", "+OK", "INCR " + key, "+QUEUED"},
		[]string{"INCR " + other, "-" + errCrossSlot, "EXEC", errAborted})
	f.quit(t, c)
}

// TestClusterChannelsOfADeadNode: every node has the messages of all channels, so those whose
// names hash to a node that is down are had from another one.
func TestClusterChannelsOfADeadNode(t *testing.T) {
	t.Parallel()
	f := overCluster(t, nil)
	c, sub := f.dial(), f.dial()
	channel := f.keyIn(0, "ch")
	f.nodes[0].Kill()
	f.clusters["main"].Table().Shards[0].Primary.SetHealthy(false)
	size := len(channel)
	check(t, sub, "SUBSCRIBE "+channel, fmt.Sprintf("*3 $9 subscribe $%d %s :1", size, channel), "PSUBSCRIBE c*", "*3 $10 psubscribe $2 c* :2")
	if got := c.Do("PUBLISH", channel, "one"); got != ":2\r\n" { // the node's own subscriptions
		t.Errorf("PUBLISH: %q", got)
	}
	want := []string{message("message", channel, "one"), message("pmessage", "c*", channel, "one")}
	if got := heard(sub, 2); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if got := c.Do("SPUBLISH", channel, "two"); !strings.HasPrefix(got, "-ERR dragoman: shard \"s1\"") {
		t.Errorf("SPUBLISH: %q", got)
	}
	f.quit(t, c, sub)
}

func TestClusterWithoutRedirection(t *testing.T) {
	t.Parallel()
	f := overCluster(t, func(cfg *resource.RedisFilter) { cfg.Redirection = false })
	main := f.clusters["main"]
	table := *main.Table()
	table.Slots = new([redisproto.Slots]int32) // all at the first
	main.table.Store(&table)
	key := f.keyIn(2, "k")
	check(t, f.dial(), "GET "+key, fmt.Sprintf("-MOVED %d %s", redistest.KeySlot(key), f.nodes[2].Addr()))
}

func TestClusterReplicas(t *testing.T) {
	t.Parallel()
	f := overCluster(t, func(cfg *resource.RedisFilter) { cfg.ReadPolicy = resource.ReadReplica })
	c := f.dial()
	for i := range 3 {
		key := f.keyIn(i, "k")
		check(t, c, "SET "+key+" v", "+OK")
		eventually(t, "the replica to have it", func() error {
			if got := c.Do("GET", key); got != "$1\r\nv\r\n" {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
		for range 10 {
			check(t, c, "GET "+key, "$1 v", "MGET "+key, "*1 $1 v")
		}
		if got := f.nodes[i].Calls("get") + f.nodes[i].Calls("mget"); got > 0 {
			t.Errorf("the primary had %d reads", got)
		}
		if got := f.rc.Replicas(f.nodes[i])[0].Calls("get"); got < 10 {
			t.Errorf("the replica had %d reads", got)
		}
	}
	f.quit(t, c)
}
