package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// sharded is four shards with one replica each, behind one port.
type sharded struct {
	groups [][]*redistest.Node
	addr   string
}

func startSharded(t *testing.T, redis string) sharded {
	t.Helper()
	s := sharded{groups: startShards(t, 4, 1)}
	m := mesh{port: redistest.Port(t), redis: redis, env: shards(s.groups...)}
	startProxy(t, m.YAML())
	s.addr = m.Addr()
	return s
}

// calls counts, per shard, how often the node at index i of each group has executed a command.
func (s sharded) calls(i int, command string) []int {
	var calls []int
	for _, group := range s.groups {
		calls = append(calls, group[i].Calls(command))
	}
	return calls
}

func sum(numbers []int) int {
	total := 0
	for _, n := range numbers {
		total += n
	}
	return total
}

// TestShardedCommands is one logical Redis made of four: every line is what one server would answer.
func TestShardedCommands(t *testing.T) {
	t.Parallel()
	// md5 spreads keys that differ in their last character; fnv1a_64, the default, keeps many of them together.
	s := startSharded(t, `hashTag: "{}", hash: md5`)
	c := redistest.Dial(t, s.addr)
	var mset, mget, keys []string
	wantMGet := "*41\r\n"
	for i := range 40 {
		key := fmt.Sprintf("key:%02d", i)
		keys = append(keys, key)
		mset = append(mset, key, strconv.Itoa(i))
		wantMGet += fmt.Sprintf("$%d\r\n%d\r\n", len(strconv.Itoa(i)), i)
	}
	mget = append(append(mget, keys...), "missing")
	wantMGet += "$-1\r\n"
	tests := []struct {
		command []string
		want    string
	}{
		{append([]string{"MSET"}, mset...), "+OK\r\n"},
		{append([]string{"MGET"}, mget...), wantMGet},
		{[]string{"DBSIZE"}, ":40\r\n"},
		{append([]string{"EXISTS", "missing"}, keys...), ":40\r\n"},
		{append([]string{"TOUCH"}, keys...), ":40\r\n"},
		{append([]string{"UNLINK"}, keys[:10]...), ":10\r\n"},
		{append([]string{"DEL"}, keys[:20]...), ":10\r\n"},
		{[]string{"DBSIZE"}, ":20\r\n"},
		{[]string{"MSET", "a", "1", "b"}, "-ERR wrong number of arguments for 'mset' command\r\n"},
		{[]string{"RENAME", "key:30", "{key:30}new"}, "+OK\r\n"},
		{[]string{"SUNION", "{x}1", "{x}2"}, "*0\r\n"},
		{[]string{"CONFIG", "SET", "maxmemory-policy", "allkeys-lfu"}, "+OK\r\n"},
		{[]string{"NOSUCH", "a"}, "-ERR unknown command 'NOSUCH', with args beginning with: 'a' \r\n"},
		{[]string{"CLIENT", "SETNAME", "app"}, "+OK\r\n"},
		{[]string{"CLIENT", "GETNAME"}, "$3\r\napp\r\n"},
		{[]string{"FLUSHALL"}, "+OK\r\n"},
		{[]string{"DBSIZE"}, ":0\r\n"},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, c.Do(tt.command...)); diff != "" {
			t.Errorf("%.80q (-want +got):\n%s", tt.command, diff)
		}
	}
	for _, group := range s.groups {
		if got := group[0].Do("CONFIG", "GET", "maxmemory-policy"); !strings.Contains(got, "allkeys-lfu") {
			t.Errorf("CONFIG SET did not reach %s: %q", group[0].Addr(), got)
		}
	}
	// One MGET per shard, not one GET per key.
	if got := s.calls(0, "mget"); !slices.Equal(got, []int{1, 1, 1, 1}) {
		t.Errorf("MGETs per shard: got %v, want one each", got)
	}
	if got := sum(s.calls(0, "get")); got != 0 {
		t.Errorf("GETs: got %d, want 0", got)
	}
}

