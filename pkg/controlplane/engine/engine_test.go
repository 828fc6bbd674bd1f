package engine_test

import (
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

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
