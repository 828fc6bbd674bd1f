package engine_test

import (
	"fmt"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

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