// TestShardedCrossSlot: what can't be split and merged without a lie is refused, and nothing else happens.
func TestShardedCrossSlot(t *testing.T) {
	t.Parallel()
	s := startSharded(t, "")
	c := redistest.Dial(t, s.addr)
	near, far := twoShards(t, s, c)
	for _, command := range [][]string{
		{"RENAME", near, far},
		{"SUNION", near, far},
		{"BITOP", "AND", near, near, far},
		{"MSETNX", near, "1", far, "2"},
		{"LMOVE", near, far, "LEFT", "LEFT"},
		{"SINTERSTORE", near, near, far},
		{"EVAL", "return 1", "2", near, far},
		{"PFCOUNT", near, far},
		{"BLPOP", near, far, "1"},
		{"XREAD", "STREAMS", near, far, "0", "0"},
		{"ZUNION", "2", near, far},
		{"COPY", near, far},
	} {
		if got := c.Do(command...); !strings.HasPrefix(got, "-CROSSSLOT ") {
			t.Errorf("%q: got %q, want -CROSSSLOT", command, got)
		}
	}
	if got := c.Do("GET", near); got != "$4\r\nnear\r\n" {
		t.Errorf("GET afterwards: got %q", got)
	}
	c.Do("MULTI")
	if got := c.Do("SET", near, "1"); got != "+QUEUED\r\n" {
		t.Errorf("SET in MULTI: got %q", got)
	}
	if got := c.Do("SET", far, "1"); !strings.HasPrefix(got, "-CROSSSLOT ") {
		t.Errorf("SET of the other shard in MULTI: got %q", got)
	}
	if got := c.Do("EXEC"); !strings.HasPrefix(got, "-EXECABORT ") {
		t.Errorf("EXEC: got %q, want -EXECABORT", got)
	}
	if got := c.Do("GET", near); got != "$4\r\nnear\r\n" {
		t.Errorf("GET after the aborted transaction: got %q", got)
	}
}

// twoShards sets two keys that live on different shards and returns them.
func twoShards(t *testing.T, s sharded, c *redistest.Client) (near, far string) {
	t.Helper()
	home := func(key string) int {
		return slices.IndexFunc(s.groups, func(g []*redistest.Node) bool { return g[0].Do("EXISTS", key) == ":1\r\n" })
	}
	c.Do("SET", "near", "near")
	for i := range 100 {
		far = fmt.Sprint("far", i)
		c.Do("SET", far, "far")
		if home(far) != home("near") {
			return "near", far
		}
	}
	t.Fatal("all keys are on one shard")
	return "", ""
}

// TestShardedScan walks all shards with one numeric cursor, and finds every key that was there all the time.
func TestShardedScan(t *testing.T) {
	t.Parallel()
	s := startSharded(t, "")
	c := redistest.Dial(t, s.addr)
	for i := range 500 {
		c.Do("SET", fmt.Sprint("k", i), "v")
	}
	seen := make(map[string]bool)
	cursor, rounds := "0", 0
	for {
		lines := strings.Split(c.Do("SCAN", cursor, "COUNT", "50"), "\r\n")
		cursor = lines[2]
		if _, err := strconv.ParseUint(cursor, 10, 64); err != nil {
			t.Fatalf("cursor %q is no 64-bit number: clients parse it as one", cursor)
		}
		for i := 5; i < len(lines); i += 2 {
			seen[lines[i]] = true
		}
		if rounds++; cursor == "0" || rounds > 1000 {
			break
		}
	}
	if len(seen) != 500 {
		t.Errorf("SCAN found %d of 500 keys in %d rounds", len(seen), rounds)
	}
	for _, bad := range []string{"x", "-1", "99999999999999999999"} {
		if got := c.Do("SCAN", bad); got != "-ERR invalid cursor\r\n" {
			t.Errorf("SCAN %s: got %q", bad, got)
		}
	}
}

