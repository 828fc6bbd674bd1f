package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
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
	key := inventory.Key{Namespace: namespace, Name: name}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindPod, Key: key},
		&inventory.Pod{Key: key, UID: uid, Labels: labels, Zone: zone}, time.Now())
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

// TestNodeGetsWhatIsMeantForIt: the listener of the object whose selector fits,
// in the environment that its label chooses, and what that refers to.
func TestNodeGetsWhatIsMeantForIt(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.pod("shop", "web-1", map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"})
	r.start()

	dev := r.dial("shop", "web-0")
	dev.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	dev.Await(server.ListenerType, "shop/cache", &l)
	if got := environmentOf(&l); got != "dev" {
		t.Errorf("web-0 has no label and gets %s", got)
	}
	dev.Subscribe(server.EndpointType, "shop/cache/dev", "shop/cache/prod")
	var a endpointv3.ClusterLoadAssignment
	dev.Await(server.EndpointType, "shop/cache/dev", &a)
	dev.AwaitGone(server.EndpointType, "shop/cache/prod") // the other environment is not its own
	if diff := cmp.Diff([]uint32{7001}, ports(&a)); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}

	prod := r.dial("shop", "web-1")
	prod.Subscribe(server.ListenerType)
	prod.Subscribe(server.SecretType, "shop/redis-prod")
	prod.Await(server.ListenerType, "shop/cache", &l)
	if got := environmentOf(&l); got != "prod" {
		t.Errorf("web-1 is labelled prod and gets %s", got)
	}
	var s tlsv3.Secret
	prod.Await(server.SecretType, "shop/redis-prod", &s)
}

// TestOthersGetNothing: neither a pod that is not selected, nor one of another
// namespace, by wildcard or by name.
func TestOthersGetNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.pod("shop", "batch-0", map[string]string{"app": "batch"})
	r.pod("bank", "web-0", map[string]string{"app": "web"})
	r.start()
	for _, who := range [][2]string{{"shop", "batch-0"}, {"bank", "web-0"}} {
		c := r.dial(who[0], who[1])
		c.Subscribe(server.ListenerType)
		c.Subscribe(server.ListenerType, "shop/cache")
		c.Subscribe(server.ClusterType, "shop/cache/dev", "shop/cache/prod")
		c.Subscribe(server.SecretType, "shop/redis-prod")
		c.AwaitGone(server.ListenerType, "shop/cache")
		c.AwaitGone(server.ClusterType, "shop/cache/prod")
		c.AwaitGone(server.SecretType, "shop/redis-prod")
		for _, typeURL := range []string{server.ListenerType, server.ClusterType, server.SecretType} {
			if names := c.Names(typeURL); len(names) > 0 {
				t.Errorf("%s/%s gets %v", who[0], who[1], names)
			}
		}
	}
}

// TestUnknownPodsAreNotServed: a node whose pod is gone, or has got another of
// its name, is not told that nothing is meant for it, but to come again.
func TestUnknownPodsAreNotServed(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.podWait = 50 * time.Millisecond
	r.podOf("shop", "web-9", "another pod of the same name", "", map[string]string{"app": "web"})
	r.start()
	for _, pod := range []string{"web-9", "nowhere"} {
		c := r.dial("shop", pod)
		c.Subscribe(server.ListenerType)
		if err := c.AwaitEnd(); status.Code(err) != codes.Unavailable || c.Responses() > 0 {
			t.Errorf("%s: %v after %d responses", pod, err, c.Responses())
		}
	}
}

