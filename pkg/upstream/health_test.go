package upstream

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestKilledServerHeals(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := testSet(t, nil)
	tcp := spec("tcp", at(node))
	tcp.LB = resource.LoadBalancing{Policy: resource.LBRoundRobin}
	apply(t, s, spec("redis", at(node)), tcp)
	for _, name := range []string{"redis", "tcp"} {
		c := running(t, s, name)
		e := c.Table().Shards[0].Primary
		if !e.Healthy() {
			t.Fatalf("%s: unhealthy without any knowledge", name)
		}
		node.Kill()
		c.Report(e, filters.ConnectFailure)
		if e.Healthy() {
			t.Fatalf("%s: healthy after a failed connect", name)
		}
		// While it is down it stays so.
		probes := c.stats.checkFailures.Load()
		eventually(t, "probes of the dead server", func() error {
			if got := c.stats.checkFailures.Load(); got < probes+3 {
				return errCount(got)
			}
			return nil
		})
		if e.Healthy() {
			t.Errorf("%s: healthy while dead", name)
		}
		node.Restart()
		back := time.Now()
		eventually(t, "the server to heal", health(e, true))
		t.Logf("%s: healed %v after the restart", name, time.Since(back))
		if c.Table().Shards[0].Primary != e {
			t.Errorf("%s: another Endpoint after the restart", name)
		}
	}
}

func TestFrozenServerIsNoticedByChecks(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := testSet(t, nil)
	checked := spec("c", at(node))
	checked.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckRedis, Interval: 50 * time.Millisecond, Timeout: 5 * time.Second,
		UnhealthyThreshold: 2, HealthyThreshold: 2, Jitter: 0.1,
	}
	apply(t, s, checked)
	c := running(t, s, "c")
	e := c.Table().Shards[0].Primary
	eventually(t, "the first checks", func() error {
		if got := c.stats.checks.Load(); got < 3 {
			return errCount(got)
		}
		return nil
	})
	if got := c.stats.checkFailures.Load(); got != 0 || !e.Healthy() {
		t.Fatalf("%d failed checks of a sound server, healthy = %v", got, e.Healthy())
	}
	node.Freeze()
	eventually(t, "the frozen server to be noticed", health(e, false))
	node.Thaw()
	eventually(t, "the thawed server to be noticed", health(e, true))
}

func TestFrozenServerIsNoticedByTimeouts(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := testSet(t, nil)
	apply(t, s, spec("c", at(node)))
	c := running(t, s, "c")
	e := c.Table().Shards[0].Primary
	node.Freeze()
	for range 4 {
		c.Report(e, filters.RequestTimeout)
	}
	if !e.Healthy() {
		t.Fatal("unhealthy after 4 timeouts")
	}
	c.Report(e, filters.RequestTimeout)
	if e.Healthy() {
		t.Fatal("healthy after 5 timeouts in a row")
	}
	if v := s.Snapshot()[0].Endpoints[0]; v.EjectedUntil.IsZero() || v.LastError == "" {
		t.Errorf("view of an ejected endpoint: %+v", v)
	}
	eventually(t, "a probe to fail", func() error {
		if got := c.stats.checkFailures.Load(); got == 0 {
			return errCount(got)
		}
		return nil
	})
	if e.Healthy() {
		t.Error("healthy while frozen")
	}
	node.Thaw()
	eventually(t, "the thawed server to be noticed", health(e, true))
}

// TestServesNoStaleData: a replica that lost its primary, and may not serve
// without, answers MASTERDOWN to everything.
func TestServesNoStaleData(t *testing.T) {
	t.Parallel()
	primary := redistest.Server(t)
	replica := redistest.Server(t, redistest.WithReplicaOf(primary), redistest.WithConfig("replica-serve-stale-data no"))
	s := testSet(t, nil)
	checked := spec("c", at(replica))
	checked.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckRedis, Interval: 50 * time.Millisecond, Timeout: time.Second,
		UnhealthyThreshold: 1, HealthyThreshold: 1,
	}
	apply(t, s, checked)
	e := running(t, s, "c").Table().Shards[0].Primary
	primary.Kill()
	eventually(t, "the replica to be unhealthy", health(e, false))
	if got := s.Snapshot()[0].Endpoints[0]; !got.CheckFailing || got.LastError == "" {
		t.Errorf("view: %+v", got)
	}
	primary.Restart()
	eventually(t, "the replica to be healthy", health(e, true))
}

