package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

var (
	_ filters.ClusterSource = (*Set)(nil)
	_ prometheus.Collector  = (*Set)(nil)
)

func TestApplyKeepsWhatDidNotChange(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	one, two := host("127.0.0.1", 1), host("127.0.0.1", 2)
	apply(t, s, spec("same", one), spec("changed", one, two), spec("removed", one))
	same, changed, removed := running(t, s, "same"), running(t, s, "changed"), running(t, s, "removed")
	table := changed.Table()
	changed.Report(table.Shards[0].Primary, filters.ConnectFailure)

	next := spec("changed", two, one, host("127.0.0.1", 3))
	next.ConnectTimeout = 2 * time.Second
	if err := s.Apply([]*resource.Cluster{spec("same", one), next, spec("new", one)}, nil); err != nil {
		t.Fatal(err)
	}
	if running(t, s, "same") != same {
		t.Error("an unchanged cluster was replaced")
	}
	now := running(t, s, "changed")
	if now == changed {
		t.Fatal("a changed cluster was not replaced")
	}
	if got := now.Table(); got.Shards[0].Primary != table.Shards[1].Primary || got.Shards[1].Primary != table.Shards[0].Primary {
		t.Error("endpoints that stayed are others")
	}
	if now.Table().Shards[1].Primary.Healthy() {
		t.Error("an ejection was forgotten")
	}
	if now.Table().Version <= table.Version {
		t.Errorf("version %d after %d", now.Table().Version, table.Version)
	}
	if _, ok := s.Cluster("removed"); ok {
		t.Error("a removed cluster is found")
	}
	// The old ones serve who still holds them.
	e := removed.Table().Shards[0].Primary
	removed.Report(e, filters.ConnectFailure)
	if e.Healthy() {
		t.Error("a removed cluster is dead before its release")
	}
	s.Release()
	if changed.Table() != table {
		t.Error("the old table has changed")
	}
	changed.Report(table.Shards[1].Primary, filters.Success) // harmless
	// What the new one took over is still looked after.
	checks := now.stats.checks.Load()
	eventually(t, "probes of an ejected endpoint that was taken over", func() error {
		if got := now.stats.checks.Load(); got < checks+2 {
			return errCount(got)
		}
		return nil
	})
}

func TestApplyRefusesAllOrNothing(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	good := spec("good", host("127.0.0.1", 1))
	apply(t, s, good)
	c := running(t, s, "good")
	badHash, badRing, noSeeds := spec("bad hash"), spec("bad ring"), spec("no seeds")
	badHash.LB.Hash = "sha999"
	badRing.LB = resource.LoadBalancing{Policy: resource.LBRingHash, Hash: resource.HashMurmur2, MinRing: 2, MaxRing: 1}
	noSeeds.Discovery.Type = resource.DiscoverRedisCluster
	tests := []struct {
		name  string
		specs []*resource.Cluster
		want  string
	}{
		{"hash", []*resource.Cluster{spec("new"), badHash}, `cluster "bad hash": load balancing: unknown hash "sha999"`},
		{"ring", []*resource.Cluster{badRing}, `cluster "bad ring"`},
		{"seeds", []*resource.Cluster{noSeeds}, `cluster "no seeds"`},
		{"twice", []*resource.Cluster{spec("a"), spec("a")}, `cluster "a": two clusters`},
	}
	for _, tc := range tests {
		err := s.Apply(tc.specs, nil)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", tc.name, err, tc.want)
		}
		if got := s.sorted(); len(got) != 1 || got[0] != c {
			t.Errorf("%s: the running clusters changed", tc.name)
		}
	}
	closeSet(t, s)
	if err := s.Apply([]*resource.Cluster{good}, nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
}

