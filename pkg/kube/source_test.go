package kube_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

var suite kubetest.Suite

func TestMain(m *testing.M) { os.Exit(suite.Main(m)) }

// patience is for how long a test waits for what should take milliseconds.
const patience = 30 * time.Second

// plane is a source that runs, and what it fills.
type plane struct {
	clients *kube.Clients
	system  string // its own namespace
	source  *kube.Source
	store   *inventory.Store
}

// install makes an API server ready for a control plane, as the manifests do it,
// but in a namespace of the test's own, which it returns.
func install(t *testing.T, api *kubetest.Server) (system string) {
	t.Helper()
	api.ApplyCRDs(t, "manifests/crds")
	system = api.Namespace(t)
	rbac, err := os.ReadFile("../../manifests/controlplane/rbac.yaml")
	if err != nil {
		t.Fatal(err)
	}
	api.Apply(t, "", strings.NewReplacer(
		"dragoman-system", system,
		"kind: ClusterRoleBinding\nmetadata: {name: dragoman-controlplane}", "kind: ClusterRoleBinding\nmetadata: {name: "+system+"}",
	).Replace(string(rbac)))
	return system
}

// account is the configuration of the control plane's service account.
func account(t *testing.T, api *kubetest.Server, system string) *rest.Config {
	t.Helper()
	return api.AsServiceAccount(t, system, "dragoman-controlplane")
}

// startPlane runs a source with a configuration, until the test ends.
func startPlane(t *testing.T, cfg *rest.Config, system string) *plane {
	t.Helper()
	clients, err := kube.NewClients(cfg)
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{clients: clients, system: system, source: kube.NewSource(clients, kube.SourceOptions{}), store: inventory.NewStore()}
	background(t, func(ctx context.Context) error { return p.source.Run(ctx, p.store) })
	return p
}

// background runs something until the test ends, which then waits for it.
func background(t *testing.T, run func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("does not end")
		}
	}
	t.Cleanup(stop)
	return stop
}

func (p *plane) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.source.WaitForSync(ctx); err != nil {
		t.Fatal(err)
	}
}

// eventually waits until what is seen is what is wanted.
func eventually[T any](t *testing.T, what string, want T, got func() T) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		diff := cmp.Diff(want, got())
		if diff == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s (-want +got):\n%s", what, diff)
		}
		<-tick.C
	}
}

// shared is the control plane of the tests that share an API server, with the
// rights of its own manifest and no others.
func shared(t *testing.T) (*kubetest.Server, *plane) {
	t.Helper()
	api := suite.Server(t)
	system := install(t, api)
	p := startPlane(t, account(t, api, system), system)
	p.await(t)
	return api, p
}

// addresses lists the endpoints of a Service, those that are not ready with a
// "!", those that terminate with a "~".
func addresses(p *plane, namespace, service string) []string {
	s := p.store.Service(inventory.Key{Namespace: namespace, Name: service})
	out := []string{}
	if s == nil {
		return nil
	}
	for _, e := range s.Endpoints {
		text := e.Address
		if !e.Ready {
			text = "!" + text
		}
		if e.Terminating {
			text = "~" + text
		}
		out = append(out, text)
	}
	return out
}