// TestShardedReadPolicy: PreferReplica sends reads to replicas and writes to primaries, and reads survive a replica's death.
func TestShardedReadPolicy(t *testing.T) {
	t.Parallel()
	s := startSharded(t, "readPolicy: PreferReplica")
	c := redistest.Dial(t, s.addr)
	for i := range 100 {
		c.Do("SET", fmt.Sprint("k", i), strconv.Itoa(i))
	}
	for _, group := range s.groups {
		group[0].Do("WAIT", "1", "5000")
		redistest.Eventually(t, 10*time.Second, "replication", func() error {
			if primary, replica := group[0].Info("master_repl_offset"), group[1].Info("slave_repl_offset"); primary != replica {
				return fmt.Errorf("offset %s of %s", replica, primary)
			}
			return nil
		})
	}
	read := func() {
		t.Helper()
		for i := range 100 {
			want := fmt.Sprintf("$%d\r\n%d\r\n", len(strconv.Itoa(i)), i)
			if got := c.Do("GET", fmt.Sprint("k", i)); got != want {
				t.Errorf("GET k%d: got %q, want %q", i, got, want)
			}
		}
	}
	read()
	if primaries, replicas := sum(s.calls(0, "get")), sum(s.calls(1, "get")); primaries != 0 || replicas != 100 {
		t.Errorf("reads: %d at primaries, %d at replicas, want 0 and 100", primaries, replicas)
	}
	s.groups[0][1].Kill()
	// Until the proxy has noticed, a read may fail once.
	redistest.Eventually(t, 20*time.Second, "reads without the killed replica", func() error {
		for i := range 100 {
			if reply := c.Do("GET", fmt.Sprint("k", i)); reply[0] != '$' {
				return fmt.Errorf("GET k%d: %q", i, reply)
			}
		}
		return nil
	})
	read()
}

// TestShardedDatabases: SELECT is the client's own, whoever else uses the same upstream connections.
func TestShardedDatabases(t *testing.T) {
	t.Parallel()
	s := startSharded(t, "")
	zero, one := redistest.Dial(t, s.addr), redistest.Dial(t, s.addr)
	if got := one.Do("SELECT", "1"); got != "+OK\r\n" {
		t.Fatalf("SELECT: got %q", got)
	}
	for i := range 50 {
		key := fmt.Sprint("k", i)
		zero.Send(redistest.Command("SET", key, "zero"))
		one.Send(redistest.Command("SET", key, "one"))
		if a, b := zero.ReadFrame(), one.ReadFrame(); a != "+OK\r\n" || b != "+OK\r\n" {
			t.Fatalf("SET %s: got %q and %q", key, a, b)
		}
	}
	for i := range 50 {
		key := fmt.Sprint("k", i)
		if got := zero.Do("GET", key); got != "$4\r\nzero\r\n" {
			t.Errorf("GET %s in database 0: got %q", key, got)
		}
		if got := one.Do("GET", key); got != "$3\r\none\r\n" {
			t.Errorf("GET %s in database 1: got %q", key, got)
		}
	}
	if got := one.Do("FLUSHDB"); got != "+OK\r\n" {
		t.Errorf("FLUSHDB: got %q", got)
	}
	if got := zero.Do("DBSIZE"); got != ":50\r\n" {
		t.Errorf("DBSIZE of database 0 after FLUSHDB of database 1: got %q", got)
	}
	if got := redisCLI(t, s.addr, "", "-n", "1", "dbsize"); got != "0\n" {
		t.Errorf("redis-cli -n 1 dbsize: got %q", got)
	}
}

