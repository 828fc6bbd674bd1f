package upstream

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// spread says where 1000 keys go.
func spread(c filters.Cluster) []string {
	table := c.Table()
	var at []string
	for i := range 1000 {
		if shard := table.Picker.Pick(fmt.Appendf(nil, "key:%d", i)); shard >= 0 {
			at = append(at, table.Shards[shard].Name)
		}
	}
	return at
}

// reference is what the distribution alone says of the same keys.
func reference(names ...string) []string {
	var members []distribution.Member
	for _, n := range names {
		members = append(members, distribution.Member{Name: n, Weight: 1})
	}
	hash, _ := keyhash.Lookup("fnv1a_64")
	ring := distribution.NewKetama(members)
	var at []string
	for i := range 1000 {
		at = append(at, names[ring.Pick(hash(fmt.Appendf(nil, "key:%d", i)))])
	}
	return at
}

func TestAutoEject(t *testing.T) {
	t.Parallel()
	nodes := []*redistest.Node{redistest.Server(t), redistest.Server(t), redistest.Server(t)}
	names := []string{nodes[0].Addr(), nodes[1].Addr(), nodes[2].Addr()}
	s := testSet(t, nil)
	auto := spec("c", at(nodes[0]), at(nodes[1]), at(nodes[2]))
	auto.LB.AutoEject = &resource.AutoEject{Failures: 2, RetryAfter: 300 * time.Millisecond}
	apply(t, s, auto)
	c := running(t, s, "c")
	if diff := cmp.Diff(reference(names...), spread(c)); diff != "" {
		t.Fatalf("all live: -want +got:\n%s", diff)
	}
	e := c.Table().Shards[1].Primary

	c.Report(e, filters.ConnectFailure)
	c.Report(e, filters.Success)
	c.Report(e, filters.ConnectFailure)
	if !e.Healthy() {
		t.Fatal("ejected although the failures are not in a row")
	}
	nodes[1].Kill()
	c.Report(e, filters.ConnectFailure)
	if e.Healthy() {
		t.Fatal("not ejected by two failures in a row")
	}
	ejected := time.Now()
	eventually(t, "the ring without it", func() error { return equal(reference(names[0], names[2]), spread(c)) })
	if len(c.Table().Shards) != 3 {
		t.Error("the shard has left the table")
	}
	// Longer than RetryAfter: a server that is still dead does not come back.
	probes := c.stats.checkFailures.Load()
	eventually(t, "probes", func() error {
		if got := c.stats.checkFailures.Load(); got < probes+5 || time.Since(ejected) < 600*time.Millisecond {
			return errCount(got)
		}
		return nil
	})
	if err := equal(reference(names[0], names[2]), spread(c)); err != nil {
		t.Errorf("while it is dead: %v", err)
	}
	nodes[1].Restart()
	eventually(t, "the ring with all", func() error { return equal(reference(names...), spread(c)) })

	// A server that is well all the time stays away for RetryAfter all the same.
	began, ejections := time.Now(), c.stats.ejections.Load()
	for range 2 {
		c.Report(e, filters.ConnectFailure)
	}
	if got := c.stats.ejections.Load() - ejections; got != 1 {
		t.Errorf("%d ejections by two failures in a row", got)
	}
	eventually(t, "it to come back", health(e, true))
	if away := time.Since(began); away < 300*time.Millisecond {
		t.Errorf("away for %v only", away)
	}
	eventually(t, "the ring with all", func() error { return equal(reference(names...), spread(c)) })

	for _, shard := range c.Table().Shards {
		for range 2 {
			c.Report(shard.Primary, filters.RequestTimeout)
		}
	}
	if got := len(spread(c)); got != 1000 {
		t.Errorf("with none left, %d of 1000 keys have a shard", got)
	}
}

func equal(want, got []string) error {
	if diff := cmp.Diff(want, got); diff != "" {
		return errors.New("other shards")
	}
	return nil
}

// TestDeadShardKeepsItsKeys: without auto_eject_hosts.
func TestDeadShardKeepsItsKeys(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	apply(t, s, spec("c", host("127.0.0.1", 1), host("127.0.0.1", 2)))
	c := running(t, s, "c")
	before := spread(c)
	c.Report(c.Table().Shards[0].Primary, filters.ConnectFailure)
	if c.Table().Shards[0].Primary.Healthy() {
		t.Error("healthy after a failed connect")
	}
	if err := equal(before, spread(c)); err != nil {
		t.Error(err)
	}
}