// TestSourceFollowsEndpoints: a Service and its slices appear, change, terminate
// and vanish; of both families; and core Endpoints count while there is no slice.
func TestSourceFollowsEndpoints(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t)
	want := func(what string, list ...string) {
		t.Helper()
		eventually(t, what, append([]string{}, list...), func() []string { return addresses(p, ns, "redis") })
	}
	endpoints := &corev1.Endpoints{ //nolint:staticcheck // deprecated, and still what some clusters have
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "redis"},
		Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "10.9.0.9"}}, Ports: []corev1.EndpointPort{{Name: "main", Port: 1}}}}, //nolint:staticcheck // the same
	}
	core := api.Client().CoreV1().Endpoints(ns)
	if _, err := core.Create(t.Context(), endpoints, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	api.Service(t, ns, "redis", 6379)
	want("core endpoints", "10.9.0.9")

	slice := api.EndpointSlice(t, ns, "redis", 7000, "10.9.0.1", "10.9.0.2")
	want("slices win", "10.9.0.1", "10.9.0.2")
	api.EndpointSlice(t, ns, "redis", 7000, "fd00:9::1")
	want("both families", "10.9.0.1", "10.9.0.2", "fd00:9::1")

	slice.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: new(false), Serving: new(true), Terminating: new(true)}
	slice.ResourceVersion = ""
	api.PutEndpointSlice(t, slice)
	want("terminating", "~!10.9.0.1", "10.9.0.2", "fd00:9::1")

	second := slice.DeepCopy()
	second.Name, second.ResourceVersion, second.UID = "redis-more", "", ""
	second.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"10.9.0.2"}}, {Addresses: []string{"10.9.0.3"}}}
	api.PutEndpointSlice(t, second)
	want("one that moves", "~!10.9.0.1", "10.9.0.2", "10.9.0.3", "fd00:9::1")

	for _, name := range []string{"redis-ipv4", "redis-ipv6", "redis-more"} {
		if err := api.Client().DiscoveryV1().EndpointSlices(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	want("no slices any more", "10.9.0.9")
	if err := core.Delete(t.Context(), "redis", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want("nothing any more")
	if err := api.Client().CoreV1().Services(ns).Delete(t.Context(), "redis", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no Service", true, func() bool { return p.store.Service(inventory.Key{Namespace: ns, Name: "redis"}) == nil })
}

// TestSourceFollowsLabels: a pod that is relabelled is so in the inventory and
// behind its Services, a namespace that is relabelled is so; and what changes
// nothing here wakes nobody.
func TestSourceFollowsLabels(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t, "team", "a")
	pod := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "redis-0", Labels: map[string]string{"role": "primary"}, Node: "n-" + ns})
	api.Service(t, ns, "redis", 6379)
	slice := api.EndpointSlice(t, ns, "redis", 6379, "10.9.1.1")
	slice.Endpoints[0].TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: "redis-0", Namespace: ns}
	slice.Endpoints[0].NodeName = new("n-" + ns)
	slice.ResourceVersion = ""
	api.PutEndpointSlice(t, slice)
	role := func() string {
		s := p.store.Service(inventory.Key{Namespace: ns, Name: "redis"})
		q := p.store.Pod(inventory.Key{Namespace: ns, Name: "redis-0"})
		if s == nil || q == nil || len(s.Endpoints) != 1 {
			return ""
		}
		return s.Endpoints[0].Labels["role"] + " " + q.Labels["role"] + " " + s.Endpoints[0].Zone + q.Zone
	}
	eventually(t, "labels", "primary primary ", role)
	api.Label(t, pod, "role", "replica")
	eventually(t, "new labels", "replica replica ", role)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n-" + ns, Labels: map[string]string{corev1.LabelTopologyZone: "z"}}}
	if _, err := api.Client().CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "zone of the node", "replica replica zz", role)

	team := func() string { return p.store.Namespace(ns).Labels["team"] }
	eventually(t, "namespace", "a", team)
	api.LabelNamespace(t, ns, "team", "b")
	eventually(t, "new label of the namespace", "b", team)

	// A heartbeat, then a change that is seen: of the first there is no trace.
	p.store.Take()
	podKey := inventory.Ref{Kind: inventory.KindPod, Key: inventory.Key{Namespace: ns, Name: "redis-0"}}
	pods := api.Client().CoreV1().Pods(ns)
	current, err := pods.Get(t.Context(), "redis-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	current.Status.Message = "still alive"
	if _, err := pods.UpdateStatus(t.Context(), current, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	other := api.Pod(t, kubetest.PodSpec{Namespace: ns, Name: "later"})
	eventually(t, "a later pod", true, func() bool { return p.store.Pod(inventory.Key{Namespace: ns, Name: other.Name}) != nil })
	if _, ok := p.store.Take()[podKey]; ok {
		t.Error("a heartbeat is a change")
	}
	api.DeletePod(t, current)
	eventually(t, "no pod", true, func() bool { return p.store.Pod(podKey.Key) == nil })
	eventually(t, "no labels", "", func() string {
		return p.store.Service(inventory.Key{Namespace: ns, Name: "redis"}).Endpoints[0].Labels["role"]
	})
}

const cacheObject = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, labels: {team: shop}}
spec:
  protocol: redis
  listen: {port: 6380}
  environments:
    prod:
      service: {name: redis, port: 6379}
      credentials: {secret: {name: redis-prod}}
      tls: {ca: {configMap: {name: redis-ca}}}
    dev: {address: "127.0.0.1:6379"}
  defaultEnvironment: dev
