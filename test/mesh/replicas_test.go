package mesh

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/grpc/credentials"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// steady is an Ambassador that is there all the time.
const steady = "shop/cache"

// member is as much of a proxy as a control plane sees: its xDS client, with one
// that builds snapshots in the place of listeners and clusters.
type member struct {
	node
	client *client.Client

	mu      sync.Mutex
	runs    map[string]int // port of the server by Ambassador; guarded by mu
	trouble []string       // guarded by mu
}

// Apply implements client.Consumer.
func (m *member) Apply(_ context.Context, u client.Update) error {
	snap, err := snapshot.Build(u.Set)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		m.trouble = append(m.trouble, "refused: "+err.Error())
		return err
	}
	// (A new listener may miss its cluster at first: the stream began in the middle of a
	// change.)
	before := m.runs
	m.runs = map[string]int{}
	for name, l := range snap.Listeners {
		m.runs[name] = 0
		for _, e := range snap.Clusters[l.Filter.Config.ClusterNames()[0]].Endpoints {
			m.runs[name] = int(e.Port)
		}
	}
	if before[steady] != 0 && m.runs[steady] == 0 {
		m.trouble = append(m.trouble, fmt.Sprintf("lost %s: it had %v, and has %v", steady, before, m.runs))
	}
	return nil
}

// is says whether the member runs what it should.
func (m *member) is(want map[string]int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !maps.Equal(m.runs, want) {
		return fmt.Errorf("%s runs %v, want %v", m.name, m.runs, want)
	}
	return nil
}

// fleet is a hundred proxies at two control planes, which read the same files. A
// few are real, with an app each in a namespace of its own.
type fleet struct {
	t       *testing.T
	a, b    *plane
	members []*member
	real    []*program
	apps    []*redistest.Client
	ports   []int // on which the real ones listen
}

const (
	fleetSize = 100
	fleetReal = 3
	patience  = 3 * limit // for a hundred streams beneath the race detector
)

// startFleet runs both control planes and all proxies. One half names the first
// control plane first.
func startFleet(t *testing.T, first map[string]int, redis *redistest.Node) *fleet {
	t.Helper()
	f := &fleet{t: t, a: newPlane(t), b: newPlane(t)}
	f.b.dir = f.a.dir
	var nodes []node
	for i := range fleetReal {
		nodes = append(nodes, node{namespace: fmt.Sprintf("real-%d", i), name: "web"})
		f.ports = append(f.ports, redistest.Port(t))
	}
	for i := range fleetSize - fleetReal {
		nodes = append(nodes, node{namespace: "shop", name: fmt.Sprintf("web-%d", i)})
	}
	f.a.nodes(nodes...)
	f.write(first, redis)
	f.a.start()
	f.b.start()
	planes := []*plane{f.a, f.b}
	for i, n := range nodes {
		near, far := planes[i%2], planes[1-i%2]
		if i < fleetReal {
			f.real = append(f.real, near.proxy(n, t.TempDir(), "--control-plane", far.address))
			continue
		}
		f.join(n, near.address, far.address)
	}
	for i, p := range f.real {
		p.Ready("LIVE")
		f.apps = append(f.apps, redistest.Dial(t, local(f.ports[i])))
	}
	return f
}

// join runs a member until the test ends.
func (f *fleet) join(n node, servers ...string) {
	f.t.Helper()
	ca, err := os.ReadFile(filepath.Join(f.a.dir, "trust", "ca.crt"))
	if err != nil {
		f.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	m := &member{node: n}
	m.client, err = client.New(client.Options{
		Servers: servers,
		Credentials: func(string) (credentials.TransportCredentials, error) {
			return credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}), nil
		},
		Token:       func(context.Context) (string, error) { return n.token(), nil },
		Node:        &corev3.Node{Id: n.name + "." + n.namespace},
		BackoffBase: 100 * time.Millisecond, BackoffMax: 2 * time.Second, ConnectTimeout: limit, ResourceTimeout: limit,
		Consumer: m,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.client.Run(ctx) }()
	f.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("%s: %v", n.name, err)
		}
	})
	f.members = append(f.members, m)
}