func TestMaintenanceKey(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	s := testSet(t, nil)
	checked := spec("c", at(node))
	checked.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckRedis, Key: "maintenance", Interval: 20 * time.Millisecond, Timeout: time.Second,
		UnhealthyThreshold: 1, HealthyThreshold: 1,
	}
	apply(t, s, checked)
	e := running(t, s, "c").Table().Shards[0].Primary
	node.Do("SET", "maintenance", "1")
	eventually(t, "the key to be seen", health(e, false))
	node.Do("DEL", "maintenance")
	eventually(t, "the key's absence to be seen", health(e, true))
}

// TestIdleConnectionOfAProbe: a server that closes idle connections is not
// unhealthy.
func TestIdleConnectionOfAProbe(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithConfig("timeout 1"))
	s := testSet(t, nil)
	checked := spec("c", at(node))
	checked.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckRedis, Interval: 2500 * time.Millisecond, Timeout: 10 * time.Second,
		UnhealthyThreshold: 1, HealthyThreshold: 1,
	}
	apply(t, s, checked)
	c := running(t, s, "c")
	eventually(t, "a check after an idle time", func() error {
		if got := c.stats.checks.Load(); got < 3 {
			return errCount(got)
		}
		return nil
	})
	if got, err := strconv.Atoi(node.Info("total_connections_received")); got < 3 {
		t.Errorf("%d connections, %v: the server did not close the idle one", got, err)
	}
	if got := c.stats.checkFailures.Load(); got != 0 {
		t.Errorf("%d checks failed", got)
	}
}

func TestMaxEjectionPercent(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	four := spec("c", host("127.0.0.1", 1), host("127.0.0.1", 2), host("127.0.0.1", 3), host("127.0.0.1", 4))
	four.Outlier = &resource.Outlier{ConsecutiveFailures: 1, BaseEjection: time.Hour, MaxEjection: time.Hour, MaxEjectionPercent: 50}
	apply(t, s, four)
	c := running(t, s, "c")
	down := 0
	for _, shard := range c.Table().Shards {
		c.Report(shard.Primary, filters.RequestTimeout)
		if !shard.Primary.Healthy() {
			down++
		}
	}
	if down != 2 {
		t.Errorf("%d of 4 endpoints ejected, want 2", down)
	}
}

func TestConfiguredHealth(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	sick, draining := host("127.0.0.1", 1), host("127.0.0.1", 2)
	sick.Health, draining.Health = resource.HealthUnhealthy, resource.HealthDraining
	eds := spec("c", sick, draining, host("127.0.0.1", 3))
	eds.Discovery.Type = resource.DiscoverEDS
	apply(t, s, eds)
	var got []bool
	for _, shard := range running(t, s, "c").Table().Shards {
		got = append(got, shard.Primary.Healthy())
	}
	if got[0] || got[1] || !got[2] {
		t.Errorf("health %v, want only the last", got)
	}
	e := running(t, s, "c").Table().Shards[0].Primary
	eds.Endpoints[0].Health = resource.HealthHealthy
	well := *eds
	well.Endpoints = append([]resource.Endpoint(nil), eds.Endpoints...)
	eds.Endpoints[0].Health = resource.HealthUnhealthy
	apply(t, s, &well)
	if now := running(t, s, "c").Table().Shards[0].Primary; now != e || !e.Healthy() {
		t.Errorf("after the update: same endpoint %v, healthy %v", now == e, e.Healthy())
	}
}

// TestHTTPCheck has an endpoint taken out while it says that it is not well, although it can be connected to.
func TestHTTPCheck(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) }))
	t.Cleanup(server.Close)
	checked := spec("c", host("127.0.0.1", server.Listener.Addr().(*net.TCPAddr).Port)) //nolint:forcetypeassert // it listens on TCP
	checked.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckHTTP, HTTP: resource.HTTPCheck{Path: "/healthz"},
		Interval: 50 * time.Millisecond, Timeout: 10 * time.Second, UnhealthyThreshold: 2, HealthyThreshold: 2,
	}
	s := testSet(t, nil)
	apply(t, s, checked)
	e := running(t, s, "c").Table().Shards[0].Primary
	eventually(t, "a sound endpoint", health(e, true))
	status.Store(http.StatusServiceUnavailable)
	eventually(t, "the unwell endpoint to be noticed", health(e, false))
	status.Store(http.StatusOK)
	eventually(t, "the endpoint to be taken in again", health(e, true))
}
