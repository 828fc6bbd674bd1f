package engine_test

import (
	"fmt"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestAllOrNothing: of an object of which one resource cannot be sent, the others stay as
// they are, too.
func TestAllOrNothing(t *testing.T) {
	t.Parallel()
	document := func(timeout string) string {
		return fmt.Sprintf(`
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: web, namespace: shop}
spec:
  protocol: tcp
  listen: {port: 8080}
  tcp: {connectTimeout: %s}
  environments: {dev: {service: {name: web, port: 80}}}
  defaultEnvironment: dev
`, timeout)
	}
	r := newRig(t)
	endpoints := func(n int) {
		key := inventory.Key{Namespace: "shop", Name: "web"}
		s := &inventory.Service{Key: key, Ports: []inventory.ServicePort{{Port: 80, Protocol: "TCP"}}}
		for i := range n {
			s.Endpoints = append(s.Endpoints, inventory.Endpoint{
				Address: fmt.Sprintf("fd00::%x:%x", i>>16, i&0xffff), Ports: map[string]uint32{"": 8080}, Ready: true, Serving: true,
			})
		}
		inventory.Put(r.store, inventory.Ref{Kind: inventory.KindService, Key: key}, s, time.Now())
	}
	r.put(document("1s"))
	endpoints(1)
	r.pod("shop", "web-0", nil)
	r.start()
	c := r.dial("shop", "web-0")
	c.Subscribe(server.ClusterType)
	c.Subscribe(server.ListenerType)
	c.Subscribe(server.EndpointType, "shop/web/dev")
	var cluster clusterv3.Cluster
	var assignment endpointv3.ClusterLoadAssignment
	timeout := func(seconds int64) func() bool {
		return func() bool { return cluster.GetConnectTimeout().GetSeconds() == seconds }
	}
	c.AwaitWhen(server.ClusterType, "shop/web/dev", &cluster, timeout(1))
	c.Await(server.EndpointType, "shop/web/dev", &assignment)

	// Of more than gRPC clients take in one message. The Service first, so that both are taken at once or this alone.
	endpoints(200_000)
	r.put(document("2s"))
	said := r.awaitCondition("shop/web", inventory.ConditionProgrammed, inventory.StatusFalse, "NotPublished")
	r.put(document("3s"))
	r.pod("shop", "web-1", nil) // who comes later gets what runs
	late := r.dial("shop", "web-1")
	late.Subscribe(server.ClusterType)
	late.AwaitWhen(server.ClusterType, "shop/web/dev", &cluster, func() bool { return true })
	if !timeout(1)() {
		t.Errorf("half of it is published (%s): the cluster's timeout is %s", said.Message, cluster.GetConnectTimeout())
	}
	endpoints(2)
	c.AwaitWhen(server.ClusterType, "shop/web/dev", &cluster, timeout(3))
	c.AwaitWhen(server.EndpointType, "shop/web/dev", &assignment, func() bool { return len(assignment.GetEndpoints()[0].GetLbEndpoints()) == 2 })
}