func TestWarm(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	resolver := Resolver(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		select {
		case <-block:
			return nil, errNoSuchHost
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	s := testSet(t, resolver)
	roles := spec("roles", host("127.0.0.1", 1)) // nobody listens there
	roles.Redis.ProbeRole = true
	if err := s.Apply([]*resource.Cluster{dnsSpec(host("h", 1)), spec("static", host("127.0.0.1", 1)), roles}, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Warm(ctx, []string{"static", "roles"}); err != nil {
		t.Errorf("without DNS: %v", err)
	}
	short, cancelShort := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancelShort()
	if err := s.Warm(short, []string{"dns"}); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), `"dns"`) {
		t.Errorf("while DNS is silent: %v", err)
	}
	close(block)
	if err := s.Warm(ctx, []string{"dns"}); err != nil {
		t.Errorf("after DNS failed: %v", err)
	}
	if err := s.Warm(ctx, []string{"other"}); err == nil {
		t.Error("no error for a cluster that is not there")
	}
}

// TestChangedDNSClusterStartsWithWhatIsKnown: a change of a time-out must not
// lose the addresses when DNS happens to be away.
func TestChangedDNSClusterStartsWithWhatIsKnown(t *testing.T) {
	t.Parallel()
	var z zone
	z.set("h", "10.0.0.1")
	s := testSet(t, z.resolve)
	apply(t, s, dnsSpec(host("h", 7)))
	e := running(t, s, "dns").Table().Shards[0].Primary
	z.set("h")
	next := dnsSpec(host("h", 7))
	next.ConnectTimeout = 3 * time.Second
	apply(t, s, next)
	table := running(t, s, "dns").Table()
	if table.Shards[0].Primary != e {
		t.Errorf("endpoint %+v, want the one from before", table.Shards[0].Primary)
	}
	if table.Options.ConnectTimeout != 3*time.Second {
		t.Errorf("connect time-out %v", table.Options.ConnectTimeout)
	}
}

func TestCredentialsAreReadEachTime(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("right"))
	source := &passwords{}
	source.text.Store("wrong")
	s := testSet(t, nil)
	c := spec("c", at(node))
	c.Redis.PasswordSecret = resource.SecretKey{Name: "redis", Key: "password"}
	c.HealthCheck = &resource.HealthCheck{
		Kind: resource.HealthCheckRedis, Interval: 20 * time.Millisecond, Timeout: time.Second,
		UnhealthyThreshold: 1, HealthyThreshold: 1,
	}
	if err := s.Apply([]*resource.Cluster{c}, source); err != nil {
		t.Fatal(err)
	}
	e := running(t, s, "c").Table().Shards[0].Primary
	eventually(t, "the wrong password to be refused", health(e, false))
	source.text.Store("right")
	eventually(t, "the right one to be read", health(e, true))
	_, got, err := running(t, s, "c").Table().Options.Redis.Credentials()
	if got != "right" || err != nil {
		t.Errorf("credentials for filters: %q, %v", got, err)
	}
}

// passwords is a source with one secret.
type passwords struct{ text atomic.Value }

func (p *passwords) Secret(name string) (string, error) {
	if name != "redis/password" {
		return "", fmt.Errorf("%q: %w", name, secrets.ErrUnknown)
	}
	return p.text.Load().(string), nil //nolint:forcetypeassert // a test's own
}

