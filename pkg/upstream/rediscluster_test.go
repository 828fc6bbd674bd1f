package upstream

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/topology"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func clusterSpec(seeds ...resource.Endpoint) *resource.Cluster {
	c := spec("rc", seeds...)
	c.LB = resource.LoadBalancing{Policy: resource.LBSlots, Hash: resource.HashCRC16}
	c.Discovery = resource.Discovery{
		Type: resource.DiscoverRedisCluster,
		RedisCluster: resource.RedisClusterDiscovery{
			RefreshRate: 5 * time.Second, RefreshTimeout: 10 * time.Second, RedirectThreshold: 1,
		},
	}
	return c
}

// agrees compares a table with what the cluster's nodes say.
func agrees(rc *redistest.RedisCluster, table *filters.Table) error {
	if table.Slots == nil {
		return errors.New("no slots")
	}
	for slot := 0; slot < topology.Slots; slot += 100 {
		owner, at := rc.Owner(slot), table.Slots[slot]
		if owner == nil || at < 0 {
			return fmt.Errorf("slot %d: owner %v, shard %d", slot, owner, at)
		}
		shard := table.Shards[at]
		if shard.Primary == nil || shard.Primary.Address != owner.Addr() {
			return fmt.Errorf("slot %d: shard %+v, want primary %s", slot, shard, owner.Addr())
		}
	}
	for _, shard := range table.Shards {
		if len(shard.Replicas) != 1 {
			return fmt.Errorf("shard %s has %d replicas", shard.Name, len(shard.Replicas))
		}
	}
	return nil
}

func endpoints(table *filters.Table) map[string]*filters.Endpoint {
	m := make(map[string]*filters.Endpoint)
	for _, s := range table.Shards {
		if s.Primary != nil {
			m[s.Primary.Address] = s.Primary
		}
		for _, r := range s.Replicas {
			m[r.Address] = r
		}
	}
	return m
}

// owner is the primary that a table has for a slot, nil if none.
func owner(table *filters.Table, slot int) *filters.Endpoint {
	if table.Slots == nil || table.Slots[slot] < 0 {
		return nil
	}
	return table.Shards[table.Slots[slot]].Primary
}

func TestRedisCluster(t *testing.T) {
	t.Parallel()
	rc := redistest.Cluster(t, 3, 1)
	s := testSet(t, nil)
	apply(t, s, clusterSpec(host("127.0.0.1", 1), at(rc.Nodes()[5]))) // the first seed is dead
	c := running(t, s, "rc")
	before := c.Table()
	if err := agrees(rc, before); err != nil {
		t.Fatalf("as soon as it is warm: %v", err)
	}
	if before.Picker != nil {
		t.Error("a Redis Cluster has a picker")
	}

	t.Run("failover by an operator", func(t *testing.T) {
		replica := rc.Replicas(rc.Nodes()[0])[0]
		rc.Failover(replica)
		c.Refresh("MOVED 0 " + replica.Addr())
		began := time.Now()
		eventually(t, "the new topology", func() error {
			if p := owner(c.Table(), 0); p == nil || p.Address != replica.Addr() {
				return fmt.Errorf("slot 0 is at %+v", p)
			}
			return nil
		})
		t.Logf("seen %v after MOVED", time.Since(began))
		var after *filters.Table
		eventually(t, "all of it", func() error {
			c.Refresh("test")
			after = c.Table()
			return agrees(rc, after)
		})
		if diff := cmp.Diff(endpoints(before), endpoints(after), cmp.Comparer(func(a, b *filters.Endpoint) bool { return a == b })); diff != "" {
			t.Errorf("endpoints changed:\n%s", diff)
		}
		for i := range before.Shards {
			if before.Shards[i].Name != after.Shards[i].Name {
				t.Errorf("shard %d is called %s, was %s", i, after.Shards[i].Name, before.Shards[i].Name)
			}
		}
	})

	t.Run("death of a primary", func(t *testing.T) {
		dead := rc.Owner(16383)
		e := endpoints(c.Table())[dead.Addr()]
		dead.Kill()
		c.Report(e, filters.ConnectFailure)
		if e.Healthy() {
			t.Error("healthy after a failed connect")
		}
		died := time.Now()
		eventually(t, "a replica in its place", func() error {
			if p := owner(c.Table(), 16383); p == nil || p.Address == dead.Addr() || !p.Healthy() {
				return fmt.Errorf("primary %+v", p)
			}
			return nil
		})
		t.Logf("replaced %v after its death (node timeout 2 s)", time.Since(died))
		dead.Restart()
		eventually(t, "it to come back as a replica", func() error {
			e, ok := endpoints(c.Table())[dead.Addr()]
			if !ok || !e.Healthy() {
				return errors.New("not there")
			}
			return agrees(rc, c.Table())
		})
	})

	t.Run("every endpoint frozen but one", func(t *testing.T) {
		nodes := rc.Nodes()
		for _, n := range nodes[1:] {
			n.Freeze()
			defer n.Thaw()
		}
		refreshes, failures := c.stats.refreshes.Load(), c.stats.refreshFailures.Load()
		c.Refresh("CLUSTERDOWN")
		eventually(t, "an answer from the one", func() error {
			if c.stats.refreshes.Load() == refreshes {
				return errors.New("none yet")
			}
			return nil
		})
		if got := c.stats.refreshFailures.Load(); got != failures {
			t.Errorf("%d queries failed", got-failures)
		}
	})
}

