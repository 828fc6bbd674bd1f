package engine_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

const adapterDocument = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: cache, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  metrics:
    listen: {port: 9113}
    sources:
    - {name: nginx, nginxStubStatus: {uri: "http://localhost/nginx_status", auth: {username: me, passwordSecret: {name: redis-prod}}}}
`

// TestAdaptersAreServed: an Adapter goes to the nodes that it selects, beside an
// Ambassador of the same name, with the secrets that it names.
func TestAdaptersAreServed(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(adapterDocument)
	r.pod("shop", "batch-0", map[string]string{"app": "batch"})
	r.start()
	const adapter = "Adapter shop/cache"
	r.awaitCondition(adapter, inventory.ConditionAccepted, inventory.StatusTrue, "Accepted")
	r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusTrue, "ResolvedRefs")
	r.awaitCondition(adapter, inventory.ConditionProgrammed, inventory.StatusUnknown, "NoProxies")

	web, batch := r.dial("shop", "web-0"), r.dial("shop", "batch-0")
	web.Subscribe(server.ListenerType)
	batch.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	web.Await(server.ListenerType, "shop/cache/adapter", &l)
	web.Await(server.ListenerType, "shop/cache", &l)
	if diff := cmp.Diff([]string{"shop/cache", "shop/cache/adapter"}, web.Names(server.ListenerType)); diff != "" {
		t.Errorf("web-0 gets (-want +got):\n%s", diff)
	}
	const secret = "shop/redis-prod:key:password"
	web.Subscribe(server.SecretType, secret)
	var s tlsv3.Secret
	web.Await(server.SecretType, secret, &s)
	r.awaitCondition(adapter, inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	if names := batch.Names(server.ListenerType); len(names) != 0 {
		t.Errorf("batch-0 gets %v", names)
	}

	r.put(strings.Replace(adapterDocument, "redis-prod", "nobody", 1))
	r.awaitCondition(adapter, inventory.ConditionResolvedRefs, inventory.StatusFalse, "SecretNotFound")
	objs, _ := mesh.Decode("", []byte(adapterDocument), mesh.InCluster())
	inventory.Put(r.store, inventory.RefOf(objs[0]), &inventory.Object{Object: objs[0], Generation: 2, Err: errors.New("it is wrong")}, time.Now())
	if c := r.awaitCondition(adapter, inventory.ConditionAccepted, inventory.StatusFalse, "Invalid"); c.Message != "it is wrong" {
		t.Errorf("people read %q", c.Message)
	}
	r.store.Delete(inventory.RefOf(objs[0]), time.Now())
	web.AwaitGone(server.ListenerType, "shop/cache/adapter")
}

// TestAdapterMeetsAmbassador: the Ambassador has the port.
func TestAdapterMeetsAmbassador(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(strings.Replace(adapterDocument, "9113", "6380", 1))
	r.start()
	web := r.dial("shop", "web-0")
	web.Subscribe(server.ListenerType)
	var l listenerv3.Listener
	web.Await(server.ListenerType, "shop/cache", &l)
	c := r.awaitCondition("Adapter shop/cache", inventory.ConditionProgrammed, inventory.StatusFalse, "ListenConflict")
	if !strings.Contains(c.Message, "shop/cache binds to the same place") {
		t.Errorf("people read %q", c.Message)
	}
}

// TestLogsAdaptersAreServed: the listener and the cluster of the receiver go to the nodes. Of two that keep their positions in one file, the second
// is not.
func TestLogsAdaptersAreServed(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	const document = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: logs, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  logs:
    positions: /var/log/app/positions
    sources: [{name: app, paths: [/var/log/app/app.log]}]
    sink: {loki: {service: {name: redis-prod, port: 6379}, labels: {job: app}}}
`
	r.put(document)
	r.put(strings.Replace(document, "name: logs", "name: more-logs", 1))
	r.start()
	web := r.dial("shop", "web-0")
	const name = "shop/logs/adapter"
	web.Subscribe(server.ListenerType)
	web.Subscribe(server.ClusterType)
	web.Subscribe(server.EndpointType, name)
	var l listenerv3.Listener
	web.Await(server.ListenerType, name, &l)
	if l.GetInternalListener() == nil {
		t.Errorf("people can connect to %v", &l)
	}
	var c clusterv3.Cluster
	web.Await(server.ClusterType, name, &c)
	var endpoints endpointv3.ClusterLoadAssignment
	web.Await(server.EndpointType, name, &endpoints)
	r.awaitCondition("Adapter shop/logs", inventory.ConditionAccepted, inventory.StatusTrue, "Accepted")
	r.awaitCondition("Adapter shop/logs", inventory.ConditionResolvedRefs, inventory.StatusTrue, "ResolvedRefs")
	r.awaitCondition("Adapter shop/logs", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	second := r.awaitCondition("Adapter shop/more-logs", inventory.ConditionProgrammed, inventory.StatusFalse, "PositionsConflict")
	if want := "Adapter shop/logs keeps its positions in the same file"; !strings.Contains(second.Message, want) {
		t.Errorf("people read %q, not that %s", second.Message, want)
	}
}