func TestTLSFromInlineAndSharedSecrets(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki), redistest.WithConfig("tls-auth-clients yes"))
	file := func(path string) resource.DataSource { return resource.DataSource{Filename: path} }
	ca := func(name, path string) *resource.Secret {
		return &resource.Secret{Name: name, Validation: &resource.ValidationSecret{CA: file(path)}}
	}
	cert := &resource.Secret{Name: "cert", Certificate: &resource.CertificateSecret{
		Chain: file(pki.ClientCertFile), Key: file(pki.ClientKeyFile),
	}}
	checked := func(name string, tls *resource.UpstreamTLS) *resource.Cluster {
		c := spec(name, at(node))
		c.Endpoints[0].Hostname = "localhost"
		c.TLS = tls
		c.HealthCheck = &resource.HealthCheck{
			Kind: resource.HealthCheckRedis, Interval: 20 * time.Millisecond, Timeout: time.Second,
			UnhealthyThreshold: 1, HealthyThreshold: 1,
		}
		return c
	}
	full := resource.UpstreamTLS{Certificate: "cert", Validation: "ca", VerifyName: true, AutoServerName: true}
	inline := full
	inline.Validation = "inline/ca"
	withInline := checked("inline", &inline)
	withInline.Secrets = []*resource.Secret{ca("inline/ca", pki.CAFile)}
	s := testSet(t, nil)
	specs := []*resource.Cluster{checked("shared", &full), withInline}
	if err := s.Apply(specs, secrets.NewStore([]*resource.Secret{cert, ca("ca", other.CAFile)})); err != nil {
		t.Fatal(err)
	}
	shared := running(t, s, "shared").Table().Shards[0].Primary
	if shared.TLS == nil || shared.TLS.ServerName != "localhost" {
		t.Fatalf("TLS %+v", shared.TLS)
	}
	eventually(t, "the wrong authority to be refused", health(shared, false))
	if v := s.Snapshot()[1].Endpoints[0]; !strings.Contains(v.LastError, "certificate") {
		t.Errorf("last error %q", v.LastError)
	}
	checks := running(t, s, "inline").stats.checks.Load()
	eventually(t, "checks", func() error {
		if got := running(t, s, "inline").stats.checks.Load(); got < checks+2 {
			return errCount(got)
		}
		return nil
	})
	eventually(t, "the inline authority to be taken", health(running(t, s, "inline").Table().Shards[0].Primary, true))
	// The same clusters with other secrets: endpoints stay, handshakes follow.
	if err := s.Apply(specs, secrets.NewStore([]*resource.Secret{cert, ca("ca", pki.CAFile)})); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the right authority", health(shared, true))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	replica := host("127.0.0.1", 2)
	primary := host("127.0.0.1", 1)
	primary.Shard, replica.Shard = "s", "s"
	replica.Role = resource.RoleReplica
	apply(t, s, spec("c", primary, replica))
	c := running(t, s, "c")
	c.Report(c.Table().Shards[0].Replicas[0], filters.ConnectFailure)
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(s); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "dragoman_cluster_")
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	delete(got, "health_checks_total c") // the dead endpoint is being probed
	delete(got, "health_check_failures_total c")
	want := map[string]float64{
		"dns_failures_total c":                     0,
		"ejections_total c":                        1,
		"endpoint_healthy c 127.0.0.1:1 primary s": 1,
		"endpoint_healthy c 127.0.0.1:2 replica s": 0,
		"endpoints c":                              2,
		"primary_changes_total c":                  0,
		"topology_refreshes_total c":               0,
		"topology_refresh_failures_total c":        0,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestManyAtOnce is for the race detector.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var z zone
	z.set("h", "127.0.0.1", "127.0.0.2")
	s := testSet(t, z.resolve)
	versions := []*resource.Cluster{dnsSpec(host("h", 1)), dnsSpec(host("h", 1), host("127.0.0.1", 2))}
	versions[1].LB.AutoEject = &resource.AutoEject{Failures: 1, RetryAfter: time.Millisecond}
	apply(t, s, versions[0])
	var busy sync.WaitGroup
	stop := make(chan struct{})
	for range 2 {
		busy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				c, _ := s.Cluster("dns")
				for _, shard := range c.Table().Shards {
					if shard.Primary != nil {
						c.Report(shard.Primary, filters.ConnectFailure)
					}
				}
				c.Refresh("test")
				s.Snapshot()
			}
		})
	}
	for i := range 50 {
		if i%2 == 0 {
			z.set("h", "127.0.0.2")
		} else {
			z.set("h", "127.0.0.1")
		}
		apply(t, s, versions[i%2])
	}
	close(stop)
	busy.Wait()
}

func BenchmarkReport(b *testing.B) {
	s := NewSet(Options{})
	defer s.Close()
	if err := s.Apply([]*resource.Cluster{spec("c", host("127.0.0.1", 1))}, nil); err != nil {
		b.Fatal(err)
	}
	c, _ := s.Cluster("c")
	e := c.Table().Shards[0].Primary
	for b.Loop() {
		c.Report(e, filters.Success)
	}
}

// A server that is several shards is marked in all but the first of them.
func TestTwins(t *testing.T) {
	t.Parallel()
	s := testSet(t, nil)
	shard := func(name string, port int) resource.Endpoint {
		e := host("127.0.0.1", port)
		e.Name, e.Shard, e.Role = name, name, resource.RolePrimary
		return e
	}
	apply(t, s, spec("c", shard("x", 1), shard("y", 2), shard("z", 1)))
	var got []bool
	shards := running(t, s, "c").Table().Shards
	for i := range shards {
		got = append(got, shards[i].Twin)
	}
	if diff := cmp.Diff([]bool{false, false, true}, got); diff != "" {
		t.Error(diff)
	}
	if shards[0].Primary == shards[2].Primary {
		t.Error("the shards x and z have the same endpoint")
	}
}