// TestRelabelMovesListeners: a label changes the environment of a node that
// stays connected, and so does one of the namespace.
func TestRelabelMovesListeners(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	is := func(environment string) func() bool {
		return func() bool { return environmentOf(&l) == environment }
	}
	c.AwaitWhen(server.ListenerType, "shop/cache", &l, is("dev"))
	r.pod("shop", "web-0", map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"})
	c.AwaitWhen(server.ListenerType, "shop/cache", &l, is("prod"))
	r.eventually("the move counts as a change that everybody has", func() bool {
		return r.metric("dragoman_controlplane_convergence_seconds") == 1
	})
	r.pod("shop", "web-0", map[string]string{"app": "web"})
	c.AwaitWhen(server.ListenerType, "shop/cache", &l, is("dev"))

	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Name: "shop"}},
		&inventory.Namespace{Name: "shop", Labels: map[string]string{"mesh.dragoman.io/environment": "prod"}}, time.Now())
	c.AwaitWhen(server.ListenerType, "shop/cache", &l, is("prod"))

	r.pod("shop", "web-0", map[string]string{"app": "other"})
	c.AwaitGone(server.ListenerType, "shop/cache")
}

// TestLateComers: a pod may be known after its node has connected, and an object
// may come, change and go.
func TestLateComers(t *testing.T) {
	t.Parallel()
	r := newRig(t).start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	r.eventually("the node waits", func() bool { return r.engine.Waiting(t.Context()) == 1 })
	r.shop()
	c.Await(server.ListenerType, "shop/cache", &l)
	r.store.Delete(objectRef("shop", "cache"), time.Now())
	c.AwaitGone(server.ListenerType, "shop/cache")
	r.put(cache)
	c.Await(server.ListenerType, "shop/cache", &l)
	r.store.Delete(inventory.Ref{Kind: inventory.KindPod, Key: inventory.Key{Namespace: "shop", Name: "web-0"}}, time.Now())
	c.AwaitGone(server.ListenerType, "shop/cache")
}

