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

// sharded is a filter in front of four shards.
type sharded struct {
	*fixture
	nodes []*redistest.Node
}

func fourShards(t *testing.T, edit func(*resource.RedisFilter)) *sharded {
	t.Helper()
	cfg := defaults()
	if edit != nil {
		edit(cfg)
	}
	nodes := servers(t, 4)
	return &sharded{start(t, cfg, newCluster("main", nodes...)), nodes}
}

// shardOf is the index of the shard that a key lives on.
func (f *sharded) shardOf(key string) int {
	table := f.clusters["main"].Table()
	return table.Picker.Pick(redisproto.HashTag([]byte(key), '{', '}'))
}

// keyOn makes a key of the form prefix + number that lives on a shard.
func (f *sharded) keyOn(shard int, prefix string) string {
	for i := 0; ; i++ {
		if key := prefix + strconv.Itoa(i); f.shardOf(key) == shard {
			return key
		}
	}
}

// onEach makes one key for each shard.
func (f *sharded) onEach(prefix string) []string {
	keys := make([]string, len(f.nodes))
	for i := range keys {
		keys[i] = f.keyOn(i, prefix)
	}
	return keys
}

// calls counts how often the shards have executed a command.
func (f *sharded) calls(command string) []int {
	n := make([]int, len(f.nodes))
	for i, node := range f.nodes {
		n[i] = node.Calls(command)
	}
	return n
}

// check sends requests and compares their replies. Both are given in turn; a
// reply is that of RESP2 with spaces instead of CRLF.
func check(t *testing.T, c *redistest.Client, requestsAndReplies ...string) {
	t.Helper()
	for i := 0; i+1 < len(requestsAndReplies); i += 2 {
		got := strings.ReplaceAll(c.Do(words(requestsAndReplies[i])...), "\r\n", " ")
		if want := requestsAndReplies[i+1] + " "; got != want {
			t.Errorf("%s: got %q, want %q", requestsAndReplies[i], got, want)
		}
	}
}

func TestShardedSplit(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	k := f.onEach("k")
	request := func(format string) string { return fmt.Sprintf(format, k[0], k[1], k[2], k[3]) }
	check(t, c,
		request("MSET %s a %s b %s c %s d"), "+OK",
		request("MGET %[4]s %[1]s nope %[3]s %[2]s %[1]s"), "*6 $1 d $1 a $-1 $1 c $1 b $1 a",
		request("EXISTS %s %s %s %s nope ")+k[0], ":5",
		request("TOUCH %s %s nope"), ":2",
		request("UNLINK %s nope"), ":1",
		request("DEL %[2]s %[2]s %[3]s nope"), ":2",
		request("MGET %s %s %s %s"), "*4 $-1 $-1 $-1 $1 d",
		"DEL nope1 nope2 nope3 nope4", ":0",
		request("MSET %[1]s 1 %[1]s 2 %[2]s 3 %[1]s 4"), "+OK",
		request("MGET %[1]s %[2]s"), "*2 $1 4 $1 3",
		request("MSET %s 1 %s"), "-ERR wrong number of arguments for 'mset' command",
		"MGET", "-ERR wrong number of arguments for 'mget' command",
		request("LPUSH %[3]s x"), ":1",
		request("MGET %[1]s %[3]s"), "*2 $1 4 $-1",
		request("MSET %s x %[2]s y"), "+OK",
	)
	if got := f.calls("mget"); slices.Max(got) > 5 {
		t.Errorf("MGET was sent more than once for a request: %v", got)
	}
}

