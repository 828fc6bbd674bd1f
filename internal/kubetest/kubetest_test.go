package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestObjectsAreMadeReadChangedAndDeleted(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	maps := api.Client().CoreV1().ConfigMaps(api.Namespace(t))
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}, Data: map[string]string{"k": "v1"}}
	made, err := maps.Create(t.Context(), config, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made.Data["k"] = "v2"
	if _, err := maps.Update(t.Context(), made, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	got, err := maps.Get(t.Context(), "c", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"k": "v2"}, got.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if _, err := maps.Update(t.Context(), made, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("an update of what has changed since: got %v, want a conflict", err)
	}
	if err := maps.Delete(t.Context(), "c", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := maps.Get(t.Context(), "c", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after the deletion: got %v, want not found", err)
	}
}

func TestWatchSeesAnEndpointSliceChange(t *testing.T) {
	t.Parallel()
	api, hosts := suite.Server(t), suite.Addresses(t, 2)
	ns := api.Namespace(t)
	api.Service(t, ns, "redis", 6379)
	watcher, err := api.Client().DiscoveryV1().EndpointSlices(ns).Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer watcher.Stop()
	slice := api.EndpointSlice(t, ns, "redis", 6379, hosts[0].String())
	api.EndpointSlice(t, ns, "redis", 6379, hosts[1].String())
	slice.Endpoints[0].Conditions.Ready = new(false)
	api.PutEndpointSlice(t, slice) // as it was read before the change
	type seen struct {
		Type    watch.EventType
		Address string
		Ready   bool
	}
	want := []seen{
		{watch.Added, hosts[0].String(), true},
		{watch.Modified, hosts[1].String(), true},
		{watch.Modified, hosts[0].String(), false},
	}
	var got []seen
	for range want {
		event := next(t, watcher)
		object, ok := event.Object.(*discoveryv1.EndpointSlice)
		if !ok {
			t.Fatalf("event %s of a %T: %v", event.Type, event.Object, event.Object)
		}
		got = append(got, seen{event.Type, object.Endpoints[0].Addresses[0], *object.Endpoints[0].Conditions.Ready})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// next waits for a watch's next event.
func next(t *testing.T, watcher watch.Interface) watch.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callLimit)
	defer cancel()
	select {
	case event := <-watcher.ResultChan():
		return event
	case <-ctx.Done():
		t.Fatal("no event")
		return watch.Event{}
	}
}

func TestEndpointsOnLoopbackAreRefused(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	_, err := api.TryApply(api.Namespace(t), `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: s}
addressType: IPv4
endpoints: [{addresses: [127.0.0.2]}]
`)
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v, want an invalid object", err)
	}
}

func TestRedisListensWhereAnEndpointIs(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	hosts := append(suite.Addresses(t, 2), suite.Addresses6(t, 1)...)
	for i, host := range hosts {
		service := "redis-" + strconv.Itoa(i)
		node := redistest.Server(t, redistest.WithAddress(host.String(), 6379))
		api.Service(t, ns, service, 6379)
		slice := api.EndpointSlice(t, ns, service, 6379, host.String())
		addr := net.JoinHostPort(slice.Endpoints[0].Addresses[0], strconv.Itoa(int(*slice.Ports[0].Port)))
		if addr != node.Addr() {
			t.Errorf("endpoint %s, Redis on %s", addr, node.Addr())
		}
		if got := redistest.Dial(t, addr).Do("SET", "k", "v"); got != "+OK\r\n" {
			t.Errorf("SET at %s: %q", addr, got)
		}
	}
}

func TestAddressesAreGivenOnce(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for range 3 {
		for _, address := range append(suite.Addresses(t, 300), suite.Addresses6(t, 30)...) {
			if seen[address.String()] || address.IsLoopback() || !address.IsPrivate() {
				t.Fatalf("address %s", address)
			}
			seen[address.String()] = true
		}
	}
}

func TestLabelsChange(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t, "team", "shop")
	pod := api.Pod(t, PodSpec{Namespace: ns, Name: "web-0", Labels: map[string]string{"app": "web", "environment": "dev"}, NotReady: true})
	pod = api.Label(t, pod, "environment", "prod", "app", "")
	if diff := cmp.Diff(map[string]string{"environment": "prod"}, pod.Labels); diff != "" {
		t.Errorf("labels of the pod (-want +got):\n%s", diff)
	}
	api.LabelNamespace(t, ns, "environment", "prod", "team", "")
	got, err := api.Client().CoreV1().Namespaces().Get(t.Context(), ns, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"environment": "prod", corev1.LabelMetadataName: ns}, got.Labels); diff != "" {
		t.Errorf("labels of the namespace (-want +got):\n%s", diff)
	}
}

func TestSecretIsReplaced(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	api.Secret(t, ns, "redis", map[string]string{"username": "app", "password": "one"})
	api.Secret(t, ns, "redis", map[string]string{"password": "two"})
	got, err := api.Client().CoreV1().Secrets(ns).Get(t.Context(), "redis", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"password": []byte("two")}, got.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
}

