package translate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// target is a port of a Service that was found.
type target struct {
	*inventory.Service
	number uint32                // of the Service's port
	port   inventory.ServicePort // zero for an ExternalName without ports
}

// String names it for people.
func (s *target) String() string { return fmt.Sprintf("Service %v port %d", s.Key, s.number) }

// host is the name of the Service in the cluster, which certificates are for.
func (s *target) host() string { return s.Name + "." + s.Namespace + ".svc" }

// follow finds what a reference names, or says why it cannot.
func (t *translator) follow(ref *mesh.ServiceRef) (*target, bool) {
	namespace := t.meta.Namespace
	key := serviceKey(ref, namespace)
	var svc *inventory.Service
	if t.world != nil {
		svc = t.world.Service(key)
	}
	switch {
	case svc == nil:
		t.fail(ReasonServiceNotFound, "there is no Service %v", key)
		return nil, false
	case !permits(svc, namespace):
		t.fail(ReasonRefNotPermitted, "Service %v does not allow the namespace %s: its annotation mesh.dragoman.io/allow-from must name it",
			key, namespace)
		return nil, false
	}
	port, err := portOf(svc, ref.Port)
	if err != nil {
		t.fail(ReasonPortNotFound, "%v", err)
		return nil, false
	}
	return &target{Service: svc, number: ref.Port, port: port}, true
}

// permits reports whether objects of a namespace may refer to a Service.
func permits(svc *inventory.Service, namespace string) bool {
	return svc.Namespace == namespace || slices.Contains(svc.AllowFrom, namespace) || slices.Contains(svc.AllowFrom, "*")
}

// portOf finds a TCP port of a Service by its number. An ExternalName may have
// no ports at all, and is then asked at the number itself.
func portOf(svc *inventory.Service, number uint32) (inventory.ServicePort, error) {
	if svc.ExternalName != "" && len(svc.Ports) == 0 {
		return inventory.ServicePort{}, nil
	}
	var others []string
	for _, p := range svc.Ports {
		if p.Port == number && (p.Protocol == "" || p.Protocol == "TCP") {
			return p, nil
		}
		others = append(others, strings.TrimSpace(fmt.Sprintf("%d/%s %s", p.Port, cmp.Or(p.Protocol, "TCP"), p.Name)))
	}
	return inventory.ServicePort{}, fmt.Errorf("no TCP port %d: Service %v has %s", number, svc.Key,
		cmp.Or(strings.Join(others, ", "), "no port"))
}

// backend is an endpoint of a Service with what it is used as.
type backend struct {
	*inventory.Endpoint
	port   uint32
	health corev3.HealthStatus
}

// backends gives the endpoints that have the port, in the Service's order; those
// that are neither ready nor serving are UNHEALTHY.
func (s *target) backends() []backend {
	out := make([]backend, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		port, ok := e.Ports[s.port.Name]
		if !ok || port == 0 || port > math.MaxUint16 || e.Address == "" {
			continue
		}
		b := backend{Endpoint: e, port: port, health: corev3.HealthStatus_UNHEALTHY}
		switch {
		case e.Ready:
			b.health = corev3.HealthStatus_UNKNOWN
		case e.Serving && e.Terminating:
			b.health = corev3.HealthStatus_DRAINING
		}
		out = append(out, b)
	}
	return out
}

// inState gives the backends of one state.
func inState(list []backend, health corev3.HealthStatus) []backend {
	return slices.DeleteFunc(slices.Clone(list), func(b backend) bool { return b.health != health })
}

// usable gives the backends that are ready or, where none is, those that are
// draining: a server on its way out is better than none.
func usable(list []backend) []backend {
	if ready := inState(list, corev3.HealthStatus_UNKNOWN); len(ready) > 0 {
		return ready
	}
	return inState(list, corev3.HealthStatus_DRAINING)
}

// near gives those of the usable backends that are for a spot. counts says of
// what of the spot that depends, which is the same for all spots.
func near(svc *target, ready []backend, spot Spot) (list []backend, counts Counts) {
	if !svc.Local {
		list, counts.Zone = inZone(ready, spot.Zone)
		return list, counts
	}
	return usable(onNode(svc.backends(), spot.NodeName)), Counts{NodeName: true}
}

// onNode gives the backends of a node: none if it is not known which that is.
func onNode(list []backend, node string) []backend {
	return slices.DeleteFunc(list, func(b backend) bool { return node == "" || b.NodeName != node })
}

// inZone follows topology hints by kube-proxy's rule: if every ready backend has
// hints, and one at least is for the zone, those for the zone; else all. zoned
// says that the answer depends on the zone.
func inZone(ready []backend, zone string) (list []backend, zoned bool) {
	if len(ready) == 0 || slices.ContainsFunc(ready, func(b backend) bool { return len(b.ForZones) == 0 || !b.Ready }) {
		return ready, false
	}
	mine := slices.DeleteFunc(slices.Clone(ready), func(b backend) bool { return !slices.Contains(b.ForZones, zone) })
	if len(mine) == 0 {
		return ready, true
	}
	return mine, true
}