func TestShardedVerbatim(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	check(t, c,
		"MSET {a}1 x {a}2 y {a}3 z", "+OK",
		"MGET {a}3 {a}1 {a}2", "*3 $1 z $1 x $1 y",
		"MSETNX {a}3 q {a}4 r", ":0",
		"MSETNX {b}3 q {b}4 r", ":1",
		"RENAME {a}1 {a}9", "+OK",
		"SUNIONSTORE {a}s {a}t {a}u", ":0",
		"BITOP AND {a}d {a}2 {a}3", ":1",
		"COPY {a}2 {a}5", ":1",
		"ZUNIONSTORE {a}z 2 {a}y {a}x", ":0",
		"RPUSH {a}l 3 1 2", ":3",
		"SORT {a}l STORE {a}m", ":3",
		"LMOVE {a}l {a}m LEFT RIGHT", "$1 3",
		"DEL {a}2 {a}3 {a}9", ":3",
	)
	if got := slices.Sorted(slices.Values(f.calls("mget"))); !slices.Equal(got, []int{0, 0, 0, 1}) {
		t.Errorf("an MGET of one shard was split: %v", got)
	}
	k := f.onEach("k")
	for _, request := range []string{
		"MSETNX %s 1 %s 2", "RENAME %s %s", "SUNION %s %s", "BITOP AND %s %[1]s %s", "PFMERGE %s %s",
		"SMOVE %s %s x", "LMOVE %s %s LEFT LEFT", "ZUNIONSTORE %s 1 %s", "SORT %s STORE %s", "BLPOP %s %s 1",
		"EVAL return(1) 2 %s %s", "XREAD STREAMS %s %s 0 0", "GEOSEARCHSTORE %s %s FROMMEMBER a BYRADIUS 1 m",
		"WATCH %s %s", "PFCOUNT %s %s", "LCS %s %s", "COPY %s %s", "RPOPLPUSH %s %s", "XREAD BLOCK 1 STREAMS %s %s 0 0",
	} {
		check(t, c, fmt.Sprintf(request, k[0], k[1]), "-"+errCrossSlot)
	}
	check(t, c, "PING", "+PONG")
}

func TestShardedFanOut(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("%d:key", i*7919))
		check(t, c, fmt.Sprintf("SET %d:key %d", i*7919, i), "+OK")
	}
	slices.Sort(want)
	for i, n := range f.calls("set") {
		if n == 0 {
			t.Fatalf("no key is on shard %d", i)
		}
	}
	got := bulks(t, c.Do("KEYS", "*"))
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("KEYS: %d keys", len(got))
	}
	check(t, c,
		"DBSIZE", ":200",
		"CONFIG SET maxmemory-samples 7", "+OK",
		"CONFIG GET maxmemory-samples", "*2 $17 maxmemory-samples $1 7",
		"CONFIG SET maxmemory-samples x", "-ERR CONFIG SET failed (possibly related to argument 'maxmemory-samples') - argument couldn't be parsed into an integer",
		"CONFIG RESETSTAT", "+OK",
		"SCRIPT LOAD \"return 42\"", "$40 "+sha42,
		"SCRIPT EXISTS "+sha42+" ffff", "*2 :1 :0",
		"SCRIPT KILL", "-NOTBUSY No scripts in execution right now.",
		"SLOWLOG RESET", "+OK",
		"SLOWLOG LEN", ":0",
		"SLOWLOG GET", "*0",
		"WAIT 0 10", ":0",
		"WAIT 1 20", ":0",
		"WAIT x 20", "-ERR value is not an integer or out of range",
		"PUBSUB CHANNELS", "*0",
		"PUBSUB NUMSUB a b", "*4 $1 a :0 $1 b :0",
		"PUBSUB NUMPAT", ":0",
		"FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function(k) return k[1] end)\"", "$1 l",
		"FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function(k) return k[1] end)\"", "-ERR Library 'l' already exists",
		"FUNCTION KILL", "-NOTBUSY No scripts in execution right now.",
		"FUNCTION DELETE l", "+OK",
		"FUNCTION DELETE l", "-ERR Library not found",
		"FUNCTION FLUSH", "+OK",
		"MEMORY PURGE", "+OK",
		"LATENCY RESET", ":0",
		"SWAPDB 0 1", "+OK",
		"DBSIZE", ":0",
		"SWAPDB 0 1", "+OK",
		"CLIENT PAUSE 0", "+OK",
		"CLIENT UNPAUSE", "+OK",
	)
	for _, key := range f.onEach("fn") {
		check(t, c, "EVALSHA "+sha42+" 1 "+key, ":42")
	}
	if !slices.Contains(want, strings.TrimSpace(bulkText(c.Do("RANDOMKEY")))) {
		t.Error("RANDOMKEY is none of the keys")
	}
	info := bulkText(c.Do("INFO", "keyspace"))
	if !strings.Contains(info, "db0:keys=200,expires=0,avg_ttl=0") || !strings.Contains(info, "shards:4") {
		t.Errorf("INFO: %q", info)
	}
	check(t, c, "FLUSHDB", "+OK", "DBSIZE", ":0", "RANDOMKEY", "$-1", "FLUSHALL ASYNC", "+OK", "FLUSHALL FOO", "-ERR syntax error",
		"SCRIPT FLUSH", "+OK", "SCRIPT EXISTS "+sha42, "*1 :0")
	check(t, c, "SET only 1", "+OK", "RANDOMKEY", "$4 only")
	c.Do("HELLO", "3")
	if got := c.Do("CONFIG", "GET", "maxmemory-samples"); got != "%1\r\n$17\r\nmaxmemory-samples\r\n$1\r\n7\r\n" {
		t.Errorf("CONFIG GET in RESP3: %q", got)
	}
	if got := c.Do("INFO", "keyspace"); !strings.HasPrefix(got, "=") {
		t.Errorf("INFO in RESP3: %q", got)
	}
}