// write changes the files: Ambassadors of the members, with the ports of their
// servers, and where the apps of the real proxies are sent.
func (f *fleet) write(want map[string]int, redis *redistest.Node) {
	f.t.Helper()
	files := filepath.Join(f.a.dir, "files")
	for i, port := range f.ports {
		f.a.write(fmt.Sprintf("real-%d.yaml", i), ambassador(fmt.Sprintf("real-%d", i), "cache", port, redis.Port()))
	}
	for name, port := range want {
		_, name, _ = strings.Cut(name, "/")
		f.a.write(name+".yaml", ambassador("shop", name, port, port))
	}
	entries, err := os.ReadDir(files)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range entries {
		name := strings.TrimSuffix(e.Name(), ".yaml")
		if _, ok := want["shop/"+name]; ok || strings.HasPrefix(name, "real-") {
			continue
		}
		if err := os.Remove(filepath.Join(files, e.Name())); err != nil {
			f.t.Fatal(err)
		}
	}
}

// ambassador is one with its Service.
func ambassador(namespace, name string, port, target int) string {
	document := strings.NewReplacer(
		"name: cache", "name: "+name, "namespace: shop", "namespace: "+namespace, "redis-dev", name, "redis-prod", name,
	).Replace(cache(port))
	return document + "---\n" + serviceOf(namespace, name, 6379, target)
}

// converges waits until every proxy runs what the files say. Apps stay connected
// all the time.
func (f *fleet) converges(want map[string]int, where string) {
	f.t.Helper()
	for i, p := range f.real {
		asks(p, f.apps[i], where)
	}
	redistest.Eventually(f.t, patience, "all proxies to run what the files say", func() error {
		var behind []error
		for _, m := range f.members {
			if err := m.is(want); err != nil {
				behind = append(behind, err)
			}
		}
		if len(behind) > 0 {
			return fmt.Errorf("%d of %d: %w", len(behind), len(f.members), behind[0])
		}
		return nil
	})
	f.sound()
}

// sound fails where a proxy has refused something, or has lost what it should have.
func (f *fleet) sound() {
	f.t.Helper()
	for _, m := range f.members {
		m.mu.Lock()
		for _, text := range m.trouble {
			f.t.Errorf("%s %s", m.name, text)
		}
		m.mu.Unlock()
		for _, n := range m.client.Status().Nacks {
			f.t.Errorf("%s has refused %+v", m.name, n)
		}
	}
}

// isAt waits until each proxy is at exactly one of some control planes, and in step
// with it.
func (f *fleet) isAt(planes ...*plane) {
	f.t.Helper()
	redistest.Eventually(f.t, patience, "each proxy to be at one control plane", func() error {
		var all []string
		var counts string // of refusals
		for _, p := range planes {
			for id, s := range p.proxies() {
				all = append(all, id)
				if s.State != "synced" {
					return errors.New(s.raw)
				}
			}
			_, page := p.Get("/metrics")
			counts += refusals(page)
		}
		if counts == "" || strings.Contains(strings.ReplaceAll(counts, " 0\n", ""), " ") {
			f.t.Fatalf("there are refusals, or no count of them:\n%s", counts)
		}
		slices.Sort(all)
		if n := len(all); n != fleetSize || len(slices.Compact(all)) != n {
			return fmt.Errorf("there are %d streams", n)
		}
		return nil
	})
}

// refusals are the lines of a page of metrics that count them.
func refusals(page string) string {
	var b strings.Builder
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "dragoman_xds_server_nacks_total") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// TestReplicasDie has a hundred proxies at two control planes, kills each of them in
// its turn, and changes the configuration meanwhile: all proxies come to what the
// files say, nothing is refused, and what is always there is never lost.
func TestReplicasDie(t *testing.T) {
	t.Parallel()
	one, two := world(t, "one"), world(t, "two")
	want := map[string]int{steady: 7001, "shop/orders": 7002}
	f := startFleet(t, want, one)
	f.converges(want, "one")
	f.isAt(f.a, f.b)

	want = map[string]int{steady: 7003, "shop/orders": 7002, "shop/extra": 7004}
	f.write(want, two)
	f.converges(want, "two")
	f.isAt(f.a, f.b)

	f.a.Kill()
	want = map[string]int{steady: 7005, "shop/orders": 7002, "shop/late": 7006}
	f.write(want, one)
	f.converges(want, "one")
	f.isAt(f.b)

	f.a.start()
	f.b.Kill()
	want = map[string]int{steady: 7007, "shop/orders": 7008, "shop/extra": 7009}
	f.write(want, two)
	f.converges(want, "two")
	f.isAt(f.a)

	f.b.start()
	want = map[string]int{steady: 7010, "shop/extra": 7009}
	f.write(want, one)
	f.converges(want, "one")
	f.isAt(f.a, f.b)
}
