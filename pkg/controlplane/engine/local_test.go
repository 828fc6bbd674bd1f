package engine_test

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

const agent = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: agent, namespace: shop}
spec: {protocol: tcp, listen: {port: 7000}, environments: {dev: {service: {name: agent, port: 80}}}, defaultEnvironment: dev}
`

// agents puts a Service with a pod on each of the nodes n1, n2 and so on, of which
// the i-th listens on port i.
func (r *rig) agents(n int, local bool) {
	key := inventory.Key{Namespace: "shop", Name: "agent"}
	s := &inventory.Service{Key: key, Local: local, Ports: []inventory.ServicePort{{Port: 80, Protocol: "TCP"}}}
	for i := 1; i <= n; i++ {
		s.Endpoints = append(s.Endpoints, inventory.Endpoint{
			Address: fmt.Sprintf("10.0.%d.%d", i/200, i%200), NodeName: fmt.Sprint("n", i), Ports: map[string]uint32{"": uint32(i)}, Ready: true, Serving: true,
		})
	}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindService, Key: key}, s, time.Now())
}

// TestInternalTrafficPolicy: of a Service that is Local, the nodes get the endpoints on
// their own, also if it becomes so while they are connected, and however many come.
func TestInternalTrafficPolicy(t *testing.T) {
	t.Parallel()
	const nodes = 20
	r := newRig(t)
	r.put(agent)
	r.agents(nodes, true)
	for i := 1; i <= nodes; i++ {
		r.podAt("shop", fmt.Sprint("web-", i), fmt.Sprint("uid-web-", i), translate.Spot{Zone: "a", NodeName: fmt.Sprint("n", i)}, nil)
	}
	r.podAt("shop", "lonely", "uid-lonely", translate.Spot{Zone: "a", NodeName: "other"}, nil)
	r.start()
	await := func(pod string, want ...uint32) func(want ...uint32) {
		c := r.dial("shop", pod)
		c.Subscribe(server.EndpointType, "shop/agent/dev", "shop/agent:80")
		again := func(want ...uint32) {
			t.Helper()
			for _, name := range []string{"shop/agent/dev", "shop/agent:80"} {
				var a endpointv3.ClusterLoadAssignment
				c.AwaitWhen(server.EndpointType, name, &a, func() bool { return slices.Equal(ports(&a), want) })
			}
		}
		again(want...)
		return again
	}
	first := await("web-1", 1)
	await("lonely")
	for i := 2; i <= nodes; i++ {
		await(fmt.Sprint("web-", i), uint32(i))
	}
	if got := r.translations(); got > 4*nodes {
		t.Errorf("%v translations for %d nodes", got, nodes)
	}
	r.agents(2, false)
	first(1, 2)
	r.agents(2, true)
	first(1)
}

// TestLocalServiceWithLateSecret: what an object lacks comes while nodes do.
func TestLocalServiceWithLateSecret(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: agent, namespace: shop}
spec: {protocol: redis, listen: {port: 7000}, environments: {dev: {service: {name: agent, port: 80}, credentials: {secret: {name: late}}}}, defaultEnvironment: dev}
`)
	r.agents(9, true)
	for i := 1; i <= 9; i++ {
		r.podAt("shop", fmt.Sprint("web-", i), fmt.Sprint("uid-web-", i), translate.Spot{NodeName: fmt.Sprint("n", i)}, nil)
	}
	r.start()
	first := r.dial("shop", "web-1")
	first.Subscribe(server.EndpointType, "shop/agent/dev")
	r.awaitCondition("shop/agent", inventory.ConditionResolvedRefs, inventory.StatusFalse, "SecretNotFound")
	for i := 2; i <= 9; i++ {
		c := r.dial("shop", fmt.Sprint("web-", i))
		c.Subscribe(server.EndpointType, "shop/agent/dev")
		if i == 5 {
			r.secret("shop", "late", fmt.Sprint("password", time.Now()))
		}
		defer func() {
			var a endpointv3.ClusterLoadAssignment
			c.AwaitWhen(server.EndpointType, "shop/agent/dev", &a, func() bool { return len(ports(&a)) == 1 && ports(&a)[0] == uint32(i) })
		}()
	}
}