const sha42 = "1fa00e76656cc152ad327c13fe365858fd7be306" // of "return 42"

// bulkText is the text of a bulk string.
func bulkText(frame string) string {
	_, text, _ := strings.Cut(frame, "\r\n")
	return strings.TrimSuffix(text, "\r\n")
}

func TestShardedScan(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	want := map[string]string{}
	for i := range 1000 {
		kind := []string{"string", "list"}[i%2]
		key := fmt.Sprintf("%s:%d", kind, i)
		want[key] = kind
		if kind == "string" {
			check(t, c, "SET "+key+" x", "+OK")
		} else {
			check(t, c, "RPUSH "+key+" x", ":1")
		}
	}
	for _, args := range []string{"", "COUNT 1", "COUNT 7", "COUNT 1000", "MATCH list:* COUNT 50", "TYPE string COUNT 100", "MATCH *:1* TYPE list"} {
		seen := map[string]int{}
		cursor := "0"
		for {
			frame := c.Do(append([]string{"SCAN", cursor}, strings.Fields(args)...)...)
			limits := redisproto.DefaultLimits()
			v, _, err := redisproto.ParseValue([]byte(frame), &limits)
			if err != nil || len(v.Elems) != 2 {
				t.Fatalf("SCAN %s %s: %q", cursor, args, frame)
			}
			for _, e := range v.Elems[1].Elems {
				seen[string(e.Str)]++
			}
			cursor = string(v.Elems[0].Str)
			if _, err := strconv.ParseUint(cursor, 10, 64); err != nil {
				t.Fatalf("cursor: %v", err)
			}
			if cursor == "0" {
				break
			}
		}
		for key, kind := range want {
			wanted := 1
			if strings.Contains(args, "TYPE") && !strings.Contains(args, "TYPE "+kind) || strings.Contains(args, "MATCH list") && kind != "list" ||
				strings.Contains(args, "*:1*") && !strings.Contains(key, ":1") {
				wanted = 0
			}
			if seen[key] != wanted {
				t.Fatalf("SCAN %s: %s was seen %d times", args, key, seen[key])
			}
		}
	}
	check(t, c, "SCAN x", "-ERR invalid cursor", "SCAN 0 COUNT x", "-ERR value is not an integer or out of range",
		"SCAN 0 FOO", "-ERR syntax error", "SCAN", "-ERR wrong number of arguments for 'scan' command")
}

func TestShardedRefusals(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	c := f.dial()
	one := func(name string) string {
		return "-ERR dragoman: '" + name + "' is meant for one server, but this listener has 4 shards"
	}
	check(t, c,
		"NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ",
		"CONFIG NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CONFIG HELP.",
		"OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command",
		"OBJECT ENCODING nope", "$-1",
		"SET k 1", "+OK",
		"OBJECT ENCODING k", "$3 int",
		"MEMORY USAGE nope", "$-1",
		"XINFO STREAM nope", "-ERR no such key",
		"XGROUP CREATE nope g 0", "-ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option to create an empty stream automatically.",
		"DEBUG SLEEP 0", one("debug"),
		"MONITOR", one("monitor"),
		"SYNC", one("sync"),
		"REPLCONF a b", one("replconf"),
		"REPLICAOF no one", one("replicaof"),
		"SHUTDOWN", one("shutdown"),
		"MODULE LIST", "*0",
		"MODULE UNLOAD x", one("module"),
		"SCRIPT DEBUG YES", one("script"),
		"CLUSTER INFO", "-ERR This instance has cluster support disabled",
		"CLIENT TRACKING ON", "-ERR dragoman: client-side caching needs a listener with a single shard",
		"EVAL return(7) 0", ":7",
		"EVAL return(KEYS[1]) 1 k", "$1 k",
		"EVAL return(1) x", "-ERR value is not an integer or out of range",
		"COMMAND COUNT x", "-ERR wrong number of arguments for 'command|count' command",
		"ROLE", "*3 $6 master :0 *0",
		"SELECT 3", "+OK",
		"DBSIZE", ":0",
		"SET k 3", "+OK",
		"SELECT 0", "+OK",
		"GET k", "$1 1",
		"PING", "+PONG",
	)
}