func TestControllerMakesEndpointSlices(t *testing.T) {
	t.Parallel()
	api, hosts := suite.Server(t), suite.Addresses(t, 2)
	ns := api.Namespace(t)
	api.Apply(t, ns, `
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
`)
	api.RunEndpointSliceController(t)
	zone := "zone-of-" + ns
	api.Node(t, ns, zone)
	app := map[string]string{"app": "web"}
	api.Pod(t, PodSpec{Namespace: ns, Name: "web-0", Labels: app, Node: ns, Addresses: hosts[:1]})
	api.Pod(t, PodSpec{Namespace: ns, Name: "web-1", Labels: app, Node: ns, Addresses: hosts[1:], NotReady: true})
	type endpoint struct {
		Zone  string
		Ready bool
	}
	want := map[string]endpoint{hosts[0].String(): {zone, true}, hosts[1].String(): {zone, false}}
	redistest.Eventually(t, callLimit, "the slice of both pods", func() error {
		got := make(map[string]endpoint)
		slices, err := api.Client().DiscoveryV1().EndpointSlices(ns).List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=web"})
		if err != nil {
			return err
		}
		for _, slice := range slices.Items {
			for _, e := range slice.Endpoints {
				got[e.Addresses[0]] = endpoint{*e.Zone, *e.Conditions.Ready}
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
}

func TestOwnKindsAreServedAndValidated(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	for range 2 { // the second time it is there already
		api.ApplyCRDs(t, "internal/kubetest/testdata/crds")
	}
	const widget = "{apiVersion: kubetest.dragoman.io/v1, kind: Widget, metadata: {name: w}, spec: {low: %d, high: 2}}"
	_, err := api.TryApply(ns, fmt.Sprintf(widget, 3))
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "low is above high") {
		t.Errorf("got %v, want the refusal of the rule", err)
	}
	made := api.Apply(t, ns, fmt.Sprintf(widget, 1))[0]
	if got, _, _ := unstructured.NestedInt64(api.Get(t, made).Object, "spec", "low"); got != 1 {
		t.Errorf("low: got %d, want 1", got)
	}
	api.Delete(t, made)
	if list := api.Kubectl(t, nil, "get", "widgets", "-n", ns, "-o", "name"); list != "" {
		t.Errorf("after the deletion: %s", list)
	}
}

// TestInformerFollows shows that informers work as in a cluster: they list by watching, for which the API server must know how far etcd is.
func TestInformerFollows(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	api.Pod(t, PodSpec{Namespace: ns, Name: "before"})
	factory := informers.NewSharedInformerFactoryWithOptions(api.Client(), 0, informers.WithNamespace(ns))
	pods := factory.Core().V1().Pods()
	informer := pods.Informer()
	ctx, cancel := context.WithCancel(t.Context())
	defer factory.Shutdown()
	defer cancel()
	factory.Start(ctx.Done())
	redistest.Eventually(t, callLimit, "the first list", func() error {
		if !informer.HasSynced() {
			return errors.New("not synced")
		}
		return nil
	})
	api.Pod(t, PodSpec{Namespace: ns, Name: "after"})
	for _, name := range []string{"before", "after"} {
		redistest.Eventually(t, callLimit, "the pod", func() error {
			_, err := pods.Lister().Pods(ns).Get(name)
			return err
		})
	}
}

func TestKubectl(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	api.Kubectl(t, []byte(`{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "v"}}`), "apply", "-n", ns, "-f", "-")
	if got := api.Kubectl(t, nil, "get", "configmap", "-n", ns, "c", "-o", "jsonpath={.data.k}"); got != "v" {
		t.Errorf("got %q, want v", got)
	}
}

func TestRestartKeepsData(t *testing.T) {
	t.Parallel()
	api := Start(t)
	ns := api.Namespace(t)
	pod := api.Pod(t, PodSpec{Namespace: ns, Name: "web-0"})
	token := api.Token(t, pod)
	url := api.URL()
	api.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := api.Client().CoreV1().Pods(ns).Get(ctx, "web-0", metav1.GetOptions{}); err == nil {
		t.Error("the stopped API server answers")
	}
	api.Restart(t)
	got, err := api.Client().CoreV1().Pods(ns).Get(t.Context(), "web-0", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got.UID != pod.UID || api.URL() != url {
		t.Errorf("pod %s at %s, want %s at %s", got.UID, api.URL(), pod.UID, url)
	}
	if status := review(t, api, token); !status.Authenticated {
		t.Errorf("the token from before is refused: %s", status.Error)
	}
}

func TestPausedServerAnswersAgainWhenResumed(t *testing.T) {
	t.Parallel()
	api := Start(t)
	api.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := api.Client().CoreV1().Namespaces().List(ctx, metav1.ListOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("while paused: got %v, want no answer", err)
	}
	api.Resume()
	if _, err := api.Client().CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("after that: %v", err)
	}
}
