package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// rig is an engine with a real server before it. The token of a stream is the
// "namespace/pod" that it is.
type rig struct {
	t       testing.TB
	store   *inventory.Store
	engine  *engine.Engine
	address string
	podWait time.Duration // 0: as usual

	mu       sync.Mutex
	statuses map[string]inventory.Status // by object, with its kind unless it is an Ambassador
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, store: inventory.NewStore(), statuses: map[string]inventory.Status{}}
	return r
}

// SetStatus implements engine.StatusSink.
func (r *rig) SetStatus(ref inventory.Ref, s inventory.Status) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := ref.String()
	if ref.Kind != inventory.KindAmbassador {
		name = ref.Kind.String() + " " + name
	}
	r.statuses[name] = s
}

// start serves what is in the store.
func (r *rig) start() *rig {
	r.engine = engine.New(engine.Options{Store: r.store, Status: r, Linger: 100 * time.Millisecond, StatusEvery: 10 * time.Millisecond, PodWait: r.podWait})
	s := server.New(server.Options{
		Nodes: door{r.engine}, Observer: r.engine, Finder: r.engine,
		Limits: server.Limits{Connects: 1e6, Burst: 1e6, StreamsPerConnection: 1000, StreamsPerIdentity: 1000},
	})
	g := grpc.NewServer(s.GRPCOptions()...)
	s.Register(g)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.address = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.engine.Run(ctx, s) })
	running.Go(func() { _ = g.Serve(ln) })
	r.t.Cleanup(func() {
		g.Stop()
		cancel()
		running.Wait()
	})
	return r
}

// door takes a stream's token for its identity.
type door struct{ engine *engine.Engine }

func (d door) Connect(ctx context.Context, n *server.Node) (string, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	tokens := md.Get("authorization")
	if len(tokens) == 0 {
		return "", errors.New("no token")
	}
	words := strings.Fields(tokens[0])
	id := inventory.Identity{Namespace: words[1], Pod: words[2]}
	id.PodUID = "uid-" + id.Pod
	return id.Namespace + "/" + id.Pod, d.engine.Connect(ctx, n, id)
}

func (d door) Disconnected(n *server.Node) { d.engine.Disconnect(n) }

func (r *rig) dial(namespace, pod string) *adstest.Client {
	return adstest.Dial(r.t, r.address, adstest.Options{Token: namespace + " " + pod, Node: pod})
}

// put decodes documents into the store.
func (r *rig) put(documents string) {
	r.t.Helper()
	objs, errs := mesh.Decode("test.yaml", []byte(documents), mesh.InCluster())
	if err := errs.Err(); err != nil {
		r.t.Fatal(err)
	}
	for _, o := range objs {
		inventory.Put(r.store, inventory.RefOf(o), &inventory.Object{Object: o, Generation: 1}, time.Now())
	}
}

func objectRef(namespace, name string) inventory.Ref {
	return inventory.Ref{Kind: inventory.KindAmbassador, Key: inventory.Key{Namespace: namespace, Name: name}}
}

func (r *rig) pod(namespace, name string, labels map[string]string) {
	r.podOf(namespace, name, "uid-"+name, "", labels)
}

func (r *rig) podOf(namespace, name, uid, zone string, labels map[string]string) {
	r.podAt(namespace, name, uid, translate.Spot{Zone: zone}, labels)
}

func (r *rig) podAt(namespace, name, uid string, spot translate.Spot, labels map[string]string) {
	key := inventory.Key{Namespace: namespace, Name: name}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindPod, Key: key},
		&inventory.Pod{Key: key, UID: uid, Labels: labels, Zone: spot.Zone, NodeName: spot.NodeName}, time.Now())
}

// service has one endpoint for each port given, all on 127.0.0.1.
func (r *rig) service(namespace, name string, ports ...uint32) {
	key := inventory.Key{Namespace: namespace, Name: name}
	s := &inventory.Service{Key: key, Ports: []inventory.ServicePort{{Port: 6379, Protocol: "TCP"}}}
	for i, p := range ports {
		s.Endpoints = append(s.Endpoints, inventory.Endpoint{
			Address: fmt.Sprintf("10.0.0.%d", i+1), Ports: map[string]uint32{"": p}, Ready: true, Serving: true,
		})
	}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindService, Key: key}, s, time.Now())
}

func (r *rig) secret(namespace, name, password string) {
	key := inventory.Key{Namespace: namespace, Name: name}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindSecret, Key: key},
		&inventory.Secret{Key: key, Data: map[string][]byte{"password": []byte(password)}}, time.Now())
}

// metric reads one without labels.
func (r *rig) metric(name string) float64 {
	r.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(r.engine)
	families, err := registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		m := f.GetMetric()[0]
		return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	r.t.Fatalf("no metric %s", name)
	return 0
}

func (r *rig) translations() float64 { return r.metric("dragoman_controlplane_translations_total") }

// eventually polls for what no stream tells of.
func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(adstest.Deadline)
	for !holds() {
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// condition gives what was said last of an object.
func (r *rig) condition(object, kind string) inventory.Condition {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.statuses[object].Conditions {
		if c.Type == kind {
			return c
		}
	}
	return inventory.Condition{}
}

func (r *rig) awaitCondition(object, kind string, status inventory.ConditionStatus, reason string) inventory.Condition {
	r.t.Helper()
	deadline := time.After(adstest.Deadline)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		c := r.condition(object, kind)
		if c.Status == status && c.Reason == reason {
			return c
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("%s: %s is %+v, want %s for %s", object, kind, c, status, reason)
		}
	}
}

const cache = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  protocol: redis
  listen: {port: 6380}
  environments:
    dev:  {service: {name: redis-dev, port: 6379}}
    prod: {service: {name: redis-prod, port: 6379}, credentials: {secret: {name: redis-prod}}}
  defaultEnvironment: dev
`

// shop is a world for cache, and a pod web-0 that gets it.
func (r *rig) shop() *rig {
	r.put(cache)
	r.service("shop", "redis-dev", 7001)
	r.service("shop", "redis-prod", 7002)
	r.secret("shop", "redis-prod", "s3cret")
	r.pod("shop", "web-0", map[string]string{"app": "web"})
	return r
}

func environmentOf(l *listenerv3.Listener) string {
	cluster := ""
	for _, f := range l.GetFilterChains()[0].GetFilters() {
		cluster += f.GetTypedConfig().String()
	}
	switch {
	case strings.Contains(cluster, "shop/cache/prod"):
		return "prod"
	case strings.Contains(cluster, "shop/cache/dev"):
		return "dev"
	}
	return cluster
}

func ports(a *endpointv3.ClusterLoadAssignment) []uint32 {
	var out []uint32
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			out = append(out, e.GetEndpoint().GetAddress().GetSocketAddress().GetPortValue())
		}
	}
	return out
}