func TestUnknownByFirstArgument(t *testing.T) {
	t.Parallel()
	f := fourShards(t, func(cfg *resource.RedisFilter) { cfg.UnknownCommands = resource.UnknownFirstArgument })
	c := f.dial()
	check(t, c, "NOSUCH a b", "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ",
		"NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: ")
	custom := fourShards(t, func(cfg *resource.RedisFilter) { cfg.CustomCommands = []string{"nosuch"} })
	c = custom.dial()
	key := custom.keyOn(2, "k")
	errs := custom.nodes[2].Info("total_error_replies")
	check(t, c, "NoSuch "+key, "-ERR unknown command 'NoSuch', with args beginning with: '"+key+"' ")
	if got := custom.nodes[2].Info("total_error_replies"); got == errs {
		t.Error("the key's shard has not seen the command")
	}
}

func TestShardedBlocking(t *testing.T) {
	t.Parallel()
	f := fourShards(t, nil)
	a, b := f.dial(), f.dial()
	for i := range f.nodes {
		key := f.keyOn(i, "q")
		a.Send(redistest.Command("BLPOP", key, "10") + redistest.Command("GET", f.keyOn((i+1)%4, "x")))
		check(t, b, "RPUSH "+key+" v", ":1")
		if got, want := a.ReadFrame(), redistest.Command(key, "v"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := a.ReadFrame(); got != "$-1\r\n" {
			t.Errorf("behind BLPOP: %q", got)
		}
	}
	check(t, a, "BLPOP {q}1 {q}2 0.02", "*-1")
	check(t, b, "XGROUP CREATE {q}s streams $ MKSTREAM", "+OK")
	for _, wait := range []string{
		"BLMPOP 0 2 {q}8 {q}9 LEFT", "BZPOPMIN {q}z {q}y 0", "XREAD COUNT 1 BLOCK 0 STREAMS {q}s {q}t 0 0",
		"XREADGROUP GROUP streams c BLOCK 0 STREAMS {q}s >", "XREADGROUP COUNT 1 BLOCK 0 GROUP streams block STREAMS {q}s >",
	} {
		f.keepsNobodyWaiting(b, wait)
	}
	// While one client waits, others use the same shard.
	a.Send(redistest.Command("BLPOP", "{q}1", "{q}2", "10"))
	start := time.Now()
	check(t, b, "SET {q}3 x", "+OK", "RPUSH {q}2 y", ":1")
	if got := a.ReadFrame(); got != redistest.Command("{q}2", "y") || time.Since(start) > 5*time.Second {
		t.Errorf("got %q after %v", got, time.Since(start))
	}
}

// keepsNobodyWaiting sends a request that blocks its client, and sees that another one goes on.
func (f *sharded) keepsNobodyWaiting(other *redistest.Client, request string) {
	f.tb.Helper()
	blocked := f.dial()
	blocked.Send(redistest.Command(words(request)...))
	redistest.Eventually(f.tb, 30*time.Second, "the server to block a client", func() error {
		for _, n := range f.nodes {
			if n.Info("blocked_clients") != "0" {
				return nil
			}
		}
		return errors.New("no shard has blocked one")
	})
	if got := other.Do("SET", "{q}other", "x"); got != "+OK\r\n" {
		f.tb.Errorf("%s: another client got %q", request, got)
	}
	blocked.Close()
	redistest.Eventually(f.tb, 30*time.Second, "nobody to be blocked", func() error {
		for _, n := range f.nodes {
			if got := n.Info("blocked_clients"); got != "0" {
				return fmt.Errorf("%s of %s", got, n.Addr())
			}
		}
		return nil
	})
}
