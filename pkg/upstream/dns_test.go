package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

var errNoSuchHost = errors.New("no such host")

// zone is a resolver whose answers a test changes.
type zone struct {
	mu      sync.Mutex // guards below
	answers map[string][]netip.Addr
	asked   int
}

func (z *zone) set(host string, addrs ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.answers == nil {
		z.answers = make(map[string][]netip.Addr)
	}
	z.answers[host] = nil
	for _, a := range addrs {
		z.answers[host] = append(z.answers[host], ip(a))
	}
}

func (z *zone) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.asked++
	if len(z.answers[host]) == 0 {
		return nil, errNoSuchHost
	}
	return z.answers[host], nil
}

func (z *zone) count() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.asked
}

// dnsSpec resolves often.
func dnsSpec(endpoints ...resource.Endpoint) *resource.Cluster {
	c := spec("dns", endpoints...)
	c.Discovery = resource.Discovery{Type: resource.DiscoverDNS, DNS: resource.DNS{
		RefreshRate: 20 * time.Millisecond, FailureRefreshRate: 10 * time.Millisecond, FailureRefreshMax: 50 * time.Millisecond,
	}}
	return c
}

func TestDNSIsNotThereYet(t *testing.T) {
	t.Parallel()
	var z zone
	s := testSet(t, z.resolve)
	apply(t, s, dnsSpec(host("redis", 6379), host("127.0.0.9", 6379)))
	c := running(t, s, "dns")
	want := "redis:6379= 127.0.0.9:6379=127.0.0.9:6379"
	if err := shaped(c, want)(); err != nil {
		t.Errorf("before it resolves: %v", err)
	}
	eventually(t, "failures", func() error {
		if got := c.stats.dnsFailures.Load(); got < 3 {
			return errCount(got)
		}
		return nil
	})
	if v := s.Snapshot(); v[0].LastError == "" {
		t.Error("no error in the view")
	}
	picker := c.Table().Picker
	z.set("redis", "127.0.0.8")
	eventually(t, "the address", shaped(c, "redis:6379=127.0.0.8:6379 127.0.0.9:6379=127.0.0.9:6379"))
	if c.Table().Picker != picker {
		t.Error("another distribution although the names are the same")
	}
	if e := c.Table().Shards[0].Primary; e.Hostname != "redis:6379" {
		t.Errorf("host name %q", e.Hostname)
	}
	z.set("redis") // gone again
	failures := c.stats.dnsFailures.Load()
	eventually(t, "more failures", func() error {
		if got := c.stats.dnsFailures.Load(); got < failures+3 {
			return errCount(got)
		}
		return nil
	})
	if err := shaped(c, "redis:6379=127.0.0.8:6379 127.0.0.9:6379=127.0.0.9:6379")(); err != nil {
		t.Errorf("after DNS forgot it: %v", err)
	}
}

// TestDNSFailureIsToldOnce: a name that is not there is in the log once, and in the view
// for as long, although another name of the cluster resolves meanwhile, and although
// each try is from another port.
func TestDNSFailureIsToldOnce(t *testing.T) {
	t.Parallel()
	var z zone
	z.set("redis", "127.0.0.8")
	var port atomic.Int64
	resolver := func(ctx context.Context, host string) ([]netip.Addr, error) {
		addrs, err := z.resolve(ctx, host)
		if err == nil {
			return addrs, nil
		}
		return nil, &net.DNSError{Err: fmt.Sprintf("read udp 127.0.0.1:%d->127.0.0.53:53: i/o timeout", 40_000+port.Add(1)), Name: host, IsTimeout: true}
	}
	log := &filtertest.Log{}
	s := NewSet(Options{Log: slog.New(slog.NewTextHandler(log, nil)), Resolver: resolver})
	t.Cleanup(func() { closeSet(t, s) })
	apply(t, s, dnsSpec(host("redis", 6379), host("gone", 6379)))
	c := running(t, s, "dns")
	for range 3 {
		asked, failures := z.count(), c.stats.dnsFailures.Load()
		eventually(t, "more failures among answers", func() error {
			if now := c.stats.dnsFailures.Load(); now < failures+5 || z.count() < asked+10 {
				return errCount(now)
			}
			return nil
		})
		if v := s.Snapshot(); v[0].LastError == "" {
			t.Error("no error in the view")
		}
	}
	if got := log.String(); strings.Count(got, "discovery failed") != 1 {
		t.Errorf("the log:\n%s", got)
	}
	z.set("gone", "127.0.0.9")
	eventually(t, "the address", shaped(c, "redis:6379=127.0.0.8:6379 gone:6379=127.0.0.9:6379"))
	eventually(t, "no error in the view", func() error {
		if v := s.Snapshot(); v[0].LastError != "" {
			return errors.New(v[0].LastError)
		}
		return nil
	})
}