// TestLocalServiceGoes: what ran before stays on each node, whatever else comes.
func TestLocalServiceGoes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(agent)
	r.agents(2, true)
	for _, pod := range []string{"web-1", "web-2"} {
		r.podAt("shop", pod, "uid-"+pod, translate.Spot{Zone: "a", NodeName: "n1"}, nil)
	}
	r.start()
	dial := func(pod string) *adstest.Client {
		c := r.dial("shop", pod)
		c.Subscribe(server.ListenerType)
		c.Subscribe(server.EndpointType, "shop/agent/dev")
		c.Await(server.ListenerType, "shop/agent", &listenerv3.Listener{})
		var a endpointv3.ClusterLoadAssignment
		c.AwaitWhen(server.EndpointType, "shop/agent/dev", &a, func() bool { return slices.Equal(ports(&a), []uint32{1}) })
		return c
	}
	first := dial("web-1")
	r.store.Delete(inventory.Ref{Kind: inventory.KindService, Key: inventory.Key{Namespace: "shop", Name: "agent"}}, time.Now())
	r.awaitCondition("shop/agent", inventory.ConditionResolvedRefs, inventory.StatusFalse, "ServiceNotFound")
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: other, namespace: shop}
spec: {protocol: tcp, listen: {port: 7001}, environments: {dev: {address: "127.0.0.1:1"}}, defaultEnvironment: dev}
`)
	first.Await(server.ListenerType, "shop/other", &listenerv3.Listener{})
	dial("web-2")
	if first.Gone(server.ListenerType, "shop/agent") || first.Gone(server.EndpointType, "shop/agent/dev") {
		t.Error("what ran is taken away")
	}
}

// TestUnknownSpot: who comes later from where nobody knows gets an answer, too: of a
// Local Service no endpoint, of one with topology hints all of them.
func TestUnknownSpot(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(agent)
	r.put(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: hinted, namespace: shop}
spec: {protocol: tcp, listen: {port: 7001}, environments: {dev: {service: {name: hinted, port: 80}}}, defaultEnvironment: dev}
`)
	services := func(n int) {
		r.agents(n, true)
		key := inventory.Key{Namespace: "shop", Name: "hinted"}
		s := &inventory.Service{Key: key, Ports: []inventory.ServicePort{{Port: 80, Protocol: "TCP"}}}
		for i := 1; i <= n; i++ {
			s.Endpoints = append(s.Endpoints, inventory.Endpoint{
				Address: fmt.Sprint("10.0.1.", i), ForZones: []string{fmt.Sprint("zone-", i)}, Ports: map[string]uint32{"": uint32(i)}, Ready: true, Serving: true,
			})
		}
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindService, Key: key}, s, time.Now())
	}
	services(1)
	r.podAt("shop", "web", "uid-web", translate.Spot{Zone: "zone-2", NodeName: "n2"}, nil)
	r.podAt("shop", "adrift", "uid-adrift", translate.Spot{}, nil)
	r.start()
	dial := func(pod string) func(local, hinted []uint32) {
		c := r.dial("shop", pod)
		c.Subscribe(server.EndpointType, "shop/agent/dev", "shop/agent:80", "shop/hinted/dev", "shop/hinted:80")
		return func(local, hinted []uint32) {
			t.Helper()
			for name, want := range map[string][]uint32{"shop/agent/dev": local, "shop/agent:80": local, "shop/hinted/dev": hinted, "shop/hinted:80": hinted} {
				var a endpointv3.ClusterLoadAssignment
				c.AwaitWhen(server.EndpointType, name, &a, func() bool { return slices.Equal(ports(&a), want) })
			}
		}
	}
	web := dial("web")
	web(nil, []uint32{1})
	services(2)
	web([]uint32{2}, []uint32{2})
	dial("adrift")(nil, []uint32{1, 2})
}

// TestServiceBecomesLocal: nobody is without endpoints while a Service becomes Local.
func TestServiceBecomesLocal(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(agent)
	r.agents(2, false)
	var empty atomic.Int32
	look := func(m *discoveryv3.DeltaDiscoveryResponse) string {
		for _, resource := range m.GetResources() {
			var a endpointv3.ClusterLoadAssignment
			if err := resource.GetResource().UnmarshalTo(&a); err != nil || len(ports(&a)) == 0 {
				empty.Add(1)
			}
		}
		return ""
	}
	r.start()
	var clients []*adstest.Client
	for i := range 50 {
		pod := fmt.Sprint("web-", i)
		r.podAt("shop", pod, "uid-"+pod, translate.Spot{NodeName: "n1"}, nil)
		c := adstest.Dial(t, r.address, adstest.Options{Token: "shop " + pod, Node: pod, Refuse: look})
		c.Subscribe(server.EndpointType, "shop/agent/dev")
		clients = append(clients, c)
	}
	await := func(want ...uint32) {
		t.Helper()
		for _, c := range clients {
			var a endpointv3.ClusterLoadAssignment
			c.AwaitWhen(server.EndpointType, "shop/agent/dev", &a, func() bool { return slices.Equal(ports(&a), want) })
		}
	}
	for range 10 {
		await(1, 2)
		r.agents(2, true)
		await(1)
		r.agents(2, false)
	}
	if n := empty.Load(); n > 0 {
		t.Errorf("%d times without an endpoint", n)
	}
}