func TestRedisClusterIsNotThereYet(t *testing.T) {
	t.Parallel()
	alone := redistest.Server(t)
	s := testSet(t, nil)
	began := time.Now()
	apply(t, s, clusterSpec(at(alone)), spec("other", at(alone)))
	t.Logf("warm after %v", time.Since(began))
	c := running(t, s, "rc")
	if n := len(c.Table().Shards); n != 0 {
		t.Errorf("%d shards", n)
	}
	if v := s.Snapshot(); v[1].LastError == "" {
		t.Errorf("no error in the view: %+v", v[1])
	}
}

// TestShardNames pins that a shard keeps its name, and so its endpoints, through
// changes of its primary.
func TestShardNames(t *testing.T) {
	t.Parallel()
	node := func(port int) topology.Node { return topology.Node{Host: "10.0.0.1", Port: port} }
	shard := func(primary int, replicas ...int) topology.Shard {
		s := topology.Shard{Primary: node(primary)}
		for _, r := range replicas {
			s.Replicas = append(s.Replicas, node(r))
		}
		return s
	}
	d := &redisCluster{names: map[string]string{
		"10.0.0.1:1": "A", "10.0.0.1:2": "A", "10.0.0.1:3": "B", "10.0.0.1:4": "B", "10.0.0.1:9": "10.0.0.1:5",
	}}
	tests := []struct {
		name string
		in   []topology.Shard
		want []string
	}{
		{"as before", []topology.Shard{shard(1, 2), shard(3, 4)}, []string{"A", "B"}},
		{"replica took over", []topology.Shard{shard(2, 1), shard(3, 4)}, []string{"A", "B"}},
		{"primary is new, replica is known", []topology.Shard{shard(7, 2), shard(3)}, []string{"A", "B"}},
		{"replica moved to another shard", []topology.Shard{shard(1), shard(3, 2, 4)}, []string{"A", "B"}},
		{"replica moved to a new shard", []topology.Shard{shard(5, 2), shard(1), shard(3, 4)}, []string{"10.0.0.1:5", "A", "B"}},
		{"name is taken", []topology.Shard{shard(9), shard(5)}, []string{"10.0.0.1:5", "10.0.0.1:5#2"}},
	}
	for _, tc := range tests {
		if diff := cmp.Diff(tc.want, d.nameShards(tc.in)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.name, diff)
		}
	}
}
