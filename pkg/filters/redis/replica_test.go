package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// replicated is a filter in front of one shard with a primary and two replicas.
type replicated struct {
	*fixture
	nodes     []*redistest.Node // the primary comes first
	endpoints []*filters.Endpoint
}

func replicas(t *testing.T) []*redistest.Node {
	t.Helper()
	primary := redistest.Server(t)
	return []*redistest.Node{
		primary, redistest.Server(t, redistest.WithReplicaOf(primary)), redistest.Server(t, redistest.WithReplicaOf(primary)),
	}
}

func overReplicas(t *testing.T, nodes []*redistest.Node, edit func(*resource.RedisFilter, []*filters.Endpoint)) *replicated {
	t.Helper()
	r := &replicated{nodes: nodes}
	for _, n := range r.nodes {
		r.endpoints = append(r.endpoints, endpointOf(n.Addr(), "s1"))
	}
	cfg := defaults()
	edit(cfg, r.endpoints)
	r.fixture = start(t, cfg, clusterOf("main", filters.Shard{Name: "s1", Primary: r.endpoints[0], Replicas: r.endpoints[1:]}))
	return r
}

// reads counts the GETs that each server has had.
func (r *replicated) reads() (primary, first, second int) {
	return r.nodes[0].Calls("get"), r.nodes[1].Calls("get"), r.nodes[2].Calls("get")
}

func TestReadPolicies(t *testing.T) {
	t.Parallel()
	const n = 60
	nodes := replicas(t)
	nodes[0].Do("SET", "k", "v")
	for _, node := range nodes[1:] {
		redistest.Eventually(t, 10*time.Second, "replication", func() error {
			if got := node.Do("GET", "k"); got != "$1\r\nv\r\n" {
				return fmt.Errorf("got %q", got)
			}
			return nil
		})
	}
	down := func(which ...int) func([]*filters.Endpoint) {
		return func(e []*filters.Endpoint) {
			for _, i := range which {
				e[i].SetHealthy(false)
			}
		}
	}
	zones := func(z ...string) func([]*filters.Endpoint) {
		return func(e []*filters.Endpoint) {
			for i := range z {
				e[i].Zone = z[i]
			}
		}
	}
	for _, tc := range []struct {
		name   string
		policy resource.ReadPolicy
		setUp  func([]*filters.Endpoint)
		want   string // who reads: p, 1, 2, or ! for an error
	}{
		{"Primary", resource.ReadPrimary, nil, "p"},
		{"Primary/primary down", resource.ReadPrimary, down(0), "!"},
		{"PreferPrimary", resource.ReadPreferPrimary, nil, "p"},
		{"PreferPrimary/primary down", resource.ReadPreferPrimary, down(0), "12"},
		{"PreferPrimary/all down", resource.ReadPreferPrimary, down(0, 1, 2), "!"},
		{"Replica", resource.ReadReplica, nil, "12"},
		{"Replica/one down", resource.ReadReplica, down(1), "2"},
		{"Replica/replicas down", resource.ReadReplica, down(1, 2), "!"},
		{"PreferReplica", resource.ReadPreferReplica, nil, "12"},
		{"PreferReplica/one down", resource.ReadPreferReplica, down(2), "1"},
		{"PreferReplica/replicas down", resource.ReadPreferReplica, down(1, 2), "p"},
		{"Any", resource.ReadAny, nil, "p12"},
		{"Any/primary down", resource.ReadAny, down(0), "12"},
		{"Any/replicas down", resource.ReadAny, down(1, 2), "p"},
		{"ZoneAffinity", resource.ReadZoneAffinity, zones("here", "there", "here"), "2"},
		{"ZoneAffinity/none in the zone", resource.ReadZoneAffinity, zones("here", "there", "there"), "12"},
		{"ZoneAffinity/replicas down", resource.ReadZoneAffinity, down(1, 2), "p"},
		{"ZoneAffinityAndPrimary", resource.ReadZoneAffinityAndPrimary, zones("here", "there", "here"), "2"},
		{"ZoneAffinityAndPrimary/primary in the zone", resource.ReadZoneAffinityAndPrimary, zones("here", "there", "there"), "p"},
		{"ZoneAffinityAndPrimary/none in the zone", resource.ReadZoneAffinityAndPrimary, zones("there", "there", "there"), "12"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := overReplicas(t, nodes, func(cfg *resource.RedisFilter, e []*filters.Endpoint) {
				cfg.ReadPolicy = tc.policy
				if tc.setUp != nil {
					tc.setUp(e)
				}
			})
			p0, first0, second0 := r.reads()
			c := r.dial()
			for range n {
				got := c.Do("GET", "k")
				if tc.want == "!" && !strings.HasPrefix(got, "-ERR dragoman: ") || tc.want != "!" && got != "$1\r\nv\r\n" {
					t.Fatalf("got %q", got)
				}
			}
			p, first, second := r.reads()
			got := ""
			for i, calls := range []int{p - p0, first - first0, second - second0} {
				if calls > 0 {
					got += "p12"[i : i+1]
				}
			}
			if want := strings.TrimSuffix(tc.want, "!"); got != want {
				t.Errorf("read by %q, want %q (%d, %d, %d)", got, want, p, first, second)
			}
		})
	}
}