`

// TestSourceSyncsWithSecrets: what was there at the start is there when the
// source says that it is synced, Secrets included.
func TestSourceSyncsWithSecrets(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	system := install(t, api)
	ns := api.Namespace(t)
	allowSecrets(t, api, system, ns, "redis-prod", "redis-ca")
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "one"})
	api.Apply(t, ns, cacheObject)
	api.Service(t, ns, "redis", 6379)
	api.EndpointSlice(t, ns, "redis", 6379, "10.9.2.1")
	p := startPlane(t, account(t, api, system), system)
	p.await(t)
	if got := password(p, ns)(); got != "one" {
		t.Errorf("the Secret is %q", got)
	}
	if diff := cmp.Diff([]string{"10.9.2.1"}, addresses(p, ns, "redis")); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
	if err := p.source.Problem(); err != nil {
		// Other tests' namespaces allow nothing.
		for problem := range strings.SplitSeq(err.Error(), "\n") {
			if strings.Contains(problem, ns) || !strings.HasPrefix(problem, "watching Secret ") && !strings.HasPrefix(problem, "watching ConfigMap ") {
				t.Errorf("with the rights of the manifest: %s", problem)
			}
		}
	}
}

func deleteAmbassador(t *testing.T, api *kubetest.Server, ns, name string) {
	t.Helper()
	if err := ambassadors(api).Namespace(ns).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestSourceKeepsWhatIsInvalid: an object that the schema takes and Decode does
// not is in the inventory with the reason, and its last good form's Secrets stay.
func TestSourceKeepsWhatIsInvalid(t *testing.T) {
	t.Parallel()
	api, p := shared(t)
	ns := api.Namespace(t)
	key := inventory.Key{Namespace: ns, Name: "cache"}
	api.Apply(t, ns, cacheObject)
	eventually(t, "valid", true, func() bool { o := p.store.Ambassador(key); return o != nil && o.Err == nil })
	good := p.store.Ambassador(key)
	if diff := cmp.Diff(map[string]string{"team": "shop"}, good.Meta().Labels); diff != "" || good.UID == "" || good.Generation != 1 {
		t.Errorf("uid %q, generation %d, labels (-want +got):\n%s", good.UID, good.Generation, diff)
	}
	api.Apply(t, ns, strings.Replace(cacheObject, `"127.0.0.1:6379"`, `"no port"`, 1))
	eventually(t, "invalid", true, func() bool { return p.store.Ambassador(key).Err != nil })
	var at *mesh.Error
	if err := p.store.Ambassador(key).Err; !errors.As(err, &at) || at.Path != "spec.environments.dev.address" {
		t.Errorf("the reason is %v", err)
	}
	if got := p.store.Ambassador(key).Generation; got != 2 {
		t.Errorf("generation %d", got)
	}
}

// TestSourceSurvivesAbsence: while the API server is away the inventory stays;
// when it is back, changes come.
func TestSourceSurvivesAbsence(t *testing.T) {
	t.Parallel()
	api := kubetest.Start(t)
	system := install(t, api)
	ns := api.Namespace(t)
	allowSecrets(t, api, system, ns, "redis-prod", "redis-ca")
	api.Service(t, ns, "redis", 6379)
	api.EndpointSlice(t, ns, "redis", 6379, "10.9.3.1")
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "one"})
	api.Apply(t, ns, cacheObject)
	cfg := account(t, api, system)
	p := startPlane(t, cfg, system)
	p.await(t)
	p.store.Take()

	api.Stop()
	late := startPlane(t, cfg, system)
	eventually(t, "the absence is noticed", true, func() bool { return p.source.Problem() != nil })
	if got := addresses(p, ns, "redis"); !slices.Equal(got, []string{"10.9.3.1"}) {
		t.Errorf("while it is away: %v", got)
	}
	eventually(t, "a source that starts now says what it waits for", true, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		err := late.source.WaitForSync(ctx)
		return err != nil && strings.Contains(err.Error(), "watching ambassadors")
	})
	api.Restart(t)
	late.await(t)
	api.EndpointSlice(t, ns, "redis", 6379, "10.9.3.2")
	api.Secret(t, ns, "redis-prod", map[string]string{"password": "two"})
	eventually(t, "a change after the return", []string{"10.9.3.2"}, func() []string { return addresses(p, ns, "redis") })
	eventually(t, "a rotation after the return", "two", password(p, ns))
	eventually(t, "all is well", true, func() bool { return p.source.Problem() == nil })
	for ref := range p.store.Take() {
		if ref.Kind == inventory.KindAmbassador || ref.Kind == inventory.KindNamespace {
			t.Errorf("%v %v has not changed", ref.Kind, ref)
		}
	}
}

func ambassadors(api *kubetest.Server) dynamic.NamespaceableResourceInterface {
	return api.Dynamic().Resource(v1alpha1.Ambassadors())
}