// TestShardWithoutEndpointsKeepsItsKeys: of an EDS cluster that says which
// shards there are. Their order is its own, whatever that of the endpoints.
func TestShardWithoutEndpointsKeepsItsKeys(t *testing.T) {
	t.Parallel()
	for _, policy := range []resource.LBPolicy{resource.LBKetama, resource.LBModula} {
		s := testSet(t, nil)
		a, b := host("127.0.0.1", 1), host("127.0.0.1", 2)
		a.Name, a.Shard, b.Name, b.Shard = "a", "a", "b", "b"
		c := spec("c", a, b)
		c.LB.Policy, c.Discovery.Type = policy, resource.DiscoverEDS
		c.Redis.Shards = []resource.Shard{{Name: "b", Weight: 1}, {Name: "a", Weight: 3}, {Name: "none", Weight: 1}}
		apply(t, s, c)
		before := spread(running(t, s, "c"))
		alone := *c
		alone.Endpoints = []resource.Endpoint{a}
		apply(t, s, &alone)
		table := running(t, s, "c").Table()
		var names []string
		for i := range table.Shards {
			names = append(names, table.Shards[i].Name)
		}
		if err := equal([]string{"b", "a", "none"}, names); err != nil {
			t.Errorf("%s: %v", policy, names)
		}
		if table.Shards[0].Primary != nil || table.Shards[1].Primary == nil {
			t.Errorf("%s: endpoints in the wrong shards", policy)
		}
		if err := equal(before, spread(running(t, s, "c"))); err != nil {
			t.Errorf("%s: %v", policy, err)
		}
	}
}

// TestHashedNames pins what is hashed for an endpoint.
func TestHashedNames(t *testing.T) {
	t.Parallel()
	named, memcached, sock := host("127.0.0.1", 1), host("10.0.0.2", 11211), resource.Endpoint{Path: "/run/r.sock", Weight: 1}
	named.Name = "cache-1"
	replica, primary := host("10.0.0.3", 3), host("10.0.0.4", 4)
	replica.Shard, replica.Role = "s", resource.RoleReplica
	primary.Shard, primary.Role = "s", resource.RolePrimary
	endpoints := []resource.Endpoint{named, memcached, sock, replica, primary, host("::1", 5)}
	tests := []struct {
		policy resource.LBPolicy
		want   string
	}{
		{resource.LBKetama, "cache-1|cache-1 10.0.0.2:11211|10.0.0.2 /run/r.sock|/run/r.sock: s|10.0.0.4:4 [::1]:5|::1:5"},
		{resource.LBMaglev, "cache-1|cache-1 10.0.0.2:11211|10.0.0.2:11211 /run/r.sock|/run/r.sock s|10.0.0.4:4 [::1]:5|[::1]:5"},
	}
	for _, tc := range tests {
		s := testSet(t, nil)
		c := spec("c", endpoints...)
		c.LB = resource.LoadBalancing{Policy: tc.policy, Hash: "murmur", TableSize: 65537}
		apply(t, s, c)
		var got []string
		for _, sh := range running(t, s, "c").currentLayout().shards {
			got = append(got, sh.name+"|"+sh.hashKey)
		}
		if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.policy, diff)
		}
	}
}

func TestOneServerIsNotHashed(t *testing.T) {
	t.Parallel()
	for _, policy := range []resource.LBPolicy{
		resource.LBKetama, resource.LBModula, resource.LBTwemRandom, resource.LBRingHash, resource.LBMaglev, resource.LBRoundRobin, resource.LBSlots,
	} {
		s := testSet(t, nil)
		c := spec("c", host("127.0.0.1", 1))
		c.LB = resource.LoadBalancing{Policy: policy, Hash: "crc16", TableSize: 65537, MinRing: 1, MaxRing: 1024}
		apply(t, s, c)
		if p := running(t, s, "c").Table().Picker; p != nil {
			t.Errorf("%s: picker %v", policy, p)
		}
	}
}

func TestRotating(t *testing.T) {
	t.Parallel()
	heavy, spare := host("127.0.0.1", 2), host("127.0.0.1", 3)
	heavy.Weight, spare.Priority = 3, 1
	s := testSet(t, nil)
	c := spec("c", host("127.0.0.1", 1), heavy, spare)
	c.LB = resource.LoadBalancing{Policy: resource.LBRoundRobin}
	c.ConnectTimeout = time.Second
	apply(t, s, c)
	table := running(t, s, "c").Table()
	counts := func() string {
		n := make([]int, len(table.Shards))
		for range 400 {
			n[table.Picker.Pick(nil)]++
		}
		return fmt.Sprint(n)
	}
	if got, want := counts(), "[100 300 0]"; got != want {
		t.Errorf("by weight: %s, want %s", got, want)
	}
	table.Shards[0].Primary.SetHealthy(false)
	if got, want := counts(), "[0 400 0]"; got != want {
		t.Errorf("one is down: %s, want %s", got, want)
	}
	table.Shards[1].Primary.SetHealthy(false)
	if got, want := counts(), "[0 0 400]"; got != want {
		t.Errorf("first priority is down: %s, want %s", got, want)
	}
	table.Shards[2].Primary.SetHealthy(false)
	if got, want := counts(), "[100 300 0]"; got != want {
		t.Errorf("all are down: %s, want %s", got, want)
	}
}