// TestCostGrowsWithTheChange: an endpoint costs the translation of the objects
// that name its Service, in the environments that nodes are in, and nothing else;
// how many nodes there are does not matter.
func TestCostGrowsWithTheChange(t *testing.T) {
	t.Parallel()
	const objects, nodes = 50, 20
	r := newRig(t)
	for i := range objects {
		r.put(fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: o%d, namespace: shop}
spec:
  protocol: tcp
  listen: {port: %d}
  environments:
    dev:  {service: {name: dev-%d, port: 6379}}
    prod: {service: {name: prod-%d, port: 6379}}
  defaultEnvironment: dev
`, i, 7000+i, i, i))
		r.service("shop", fmt.Sprint("dev-", i), 1)
		r.service("shop", fmt.Sprint("prod-", i), 1)
	}
	for i := range nodes {
		r.pod("shop", fmt.Sprint("web-", i), map[string]string{"app": "web", "number": fmt.Sprint(i)})
	}
	r.start()
	var clients []*adstest.Client
	var l listenerv3.Listener
	var a endpointv3.ClusterLoadAssignment
	for i := range nodes {
		c := r.dial("shop", fmt.Sprint("web-", i))
		c.Subscribe(server.ListenerType)
		c.Subscribe(server.EndpointType, "shop/o7/dev")
		for j := range objects {
			c.Await(server.ListenerType, fmt.Sprint("shop/o", j), &l)
		}
		clients = append(clients, c)
	}
	if got := r.translations(); got != objects {
		t.Errorf("%v translations for %d nodes that get the same %d objects", got, nodes, objects)
	}
	if got := r.metric("dragoman_controlplane_node_kinds"); got != 1 {
		t.Errorf("%v kinds of nodes", got)
	}

	before := r.translations()
	r.service("shop", "dev-7", 1, 2)
	for _, c := range clients {
		c.AwaitWhen(server.EndpointType, "shop/o7/dev", &a, func() bool { return len(ports(&a)) == 2 })
	}
	if got := r.translations() - before; got != 1 {
		t.Errorf("one endpoint cost %v translations", got)
	}

	r.eventually("the last ACK of the endpoint is counted", func() bool { return r.metric("dragoman_controlplane_convergence_seconds") == 1 })

	before = r.translations()
	r.service("shop", "prod-7", 1, 2) // nobody needs it
	r.service("shop", "nobody-names-it", 1)
	r.service("shop", "dev-7", 1, 2, 3)
	clients[0].AwaitWhen(server.EndpointType, "shop/o7/dev", &a, func() bool { return len(ports(&a)) == 3 })
	if got := r.translations() - before; got != 1 {
		t.Errorf("what nobody needs cost %v translations", got-1)
	}
}

// TestNothingIsSentForNothing: a change that changes no resource.
func TestNothingIsSentForNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	c.Subscribe(server.EndpointType, "shop/cache/dev")
	var a endpointv3.ClusterLoadAssignment
	var l listenerv3.Listener
	c.Await(server.EndpointType, "shop/cache/dev", &a)
	c.Await(server.ListenerType, "shop/cache", &l)
	responses := c.Responses()
	r.put(cache)
	r.service("shop", "redis-dev", 7001)
	r.pod("shop", "web-0", map[string]string{"app": "web", "unrelated": "label"})
	r.eventually("all changes are taken", func() bool { return r.translations() >= 2 })
	r.service("shop", "redis-dev", 7001, 7003)
	c.AwaitWhen(server.EndpointType, "shop/cache/dev", &a, func() bool { return len(ports(&a)) == 2 })
	if got := c.Responses() - responses; got != 1 {
		t.Errorf("%d responses, want 1", got)
	}
}

// TestUnusedIsDropped: when the last node that needs it has gone, and not at
// once.
func TestUnusedIsDropped(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	c.Await(server.ListenerType, "shop/cache", &l)
	if got := r.metric("dragoman_controlplane_variants"); got != 1 {
		t.Errorf("%v variants", got)
	}
	c.Close()
	r.eventually("all is dropped", func() bool {
		return r.metric("dragoman_controlplane_variants") == 0 && r.metric("dragoman_controlplane_resources") == 0 &&
			r.metric("dragoman_controlplane_node_kinds") == 0 && r.metric("dragoman_controlplane_nodes") == 0
	})
	again := r.dial("shop", "web-0")
	again.Subscribe(server.ListenerType)
	again.Await(server.ListenerType, "shop/cache", &l)
}

// TestLastGoodStays: a Secret that goes away and a document that becomes invalid
// leave what runs, a permission that is withdrawn does not.
func TestLastGoodStays(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: foreign, namespace: shop}
spec:
  protocol: tcp
  listen: {port: 7000}
  environments: {dev: {service: {name: ledger, namespace: bank, port: 6379}}}
  defaultEnvironment: dev
`)
	ledger := inventory.Key{Namespace: "bank", Name: "ledger"}
	ledgerRef := inventory.Ref{Kind: inventory.KindService, Key: ledger}
	open := &inventory.Service{Key: ledger, Ports: []inventory.ServicePort{{Port: 6379, Protocol: "TCP"}}, AllowFrom: []string{"shop"}}
	inventory.Put(r.store, ledgerRef, open, time.Now())
	r.pod("shop", "web-0", map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"})
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: probe, namespace: shop}
spec: {protocol: tcp, listen: {port: 7100}, environments: {dev: {address: "127.0.0.1:1"}, prod: {address: "127.0.0.1:2"}}}
`)
	r.pod("shop", "web-2", map[string]string{"app": "none", "mesh.dragoman.io/environment": "dev"})
	r.start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	other := r.dial("shop", "web-2")
	other.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	c.Await(server.ListenerType, "shop/cache", &l)
	other.Await(server.ListenerType, "shop/foreign", &l)

	r.store.Delete(inventory.Ref{Kind: inventory.KindSecret, Key: inventory.Key{Namespace: "shop", Name: "redis-prod"}}, time.Now())
	r.awaitCondition("shop/cache", inventory.ConditionResolvedRefs, inventory.StatusFalse, "SecretNotFound")
	inventory.Put(r.store, objectRef("shop", "probe"), &inventory.Object{Object: mesh.NewAmbassador("probe", mesh.AmbassadorSpec{}), Err: errors.New("no good")}, time.Now())
	r.awaitCondition("shop/probe", inventory.ConditionAccepted, inventory.StatusFalse, "Invalid")
	closed := *open
	closed.AllowFrom = nil
	inventory.Put(r.store, ledgerRef, &closed, time.Now())
	other.AwaitGone(server.ListenerType, "shop/foreign")
	if names := c.Names(server.ListenerType); !slices.Contains(names, "shop/cache") || !slices.Contains(names, "shop/probe") {
		t.Errorf("what ran before is gone: %v", names)
	}
	r.awaitCondition("shop/foreign", inventory.ConditionResolvedRefs, inventory.StatusFalse, "RefNotPermitted")
}

// TestConditions follows an object from the first node to a refusal.
func TestConditions(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	r.awaitCondition("shop/cache", inventory.ConditionAccepted, inventory.StatusTrue, "Accepted")
	r.awaitCondition("shop/cache", inventory.ConditionResolvedRefs, inventory.StatusTrue, "ResolvedRefs")
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusUnknown, "NoProxies")

	good := r.dial("shop", "web-0")
	good.Subscribe(server.ListenerType)
	c := r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	if c.Message != "1 of 1 proxies run it" {
		t.Errorf("message: %q", c.Message)
	}

	r.pod("shop", "web-1", map[string]string{"app": "web"})
	bad := adstest.Dial(t, r.address, adstest.Options{
		Token: "shop web-1", Node: "web-1",
		Refuse: func(*discoveryv3.DeltaDiscoveryResponse) string {
			return "Listener \"shop/cache\": port 6380 is taken\nand \x1b[31mthis is red"
		},
	})
	bad.Subscribe(server.ListenerType)
	c = r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "Refused")
	if want := `1 of 2 proxies refused it: Listener "shop/cache": port 6380 is taken; and ?[31mthis is red`; c.Message != want {
		t.Errorf("message: %q, want %q", c.Message, want)
	}
	r.checkNACKed("shop/web-1")
	bad.Close()
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")

	r.pod("shop", "web-2", map[string]string{"app": "web", "mesh.dragoman.io/environment": "qa"})
	lost := r.dial("shop", "web-2")
	lost.Subscribe(server.ListenerType)
	c = r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "NoEnvironment")
	if !strings.Contains(c.Message, `there is no environment "qa"`) {
		t.Errorf("message: %q", c.Message)
	}
	r.store.Delete(inventory.Ref{Kind: inventory.KindService, Key: inventory.Key{Namespace: "shop", Name: "redis-prod"}}, time.Now())
	c = r.awaitCondition("shop/cache", inventory.ConditionResolvedRefs, inventory.StatusFalse, "ServiceNotFound")
	if !strings.Contains(c.Message, "environment prod") {
		t.Errorf("message: %q", c.Message)
	}
}

// TestPodsWithoutProxy are shown by the objects that select them, for as long as
// they are there.
func TestPodsWithoutProxy(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop().start()
	injected := r.dial("shop", "web-0")
	injected.Subscribe(server.ListenerType)
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	put := func(name string, change func(*inventory.Pod)) {
		p := &inventory.Pod{
			Key: inventory.Key{Namespace: "shop", Name: name}, UID: "uid-" + name,
			Labels: map[string]string{"app": "web"}, Annotations: map[string]string{},
		}
		change(p)
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindPod, Key: p.Key}, p, time.Now())
	}
	put("bare", func(*inventory.Pod) {})
	put("injected", func(p *inventory.Pod) { p.Annotations[mesh.InjectedAnnotation] = "native" })
	put("opted-out", func(p *inventory.Pod) { p.Labels[mesh.InjectLabel] = mesh.InjectDisabled })
	put("opted-out-too", func(p *inventory.Pod) { p.Annotations[mesh.InjectLabel] = mesh.InjectDisabled })
	put("ended", func(p *inventory.Pod) { p.Exempt = true })
	put("of-others", func(p *inventory.Pod) { p.Labels["app"] = "other" })
	label := func(value string) {
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Name: "shop"}},
			&inventory.Namespace{Name: "shop", Labels: map[string]string{mesh.InjectLabel: value}}, time.Now())
	}
	label(mesh.InjectEnabled)
	c := r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "PodsWithoutProxy")
	if want := "1 of 1 proxies run it; 1 selected pods have no proxy: bare; "; !strings.HasPrefix(c.Message, want) {
		t.Errorf("message %q, want %q...", c.Message, want)
	}
	r.store.Delete(inventory.Ref{Kind: inventory.KindPod, Key: inventory.Key{Namespace: "shop", Name: "bare"}}, time.Now())
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	put("bare", func(*inventory.Pod) {})
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "PodsWithoutProxy")
	label(mesh.InjectDisabled)
	r.awaitCondition("shop/cache", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
}

func (r *rig) checkNACKed(identity string) {
	r.t.Helper()
	for _, p := range r.engine.Proxies(r.t.Context()) {
		switch {
		case p.Identity != identity:
			if p.State != engine.Synced {
				r.t.Errorf("%s is %s", p.Identity, p.State)
			}
		case p.State != engine.NACKed || len(p.Refusals) != 1 || p.Refusals[0].Resources[0] != "shop/cache":
			r.t.Errorf("%+v", p)
		}
	}
}

// TestConflictingListeners: of two objects that bind to the same place at a node
// the first by name counts.
func TestConflictingListeners(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: twin, namespace: shop}
spec: {protocol: tcp, listen: {port: 6380}, environments: {dev: {address: "127.0.0.1:1"}}, defaultEnvironment: dev}
`)
	r.pod("shop", "batch-0", map[string]string{"app": "batch"})
	r.start()
	var l listenerv3.Listener
	web, batch := r.dial("shop", "web-0"), r.dial("shop", "batch-0")
	web.Subscribe(server.ListenerType)
	batch.Subscribe(server.ListenerType)
	web.Await(server.ListenerType, "shop/cache", &l)
	batch.Await(server.ListenerType, "shop/twin", &l)
	if names := web.Names(server.ListenerType); len(names) != 1 {
		t.Errorf("web-0 gets %v", names)
	}
	r.eventually("the status says who does not run it", func() bool {
		c := r.condition("shop/twin", inventory.ConditionProgrammed)
		return c.Reason == "ListenConflict" && strings.Contains(c.Message, "1 of 2 proxies run it")
	})
}

