package upstream

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func errCount(n uint64) error { return fmt.Errorf("%d so far", n) }

// pair is a shard of two servers whose roles are probed.
func pair(a, b *redistest.Node) *resource.Cluster {
	one, two := at(a), at(b)
	one.Shard, two.Shard = "s1", "s1"
	c := spec("c", one, two)
	c.Redis.ProbeRole = true
	return c
}

func TestRolesAreProbed(t *testing.T) {
	t.Parallel()
	a := redistest.Server(t)
	b := redistest.Server(t, redistest.WithReplicaOf(a))
	s := testSet(t, nil)
	apply(t, s, pair(b, a)) // the replica comes first
	c := running(t, s, "c")
	if err := shaped(c, "s1="+a.Addr()+"+"+b.Addr())(); err != nil {
		t.Errorf("as soon as it is warm: %v", err)
	}
	if v := s.Snapshot()[0].Endpoints[1]; v.LastRole != "replica" || v.LastRoleProbe.IsZero() {
		t.Errorf("view of the replica: %+v", v)
	}
	before := c.Table()

	swap(t, b, a)
	c.Refresh("READONLY") // as a filter does
	asked := time.Now()
	eventually(t, "the swap to be seen", shaped(c, "s1="+b.Addr()+"+"+a.Addr()))
	t.Logf("swap seen %v after READONLY", time.Since(asked))

	after := c.Table()
	if after.Version <= before.Version {
		t.Errorf("version %d after %d", after.Version, before.Version)
	}
	if after.Shards[0].Primary != before.Shards[0].Replicas[0] || after.Shards[0].Replicas[0] != before.Shards[0].Primary {
		t.Error("endpoints are others than before")
	}

	swap(t, a, b) // nobody says anything
	eventually(t, "the swap back to be seen", shaped(c, "s1="+a.Addr()+"+"+b.Addr()))
}

// swap makes to the primary of from.
func swap(t *testing.T, to, from *redistest.Node) {
	t.Helper()
	to.Do("REPLICAOF", "NO", "ONE")
	from.Do("REPLICAOF", "127.0.0.1", fmt.Sprint(to.Port()))
	eventually(t, "replication", func() error {
		if from.Info("master_link_status") != "up" {
			return errors.New("link is down")
		}
		return nil
	})
}

func TestPromotedReplicaTakesOver(t *testing.T) {
	t.Parallel()
	a := redistest.Server(t)
	b := redistest.Server(t, redistest.WithReplicaOf(a))
	s := testSet(t, nil)
	apply(t, s, pair(a, b))
	c := running(t, s, "c")
	a.Kill()
	c.Report(c.Table().Shards[0].Primary, filters.ConnectFailure)
	if p := c.Table().Shards[0].Primary; p == nil || p.Healthy() {
		t.Errorf("primary after its death: %+v, want it there and unhealthy", p)
	}
	b.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "the promoted replica", shaped(c, "s1="+b.Addr()+"+"+a.Addr()))
	a.Restart() // says that it is a primary, as before
	eventually(t, "the old primary to answer", health(c.Table().Shards[0].Replicas[0], true))
	if err := shaped(c, "s1="+b.Addr()+"+"+a.Addr())(); err != nil {
		t.Errorf("after the old primary came back: %v", err)
	}
}

// patientPair is a primary with its replica, of which each may miss any number of probes
// and is not ejected for that.
func patientPair(t *testing.T) (a, b *redistest.Node, c *cluster) {
	t.Helper()
	a, b = redistest.Server(t), redistest.Server(t)
	swap(t, a, b)
	spec := pair(a, b)
	spec.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckRedis, Interval: 100 * time.Millisecond, Timeout: 200 * time.Millisecond,
		UnhealthyThreshold: 1000, HealthyThreshold: 1,
	}
	s := testSet(t, nil)
	apply(t, s, spec)
	c = running(t, s, "c")
	eventually(t, "the first to be the primary", shaped(c, "s1="+a.Addr()+"+"+b.Addr()))
	return a, b, c
}

// TestFrozenPrimaryIsReplaced: a replica of Redis calls itself a primary only when it has
// been promoted, so it takes over before the old one's health check has failed.
func TestFrozenPrimaryIsReplaced(t *testing.T) {
	t.Parallel()
	a, b, c := patientPair(t)
	a.Freeze()
	b.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "the promoted replica", shaped(c, "s1="+b.Addr()+"+"+a.Addr()))
}