// TestLogsNeedAVolume: an Adapter of logs is not for proxies that were injected without a volume at any of its paths, and its status says what to do. One
// such path is enough, and of a proxy that nobody has injected nothing is known.
func TestLogsNeedAVolume(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: logs, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  logs:
    sources: [{name: app, paths: [/var/log/app/app.log, /data/*/app.log]}]
    sink: {stdout: {}}
`)
	labels := map[string]string{"app": "web"}
	injected := func(name string, mounts ...string) *adstest.Client {
		key := inventory.Key{Namespace: "shop", Name: name}
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindPod, Key: key},
			&inventory.Pod{Key: key, UID: "uid-" + name, Labels: labels, Injected: true, ProxyMounts: mounts}, time.Now())
		c := r.dial("shop", name)
		c.Subscribe(server.ListenerType)
		return c
	}
	r.pod("shop", "by-hand", labels)
	r.start()
	const name = "shop/logs/adapter"
	var l listenerv3.Listener
	injected("with", "/var/lib/dragoman", "/data/x").Await(server.ListenerType, name, &l)
	byHand := r.dial("shop", "by-hand")
	byHand.Subscribe(server.ListenerType)
	byHand.Await(server.ListenerType, name, &l)
	r.awaitCondition("Adapter shop/logs", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	injected("without", "/var/lib/dragoman", "/var/log/app2")
	c := r.awaitCondition("Adapter shop/logs", inventory.ConditionProgrammed, inventory.StatusFalse, "LogsNotMounted")
	if want := "their pods have no volume for the proxy at /var/log/app/app.log: mount one there"; !strings.Contains(c.Message, want) {
		t.Errorf("people read %q, not that %s", c.Message, want)
	}
}

// TestAPIAdaptersFollowServices: the listener, its routes and its cluster go to
// the nodes, and endpoints alone move with the Service.
func TestAPIAdaptersFollowServices(t *testing.T) {
	t.Parallel()
	r := newRig(t).shop()
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  api: {listen: {port: 8081}, upstream: {service: {name: redis-prod, port: 6379}}, routes: [{match: {path: "/v1/{id}"}, request: {path: "/{id}"}}]}
`)
	r.start()
	web := r.dial("shop", "web-0")
	const name = "shop/orders/adapter"
	web.Subscribe(server.ListenerType)
	web.Subscribe(server.ClusterType)
	web.Subscribe(server.RouteType, name)
	web.Subscribe(server.EndpointType, name)
	var l listenerv3.Listener
	web.Await(server.ListenerType, name, &l)
	var c clusterv3.Cluster
	web.Await(server.ClusterType, name, &c)
	var routes routev3.RouteConfiguration
	web.Await(server.RouteType, name, &routes)
	var endpoints endpointv3.ClusterLoadAssignment
	web.Await(server.EndpointType, name, &endpoints)
	if n := len(endpoints.GetEndpoints()); n == 0 {
		t.Errorf("no endpoints: %v", &endpoints)
	}
	r.awaitCondition("Adapter shop/orders", inventory.ConditionAccepted, inventory.StatusTrue, "Accepted")
	r.awaitCondition("Adapter shop/orders", inventory.ConditionResolvedRefs, inventory.StatusTrue, "ResolvedRefs")
	r.awaitCondition("Adapter shop/orders", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
}