// TestShardedProtocols: each client has the protocol that it asked for, also for replies that are merged, on shared upstream connections.
func TestShardedProtocols(t *testing.T) {
	t.Parallel()
	s := startSharded(t, "")
	two, three := redistest.Dial(t, s.addr), redistest.Dial(t, s.addr)
	if got := three.Do("HELLO", "3", "SETNAME", "app"); !strings.HasPrefix(got, "%") || !strings.Contains(got, "proto\r\n:3\r\n") {
		t.Fatalf("HELLO 3: got %q", got)
	}
	two.Do("HSET", "h", "f", "v")
	two.Do("ZADD", "z", "1.5", "m")
	tests := []struct {
		command     []string
		resp2, want string
	}{
		{[]string{"HGETALL", "h"}, "*2\r\n$1\r\nf\r\n$1\r\nv\r\n", "%1\r\n$1\r\nf\r\n$1\r\nv\r\n"},
		{[]string{"ZSCORE", "z", "m"}, "$3\r\n1.5\r\n", ",1.5\r\n"},
		{[]string{"GET", "missing"}, "$-1\r\n", "_\r\n"},
		{[]string{"MGET", "missing", "nothing"}, "*2\r\n$-1\r\n$-1\r\n", "*2\r\n_\r\n_\r\n"},
		{[]string{"CONFIG", "GET", "maxmemory"}, "*2\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n", "%1\r\n$9\r\nmaxmemory\r\n$1\r\n0\r\n"},
	}
	for _, tt := range tests {
		for range 3 {
			if got := two.Do(tt.command...); got != tt.resp2 {
				t.Errorf("RESP2 %q: got %q, want %q", tt.command, got, tt.resp2)
			}
			if got := three.Do(tt.command...); got != tt.want {
				t.Errorf("RESP3 %q: got %q, want %q", tt.command, got, tt.want)
			}
		}
	}
	three.Do("SUBSCRIBE", "news")
	if got := two.Do("PUBLISH", "news", "hello"); got != ":1\r\n" {
		t.Errorf("PUBLISH: got %q", got)
	}
	if got, want := three.ReadFrame(), ">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"; got != want {
		t.Errorf("push message: got %q, want %q", got, want)
	}
	if got, want := three.Do("HGETALL", "h"), "%1\r\n$1\r\nf\r\n$1\r\nv\r\n"; got != want {
		t.Errorf("a RESP3 subscriber's HGETALL: got %q, want %q", got, want)
	}
}

// TestUpstreamSecurity: the app speaks plain text without a password; the shards want TLS, a certificate and an ACL user.
func TestUpstreamSecurity(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	groups := startShards(t, 2, 0, redistest.WithTLS(pki), redistest.WithConfig("tls-auth-clients yes"),
		redistest.WithUser("app", "secret", "~* &* +@all"), redistest.WithoutDefaultUser())
	passwordFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(passwordFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := mesh{port: redistest.Port(t), env: shards(groups...) + fmt.Sprintf(
		`, credentials: {username: app, passwordFile: %q}, tls: {mode: verify-full, caFile: %q, certFile: %q, keyFile: %q}`,
		passwordFile, pki.CAFile, pki.ClientCertFile, pki.ClientKeyFile)}
	startProxy(t, m.YAML())
	c := redistest.Dial(t, m.Addr())
	for i := range 20 {
		if got := c.Do("SET", fmt.Sprint("k", i), "v"); got != "+OK\r\n" {
			t.Errorf("SET: got %q", got)
		}
	}
	c.Do("SELECT", "3")
	if got := c.Do("SET", "k", "v"); got != "+OK\r\n" {
		t.Errorf("SET in database 3: got %q", got)
	}
	// A connection that breaks is made anew with everything that belongs to it.
	for _, group := range groups {
		group[0].Do("CLIENT", "KILL", "TYPE", "normal")
	}
	redistest.Eventually(t, 10*time.Second, "new connections", func() error {
		if got := c.Do("GET", "k"); got != "$1\r\nv\r\n" {
			return fmt.Errorf("GET: %q", got)
		}
		return nil
	})
}