// TestOldPrimaryComesBackAtAMissedProbe: one that was not promoted takes nothing over
// while the primary is not out of use: what was written meanwhile would be lost.
func TestOldPrimaryComesBackAtAMissedProbe(t *testing.T) {
	t.Parallel()
	a, b, c := patientPair(t)
	a.Kill()
	b.Do("REPLICAOF", "NO", "ONE")
	eventually(t, "the promoted replica", shaped(c, "s1="+b.Addr()+"+"+a.Addr()))
	b.Freeze()
	said := func(fresh bool, n *redistest.Node) func() error {
		return func() error {
			c.mu.Lock()
			defer c.mu.Unlock()
			for key, m := range c.members {
				if claim := m.currentClaim(); key.address == n.Addr() && (claim.fresh != fresh || !claim.Primary) {
					return fmt.Errorf("%s: %+v", key.address, claim)
				}
			}
			return nil
		}
	}
	eventually(t, "a probe to be missed", said(false, b))
	a.Restart()
	eventually(t, "the old primary to answer", said(true, a))
	if err := shaped(c, "s1="+b.Addr()+"+"+a.Addr())(); err != nil {
		t.Errorf("after the old primary came back: %v", err)
	}
	b.Thaw()
	eventually(t, "the primary to answer", said(true, b))
	if err := shaped(c, "s1="+b.Addr()+"+"+a.Addr())(); err != nil {
		t.Errorf("when both answer: %v", err)
	}
}

// TestReplicaRestartedAsPrimaryAtAMissedProbe: one that was started again without its
// primary's address, and without data, was not promoted.
func TestReplicaRestartedAsPrimaryAtAMissedProbe(t *testing.T) {
	t.Parallel()
	a, b, c := patientPair(t)
	a.Do("SET", "k", "v")
	claimOf := func(n *redistest.Node) (of claim) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for key, m := range c.members {
			if key.address == n.Addr() {
				of = m.currentClaim()
			}
		}
		return of
	}
	eventually(t, "replication to be seen", func() error {
		if got := claimOf(b); got.Primary || got.Offset <= 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	a.Freeze()
	eventually(t, "a probe to be missed", func() error {
		if claimOf(a).fresh {
			return errors.New("not yet")
		}
		return nil
	})
	b.Restart() // empty, and a primary
	eventually(t, "the other to call itself a primary", func() error {
		if got := claimOf(b); !got.Primary || !got.fresh {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	if err := shaped(c, "s1="+a.Addr()+"+"+b.Addr())(); err != nil {
		t.Error(err)
	}
	a.Thaw()
	eventually(t, "the primary to answer", health(c.Table().Shards[0].Primary, true))
	if err := shaped(c, "s1="+a.Addr()+"+"+b.Addr())(); err != nil {
		t.Error(err)
	}
}

func TestRoleProbeNoticesDeath(t *testing.T) {
	t.Parallel()
	a := redistest.Server(t)
	b := redistest.Server(t, redistest.WithReplicaOf(a))
	s := testSet(t, nil)
	apply(t, s, pair(a, b))
	replica := running(t, s, "c").Table().Shards[0].Replicas[0]
	b.Freeze()
	eventually(t, "the frozen replica to be noticed without a request", health(replica, false))
	b.Thaw()
	eventually(t, "the thawed replica", health(replica, true))
}

func TestConfiguredRoles(t *testing.T) {
	t.Parallel()
	endpoint := func(port int, shard string, role resource.Role) resource.Endpoint {
		e := host("127.0.0.1", port)
		e.Shard, e.Role = shard, role
		return e
	}
	s := testSet(t, nil)
	apply(t, s, spec("c",
		endpoint(1, "b", resource.RoleReplica), endpoint(2, "b", resource.RolePrimary),
		endpoint(3, "a", resource.RoleUnknown), endpoint(4, "a", resource.RoleUnknown),
		endpoint(5, "r", resource.RoleReplica), endpoint(6, "", resource.RoleUnknown)))
	want := "b=127.0.0.1:2+127.0.0.1:1 a=127.0.0.1:3+127.0.0.1:4 r=+127.0.0.1:5 127.0.0.1:6=127.0.0.1:6"
	if err := shaped(running(t, s, "c"), want)(); err != nil {
		t.Error(err)
	}
}