func TestDNSAnswersChange(t *testing.T) {
	t.Parallel()
	ringHash := func(c *resource.Cluster) {
		c.LB = resource.LoadBalancing{
			Policy: resource.LBRingHash, Hash: resource.HashMurmur2, RingFunction: resource.RingXXHash, MinRing: 64, MaxRing: 1024,
		}
	}
	roundRobin := func(c *resource.Cluster) { c.LB = resource.LoadBalancing{Policy: resource.LBRoundRobin} }
	replica := func(c *resource.Cluster) {
		c.Endpoints[0].Shard, c.Endpoints[0].Role = "s", resource.RoleReplica
	}
	tests := []struct {
		name   string
		change func(*resource.Cluster)
		want   [3]string // for 1, then 2 and 1, then 3 and 2
	}{
		{"twemproxy's server keeps its address while it can", func(*resource.Cluster) {}, [3]string{
			"h:7=10.0.0.1:7", "h:7=10.0.0.1:7", "h:7=10.0.0.3:7",
		}},
		{"Envoy hashes each address", ringHash, [3]string{
			"10.0.0.1:7=10.0.0.1:7", "10.0.0.1:7=10.0.0.1:7 10.0.0.2:7=10.0.0.2:7", "10.0.0.2:7=10.0.0.2:7 10.0.0.3:7=10.0.0.3:7",
		}},
		{"in turn", roundRobin, [3]string{
			"10.0.0.1:7=10.0.0.1:7", "10.0.0.1:7=10.0.0.1:7 10.0.0.2:7=10.0.0.2:7", "10.0.0.2:7=10.0.0.2:7 10.0.0.3:7=10.0.0.3:7",
		}},
		{"all are replicas", replica, [3]string{
			"s=+10.0.0.1:7", "s=+10.0.0.1:7,10.0.0.2:7", "s=+10.0.0.2:7,10.0.0.3:7",
		}},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var z zone
			z.set("h", "10.0.0.1")
			s := testSet(t, z.resolve)
			c := dnsSpec(host("h", 7))
			tc.change(c)
			apply(t, s, c)
			if err := shaped(running(t, s, "dns"), tc.want[0])(); err != nil {
				t.Errorf("as soon as it is warm: %v", err)
			}
			z.set("h", "10.0.0.2", "10.0.0.1")
			asked := z.count()
			eventually(t, "a second answer", func() error {
				if z.count() < asked+2 {
					return errors.New("not asked again")
				}
				return shaped(running(t, s, "dns"), tc.want[1])()
			})
			z.set("h", "10.0.0.3", "10.0.0.2")
			eventually(t, "a third answer", shaped(running(t, s, "dns"), tc.want[2]))
		})
	}
}

// TestDNSPassesOverADeadAddress: of several addresses of a primary, another one
// is taken when the chosen one is out of use.
func TestDNSPassesOverADeadAddress(t *testing.T) {
	t.Parallel()
	var z zone
	z.set("h", "10.0.0.1", "10.0.0.2")
	s := testSet(t, z.resolve)
	apply(t, s, dnsSpec(host("h", 7)))
	c := running(t, s, "dns")
	c.Report(c.Table().Shards[0].Primary, filters.ConnectFailure)
	eventually(t, "the other address", shaped(c, "h:7=10.0.0.2:7"))
}

// TestDNSWithRoles: a headless Service names a primary and its replicas alike.
func TestDNSWithRoles(t *testing.T) {
	t.Parallel()
	a := redistest.Server(t, redistest.WithConfig("bind 127.0.0.1 127.0.0.2"))
	var z zone
	z.set("h", "127.0.0.2", "127.0.0.1") // one server answers at both
	s := testSet(t, z.resolve)
	c := dnsSpec(host("h", a.Port()))
	c.Redis.ProbeRole = true
	apply(t, s, c)
	port := fmt.Sprint(a.Port())
	want := "h:" + port + "=127.0.0.1:" + port + "+127.0.0.2:" + port
	if err := shaped(running(t, s, "dns"), want)(); err != nil {
		t.Error(err)
	}
}

func TestOfFamily(t *testing.T) {
	t.Parallel()
	both := []netip.Addr{ip("10.0.0.1"), ip("2001:db8::1"), ip("::ffff:10.0.0.1"), ip("10.0.0.2")}
	v4, v6 := []netip.Addr{ip("10.0.0.1"), ip("10.0.0.2")}, []netip.Addr{ip("2001:db8::1")}
	tests := []struct {
		name   string
		host   string
		family resource.DNSFamily
		in     []netip.Addr
		want   []netip.Addr
	}{
		{"auto", "h", resource.DNSAuto, both, v6},
		{"auto without IPv6", "h", resource.DNSAuto, v4, v4},
		{"auto, localhost", "localhost", resource.DNSAuto, both, v4},
		{"IPv4 preferred", "h", resource.DNSV4Preferred, both, v4},
		{"IPv4 preferred, none", "h", resource.DNSV4Preferred, v6, v6},
		{"IPv4 only, none", "h", resource.DNSV4Only, v6, nil},
		{"IPv6 only", "localhost", resource.DNSV6Only, both, v6},
		{"all", "h", resource.DNSAll, both, []netip.Addr{ip("10.0.0.1"), ip("2001:db8::1"), ip("10.0.0.2")}},
	}
	for _, tc := range tests {
		got := ofFamily(tc.in, tc.family, tc.host)
		if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s: -want +got:\n%s", tc.name, diff)
		}
	}
}