func TestWritesGoToThePrimary(t *testing.T) {
	t.Parallel()
	r := overReplicas(t, replicas(t), func(cfg *resource.RedisFilter, _ []*filters.Endpoint) { cfg.ReadPolicy = resource.ReadReplica })
	c := r.dial()
	for _, request := range []string{
		"SET k 5", "GETEX k PERSIST", "GETSET k 6", "INCR k", "APPEND k 1", "SETRANGE k 0 2", "EXPIRE k 1000", "TOUCH k",
		"XADD x 1-1 f v", "XGROUP CREATE x g 0", "XREADGROUP GROUP g c STREAMS x >", "XCLAIM x g d 0 1-1", "XAUTOCLAIM x g d 0 0",
		"XACK x g 1-1", "SADD s a b", "SPOP s", "SORT s ALPHA STORE l", "GEOADD g 1 1 a", "GEORADIUS g 1 1 1 m STORE h",
		"GEOSEARCHSTORE h g FROMLONLAT 1 1 BYRADIUS 1 m", "ZADD z 1 a", "ZRANGESTORE zz z 0 -1", "BITOP NOT b k", "PFADD p a",
		"PFMERGE q p", "BITFIELD k GET u8 0", "EVAL \"return redis.call('STRLEN',KEYS[1])\" 1 k", "HSCAN h 0", "SSCAN s 0", "ZSCAN z 0",
		"SCAN 0", "LPOP l", "LMPOP 1 l LEFT", "BLPOP l 0.01", "COPY k k2", "RESTORE r 0 x", "UNLINK k2", "OBJECT FREQ k",
		"SINTERSTORE u s s", "PUBLISH ch m", "FLUSHDB", "SET k 5", "DEL k", "MSET a 1 b 2",
		"MULTI", "GET a", "EXEC", "WATCH a", "GET a", "MGET a nope", "UNWATCH",
	} {
		if got := c.Do(words(request)...); strings.Contains(got, "-READONLY") {
			t.Errorf("%s went to a replica", request)
		}
	}
	// A replica has these only if it was asked itself.
	for _, command := range []string{
		"getex", "touch", "hscan", "sscan", "zscan", "scan", "eval", "blpop", "object|freq", "bitfield", "get", "mget", "xreadgroup",
	} {
		if primary, others := r.nodes[0].Calls(command), r.nodes[1].Calls(command)+r.nodes[2].Calls(command); primary == 0 || others > 0 {
			t.Errorf("%s: %d at the primary, %d at replicas", command, primary, others)
		}
	}
}

func TestReadsGoToReplicas(t *testing.T) {
	t.Parallel()
	r := overReplicas(t, replicas(t), func(cfg *resource.RedisFilter, _ []*filters.Endpoint) { cfg.ReadPolicy = resource.ReadReplica })
	c := r.dial()
	check(t, c, "MSET a 1 b 2", "+OK", "HSET h f v", ":1", "SCRIPT LOAD \"return 42\"", "$40 "+sha42)
	redistest.Eventually(t, 5*time.Second, "replication", func() error {
		for range 10 {
			if got := c.Do("EXISTS", "a", "b", "h"); got != ":3\r\n" {
				return fmt.Errorf("got %q", got)
			}
		}
		return nil
	})
	for range 10 {
		check(t, c, "GET a", "$1 1", "MGET a b", "*2 $1 1 $1 2", "HGETALL h", "*2 $1 f $1 v", "STRLEN a", ":1", "TYPE h", "+hash",
			"EVALSHA_RO "+sha42+" 0", ":42", "EVAL_RO \"return redis.call('GET', KEYS[1])\" 1 a", "$1 1", "SORT_RO nope", "*0",
			"XRANGE nope - +", "*0", "OBJECT ENCODING a", "$3 int", "DBSIZE", ":3")
	}
	for _, command := range []string{"mget", "hgetall", "strlen", "type", "evalsha_ro", "eval_ro", "sort_ro", "xrange"} {
		if got := r.nodes[0].Calls(command); got != 0 {
			t.Errorf("the primary had %s %d times", command, got)
		}
	}
}

func TestReadCluster(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cfg := defaults()
	cfg.CatchAll.ReadCluster = "readers"
	f := start(t, cfg, newCluster("main", nodes[0]), newCluster("readers", nodes[1]))
	c := f.dial()
	nodes[1].Do("SET", "k", "theirs")
	check(t, c, "SET k ours", "+OK", "GET k", "$6 theirs", "MGET k k", "*2 $6 theirs $6 theirs", "INCR n", ":1",
		"MULTI", "+OK", "GET k", "+QUEUED", "EXEC", "*1 $4 ours", "WATCH k", "+OK", "GET k", "$4 ours", "UNWATCH", "+OK",
		"HSCAN h 0", "*2 $1 0 *0", "GETEX k", "$4 ours")
	if nodes[1].Calls("hscan")+nodes[1].Calls("incr") > 0 {
		t.Error("the readers had what was not theirs")
	}
}

// Shards on one server may have replicas of their own, which learn scripts, too.
func TestScriptsReachReplicasOfTwins(t *testing.T) {
	t.Parallel()
	nodes := replicas(t)
	cfg := defaults()
	cfg.ReadPolicy = resource.ReadReplica
	var shards []filters.Shard
	for i, name := range []string{"s1", "s2"} {
		shards = append(shards, filters.Shard{
			Name: name, Primary: endpointOf(nodes[0].Addr(), name), Twin: i > 0,
			Replicas: []*filters.Endpoint{endpointOf(nodes[1+i].Addr(), name)},
		})
	}
	c := start(t, cfg, clusterOf("main", shards...)).dial()
	check(t, c, "SCRIPT LOAD \"return 42\"", "$40 "+sha42)
	for i, n := range nodes {
		if got := n.Do("SCRIPT", "EXISTS", sha42); got != "*1\r\n:1\r\n" {
			t.Errorf("server %d: %q", i, got)
		}
		if i == 0 && n.Calls("script|load") != 1 {
			t.Errorf("the primary was asked %d times", n.Calls("script|load"))
		}
	}
}
