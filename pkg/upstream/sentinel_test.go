package upstream

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func sentinelSpec(sentinels []*redistest.Node, masters ...string) *resource.Cluster {
	var seeds []resource.Endpoint
	for _, n := range sentinels {
		seeds = append(seeds, at(n))
	}
	c := spec("sentinel", seeds...)
	c.Discovery = resource.Discovery{
		Type:     resource.DiscoverSentinel,
		Sentinel: resource.SentinelDiscovery{Masters: masters, RefreshRate: 10 * time.Second},
	}
	return c
}

func TestSentinel(t *testing.T) {
	t.Parallel()
	sentinels := redistest.Sentinel(t, []string{"m1", "m2"}, 3)
	s := testSet(t, nil)
	apply(t, s, sentinelSpec(sentinels.Nodes(), "m2", "m1"))
	c := running(t, s, "sentinel")
	m1, m2 := sentinels.Servers("m1"), sentinels.Servers("m2")
	want := fmt.Sprintf("m2=%s+%s m1=%s+%s", m2[0].Addr(), m2[1].Addr(), m1[0].Addr(), m1[1].Addr())
	if err := shaped(c, want)(); err != nil {
		t.Fatalf("as soon as it is warm: %v", err)
	}
	if c.Table().Picker == nil {
		t.Error("two shards without a picker")
	}
	old := endpoints(c.Table())

	t.Run("death of a primary", func(t *testing.T) {
		dead := m1[0]
		e := old[dead.Addr()]
		dead.Kill()
		c.Report(e, filters.ConnectFailure)
		died := time.Now()
		redistest.Eventually(t, 6*patience, "the new primary", func() error { // as long as WaitFailover waits
			p := c.Table().Shards[1].Primary
			if p == nil || p.Address != m1[1].Addr() || !p.Healthy() {
				return fmt.Errorf("primary %+v", p)
			}
			return nil
		})
		t.Logf("replaced %v after its death (down-after 500 ms)", time.Since(died))
		dead.Restart()
		// Sentinels let it be a primary for some 10 s before they convert it, or
		// even promote it again; all that time it must not be read from.
		began := time.Now()
		redistest.Eventually(t, 6*patience, "both in their roles", func() error { return inRoles(sentinels, "m1", c, 1) })
		t.Logf("both in their roles %v after the restart", time.Since(began))
	})

	t.Run("failover by an operator", func(t *testing.T) {
		sentinels.Failover("m1")
		began := time.Now()
		redistest.Eventually(t, 6*patience, "both in their roles", func() error { return inRoles(sentinels, "m1", c, 1) })
		t.Logf("both in their roles %v after the Sentinels agreed", time.Since(began))
		for address, e := range endpoints(c.Table()) {
			if old[address] != e {
				t.Errorf("%s has another Endpoint", address)
			}
		}
	})

	t.Run("one Sentinel is enough", func(t *testing.T) {
		sentinels.Nodes()[0].Freeze()
		defer sentinels.Nodes()[0].Thaw()
		sentinels.Nodes()[1].Kill()
		failures, refreshes := c.stats.refreshFailures.Load(), c.stats.refreshes.Load()
		c.Refresh("test")
		eventually(t, "a refresh", func() error {
			if got := c.stats.refreshes.Load(); got == refreshes {
				return errCount(got)
			}
			return nil
		})
		if got := c.stats.refreshFailures.Load(); got != failures {
			t.Errorf("%d refreshes failed", got-failures)
		}
	})
}

// inRoles compares one shard with what the servers say themselves, and the
// Sentinels of them.
func inRoles(sentinels *redistest.Sentinels, name string, c *cluster, shard int) error {
	s := c.Table().Shards[shard]
	if s.Primary == nil || len(s.Replicas) != 1 {
		return fmt.Errorf("shard %+v", s)
	}
	if p := sentinels.Primary(name); p == nil || s.Primary.Address != p.Addr() {
		return fmt.Errorf("primary %s, not as the Sentinels say", s.Primary.Address)
	}
	for _, n := range sentinels.Servers(name) {
		want := "slave"
		if n.Addr() == s.Primary.Address {
			want = "master"
		}
		role, err := n.TryDo("ROLE")
		if err != nil || !strings.Contains(role, want) {
			return fmt.Errorf("%s is no %s: %.20q, %w", n.Addr(), want, role, err)
		}
	}
	return nil
}

func TestSentinelWithoutItsMaster(t *testing.T) {
	t.Parallel()
	sentinels := redistest.Sentinel(t, []string{"m1"}, 1)
	s := testSet(t, nil)
	apply(t, s, sentinelSpec(sentinels.Nodes(), "m1", "unknown"))
	c := running(t, s, "sentinel")
	m1 := sentinels.Servers("m1")
	want := fmt.Sprintf("m1=%s+%s unknown=", m1[0].Addr(), m1[1].Addr())
	if err := shaped(c, want)(); err != nil {
		t.Error(err)
	}
	if v := s.Snapshot(); v[0].LastError == "" {
		t.Errorf("no error in the view: %+v", v[0])
	}
}
