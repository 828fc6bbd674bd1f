package kubetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

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

func TestTokenOfAPodTellsWhoItIs(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	pod := api.Pod(t, PodSpec{Namespace: ns, Name: "web-0", ServiceAccount: "web", Node: "node-1"})
	token, err := os.ReadFile(api.TokenFile(t, pod))
	if err != nil {
		t.Fatal(err)
	}
	status := review(t, api, string(token))
	if !status.Authenticated {
		t.Fatalf("refused: %s", status.Error)
	}
	want := map[string][]string{
		"name":     {"system:serviceaccount:" + ns + ":web"},
		"audience": {"dragoman"},
		"pod":      {"web-0"},
		"uid":      {string(pod.UID)},
		"node":     {"node-1"},
	}
	got := map[string][]string{
		"name":     {status.User.Username},
		"audience": status.Audiences,
		"pod":      status.User.Extra["authentication.kubernetes.io/pod-name"],
		"uid":      status.User.Extra["authentication.kubernetes.io/pod-uid"],
		"node":     status.User.Extra["authentication.kubernetes.io/node-name"],
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("identity (-want +got):\n%s", diff)
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	pod := api.Pod(t, PodSpec{Namespace: api.Namespace(t), Name: "web-0"})
	gone := api.Pod(t, PodSpec{Namespace: pod.Namespace, Name: "web-1"})
	tokenOfGone := api.Token(t, gone)
	api.DeletePod(t, gone)
	tests := []struct{ name, token, want string }{
		{"expired", api.ExpiredToken(t, pod), "expired"},
		{"for another audience", api.Token(t, pod, "vault"), "audience"},
		{"of a pod that is gone", tokenOfGone, ""},
		{"altered", api.Token(t, pod) + "A", ""},
		{"of nobody", "no-token", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			// What the API server knows of pods lags behind a little.
			redistest.Eventually(t, callLimit, "a refusal", func() error {
				status := review(t, api, tt.token)
				if status.Authenticated {
					return errors.New("the token is accepted")
				}
				if !strings.Contains(status.Error, tt.want) {
					t.Fatalf("refused for another reason: %s", status.Error)
				}
				return nil
			})
		})
	}
}

// review asks the API who shows a token meant for us.
func review(t *testing.T, api *Server, token string) authenticationv1.TokenReviewStatus {
	t.Helper()
	request := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}}}
	answer, err := api.Client().AuthenticationV1().TokenReviews().Create(t.Context(), request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status
}

func TestRightsAreThoseThatRolesGrant(t *testing.T) {
	t.Parallel()
	api := suite.Server(t)
	ns := api.Namespace(t)
	api.Apply(t, ns, `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: readers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects:
- {kind: ServiceAccount, name: reader}
- {kind: User, name: ann, apiGroup: rbac.authorization.k8s.io}
- {kind: Group, name: staff, apiGroup: rbac.authorization.k8s.io}
`)
	tests := []struct {
		name    string
		config  *rest.Config
		allowed bool
	}{
		{"administrator", api.Config(), true},
		{"service account", api.AsServiceAccount(t, ns, "reader"), true},
		{"another service account", api.AsServiceAccount(t, ns, "other"), false},
		{"user", api.As("ann"), true},
		{"member of a group", api.As("bob", "staff"), true},
		{"another user", api.As("eve"), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pods := client(t, tt.config).CoreV1().Pods(ns)
			// RBAC, too, reads roles from a cache.
			redistest.Eventually(t, callLimit, "the right", func() error {
				_, err := pods.List(t.Context(), metav1.ListOptions{})
				switch {
				case tt.allowed:
					return err
				case !apierrors.IsForbidden(err):
					t.Fatalf("got %v, want forbidden", err)
				}
				return nil
			})
			if _, err := client(t, tt.config).CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); tt.name != "administrator" && !apierrors.IsForbidden(err) {
				t.Errorf("pods of another namespace: got %v, want forbidden", err)
			}
		})
	}
	_, err := client(t, api.WithToken("wrong")).CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsUnauthorized(err) {
		t.Errorf("a wrong token: got %v, want unauthorized", err)
	}
}

func client(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	c, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
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