// TestZones: with topology hints nodes of different zones get different
// endpoints, and a zone that is new is translated for.
func TestZones(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: api, namespace: shop}
spec: {protocol: tcp, listen: {port: 7000}, environments: {dev: {service: {name: api, port: 80}}}, defaultEnvironment: dev}
`)
	key := inventory.Key{Namespace: "shop", Name: "api"}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindService, Key: key}, &inventory.Service{
		Key: key, Ports: []inventory.ServicePort{{Port: 80, Protocol: "TCP"}},
		Endpoints: []inventory.Endpoint{
			{Address: "10.0.0.1", Ports: map[string]uint32{"": 1}, Ready: true, Serving: true, Zone: "a", ForZones: []string{"a"}},
			{Address: "10.0.0.2", Ports: map[string]uint32{"": 2}, Ready: true, Serving: true, Zone: "b", ForZones: []string{"b"}},
		},
	}, time.Now())
	r.podOf("shop", "web-a", "uid-web-a", "a", nil)
	r.podOf("shop", "web-b", "uid-web-b", "b", nil)
	r.start()
	for pod, want := range map[string]uint32{"web-a": 1, "web-b": 2} {
		c := r.dial("shop", pod)
		c.Subscribe(server.EndpointType, "shop/api/dev")
		var a endpointv3.ClusterLoadAssignment
		c.Await(server.EndpointType, "shop/api/dev", &a)
		if diff := cmp.Diff([]uint32{want}, ports(&a)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pod, diff)
		}
	}
	if got := r.metric("dragoman_controlplane_variants"); got != 1 {
		t.Errorf("%v variants", got)
	}
}

// TestDumpHoldsNoSecret looks for the password of a Secret that is published.
func TestDumpHoldsNoSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.pod("shop", "web-0", map[string]string{"app": "web", "mesh.dragoman.io/environment": "prod"})
	r.start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.SecretType, "shop/redis-prod")
	var s tlsv3.Secret
	c.Await(server.SecretType, "shop/redis-prod", &s)
	d := r.engine.Dump(t.Context())
	found := false
	for _, res := range d.Resources {
		found = found || res.Name == "shop/redis-prod"
		if strings.Contains(string(res.Resource), "s3cret") {
			t.Errorf("%s %s shows the password", res.Type, res.Name)
		}
	}
	if !found {
		t.Error("the secret is not in the dump at all")
	}
}

// TestServicesThatClientsName: gRPC clients get ports of Services that they ask
// for, of their own namespace or where the Service lets them; also later than
// they have asked, and no longer when that ends.
func TestServicesThatClientsName(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pod("shop", "web-0", nil)
	r.pod("bank", "teller-0", nil)
	r.start()
	shop, bank := r.dial("shop", "web-0"), r.dial("bank", "teller-0")
	for _, c := range []*adstest.Client{shop, bank} {
		c.Subscribe(server.ListenerType, "api.shop:6379")
		c.Subscribe(server.EndpointType, "shop/api:6379")
		c.AwaitGone(server.ListenerType, "api.shop:6379")
	}
	var l listenerv3.Listener
	var a endpointv3.ClusterLoadAssignment
	r.service("shop", "api", 7001)
	shop.Await(server.ListenerType, "api.shop:6379", &l)
	shop.AwaitWhen(server.EndpointType, "shop/api:6379", &a, func() bool { return len(ports(&a)) == 1 })
	if names := bank.Names(server.ListenerType); len(names) > 0 {
		t.Errorf("another namespace gets %v", names)
	}
	key := inventory.Key{Namespace: "shop", Name: "api"}
	ref := inventory.Ref{Kind: inventory.KindService, Key: key}
	open := *r.store.Service(key)
	open.AllowFrom = []string{"bank"}
	inventory.Put(r.store, ref, &open, time.Now())
	bank.Await(server.ListenerType, "api.shop:6379", &l)
	closed := open
	closed.AllowFrom = nil
	inventory.Put(r.store, ref, &closed, time.Now())
	bank.AwaitGone(server.ListenerType, "api.shop:6379")
	r.store.Delete(ref, time.Now())
	shop.AwaitGone(server.ListenerType, "api.shop:6379")
	shop.Close()
	bank.Close()
	r.eventually("all is dropped", func() bool { return r.metric("dragoman_controlplane_variants") == 0 })
}

// TestManyObjectsOfOneNamespace are looked at once each when the engine starts,
// and a change of one of them is no matter of the others.
func TestManyObjectsOfOneNamespace(t *testing.T) {
	t.Parallel()
	const objects = 3000
	r := newRig(t)
	for i := range objects {
		r.put(fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: o%d, namespace: shop}
spec: {selector: {matchLabels: {app: a%d}}, protocol: tcp, listen: {port: 7000}, environments: {dev: {address: "127.0.0.1:1"}}, defaultEnvironment: dev}
`, i, i))
	}
	r.pod("shop", "web-0", map[string]string{"app": "a7"})
	r.start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	c.Await(server.ListenerType, "shop/o7", &l)
	r.awaitCondition("shop/o2999", inventory.ConditionProgrammed, inventory.StatusUnknown, "NoProxies")
	r.pod("shop", "web-0", map[string]string{"app": "a8"})
	c.Await(server.ListenerType, "shop/o8", &l)
	c.AwaitGone(server.ListenerType, "shop/o7")
	if got := r.translations(); got != 2 {
		t.Errorf("%v translations for 2 of %d objects", got, objects)
	}
}
