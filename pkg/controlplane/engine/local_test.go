package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

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
			Address: fmt.Sprint("10.0.0.", i), NodeName: fmt.Sprint("n", i), Ports: map[string]uint32{"": uint32(i)}, Ready: true, Serving: true,
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
