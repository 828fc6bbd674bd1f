package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

const orders = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders, namespace: shop}
spec:
  protocol: postgres
  listen: {port: 5432}
  readOnly: {port: 5433}
  environments:
    dev:
      service: {name: pg, port: 5432}
      roleLabel: role
      credentials: {secret: {name: orders}}
  defaultEnvironment: dev
`

// database puts a Service of two pods, of which the named one is the primary by
// its label.
func (r *rig) database(primary string) {
	key := inventory.Key{Namespace: "shop", Name: "pg"}
	s := &inventory.Service{Key: key, Ports: []inventory.ServicePort{{Port: 5432, Protocol: "TCP"}}}
	for i, pod := range []string{"pg-0", "pg-1"} {
		role := "replica"
		if pod == primary {
			role = "master"
		}
		s.Endpoints = append(s.Endpoints, inventory.Endpoint{
			Address: "10.0.0." + string(rune('1'+i)), Pod: pod, Labels: map[string]string{"role": role}, Ports: map[string]uint32{"": 5432}, Ready: true, Serving: true,
		})
	}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindService, Key: key}, s, time.Now())
}

// placesOf gives the roles of endpoints by address.
func placesOf(a *endpointv3.ClusterLoadAssignment) map[string]string {
	out := map[string]string{}
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			role := e.GetMetadata().GetFilterMetadata()["mesh.dragoman.io"].GetFields()["role"].GetStringValue()
			out[e.GetEndpoint().GetAddress().GetSocketAddress().GetAddress()] = role
		}
	}
	return out
}

// TestTwoListeners: an object with a port for reads is run by those who run both
// of its listeners, and refused by those who refuse one. Roles by labels are
// endpoints alone.
func TestTwoListeners(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.put(orders)
	r.database("pg-0")
	key := inventory.Key{Namespace: "shop", Name: "orders"}
	inventory.Put(r.store, inventory.Ref{Kind: inventory.KindSecret, Key: key},
		&inventory.Secret{Key: key, Data: map[string][]byte{"username": []byte("u"), "password": []byte("s3cret")}}, time.Now())
	r.pod("shop", "web-0", nil)
	r.pod("shop", "web-1", nil)
	r.start()
	good := r.dial("shop", "web-0")
	good.Subscribe(server.ListenerType)
	c := r.awaitCondition("shop/orders", inventory.ConditionProgrammed, inventory.StatusTrue, "Programmed")
	names := good.Names(server.ListenerType)
	slices.Sort(names)
	if diff := cmp.Diff([]string{"shop/orders", "shop/orders/read-only"}, names); diff != "" || c.Message != "1 of 1 proxies run it" {
		t.Errorf("%q, listeners (-want +got):\n%s", c.Message, diff)
	}

	var a endpointv3.ClusterLoadAssignment
	good.Subscribe(server.EndpointType, "shop/orders/dev")
	good.Await(server.EndpointType, "shop/orders/dev", &a)
	if diff := cmp.Diff(map[string]string{"10.0.0.1": "primary", "10.0.0.2": "replica"}, placesOf(&a)); diff != "" {
		t.Errorf("roles (-want +got):\n%s", diff)
	}
	r.database("pg-1")
	good.AwaitWhen(server.EndpointType, "shop/orders/dev", &a, func() bool {
		return cmp.Equal(map[string]string{"10.0.0.1": "replica", "10.0.0.2": "primary"}, placesOf(&a))
	})

	bad := adstest.Dial(t, r.address, adstest.Options{
		Token: "shop web-1", Node: "web-1",
		Refuse: func(*discoveryv3.DeltaDiscoveryResponse) string {
			return `listener "shop/orders/read-only": port 5433 is taken`
		},
	})
	bad.Subscribe(server.ListenerType)
	c = r.awaitCondition("shop/orders", inventory.ConditionProgrammed, inventory.StatusFalse, "Refused")
	if !strings.HasPrefix(c.Message, "1 of 2 proxies refused it: ") {
		t.Errorf("message: %q", c.Message)
	}
}
