// Package translate makes xDS resources of mesh documents: for one node
// (Translate), or object by object for kinds of nodes (Object), as a control plane
// does, so that its work grows with what changed and with the kinds of nodes, and
// not with their number. It is pure: the same input gives the same bytes.
//
// Names: a listener is "namespace/name" after its object, that of an Adapter
// "namespace/name/adapter", a cluster
// "namespace/name/environment" or ".../environment/pool", and the endpoints of a
// cluster that follows Services (EDS) have its name. SDS secrets are
//
//   - "namespace/name": the keys username and password of a Secret, of credentials
//   - "namespace/name:key:KEY": one key of a Secret, of passwordSecret
//   - "namespace/name:tls": the certificate and private key of a Secret
//   - "namespace/name:ca": the authorities in the key ca.crt of a Secret
//   - "namespace/name:configmap:KEY": the authorities in a key of a ConfigMap
//
// so that one Secret may serve for several things, and a node is given no key of
// it that no object of its own names. Files and variables that hold TLS material
// or the passwords of a listener's users are the proxy's own; they become SDS
// secrets below the name of what needs them, which tell the proxy where to look.
//
// References: Secrets and ConfigMaps are those of the object's own namespace. A
// Service may be of another one if its annotation mesh.dragoman.io/allow-from
// names the object's namespace. An object of which a reference cannot be followed
// has no resources; a Service without endpoints is no such case.
//
// Endpoints: of a Service those are taken that are ready; where none is, those
// that are terminating and still serve, as draining. Topology hints are followed
// as kube-proxy does, for tcp and for Redis replicas, and internalTrafficPolicy
// everywhere but in shardsFrom. Redis uses one address of a
// pod that has several, IPv4 first.
package translate

import (
	"cmp"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Node is the proxy that the resources are for.
type Node struct {
	// Facts choose its environment.
	Facts mesh.NodeFacts
	// InCluster makes namespaces and selectors count: the node gets the objects
	// of Facts.Namespace whose selector fits Labels. Otherwise it gets all.
	InCluster bool
	Labels    map[string]string // of the pod
	Zone      string            // where it runs; "" if unknown
	NodeName  string            // on which node; "" if unknown
}

// selects reports whether an object is for the node.
func (n *Node) selects(m *mesh.Metadata, s *mesh.Selector) bool {
	return !n.InCluster || m.Namespace == n.Facts.Namespace && s.Matches(n.Labels)
}

// Translate gives the resources of a node, and the conditions Accepted and
// ResolvedRefs for each object that is for it. An object for which one of them is
// false has no resources; the others do. The objects must be valid. All output is
// sorted by name.
//
// It does for one node what Object does for a kind of nodes; what is added is the
// choice of objects and environments, and that listeners must not meet. Adapters
// come after the Ambassadors, also where they meet.
func Translate(objs []mesh.Object, node Node, world World) (resource.Set, []Condition) {
	var set resource.Set
	var conditions []Condition
	var taken []mesh.Object
	others := documentsOf(objs)
	for _, obj := range node.objects(objs) {
		out := node.object(obj, world, others)
		if accepted := &out.Conditions[0]; accepted.Status {
			// Who comes first has the port, also while its references are not resolved:
			// it must not go from one object to another with them.
			if other, clash := taker(taken, obj, world != nil); other != nil {
				out.Set = resource.Set{}
				accepted.refuse(ReasonOf(clash), conditionName(other)+" "+clash.String())
			} else {
				taken = append(taken, obj)
			}
		}
		conditions = append(conditions, out.Conditions...)
		merge(&set, &out.Set)
	}
	sortSet(&set)
	return set, conditions
}

func (n *Node) spot() Spot { return Spot{Zone: n.Zone, NodeName: n.NodeName} }

// object translates one object for the node.
func (n *Node) object(obj mesh.Object, world World, others ambassadors) Output {
	a, ok := obj.(*mesh.Ambassador)
	if !ok {
		return object(obj, Variant{Spot: n.spot()}, world, others)
	}
	environment, source, err := mesh.SelectEnvironment(a, n.Facts)
	if err != nil {
		return withoutEnvironment(a, err.Error())
	}
	return Object(a, Variant{Environment: environment, Source: source, Spot: n.spot()}, world)
}

// taker finds an object that has what another needs for itself, or nil.
func taker(taken []mesh.Object, obj mesh.Object, inCluster bool) (mesh.Object, mesh.Clash) {
	for _, other := range taken {
		if clash := mesh.Meet(other, obj, inCluster); clash != mesh.ClashNone {
			return other, clash
		}
	}
	return nil, mesh.ClashNone
}

func (c *Condition) refuse(reason, message string) {
	c.Status, c.Reason, c.Message = false, reason, message
}

// objects gives those of the node, Ambassadors first, sorted.
func (n *Node) objects(objs []mesh.Object) []mesh.Object {
	var out []mesh.Object
	for _, obj := range objs {
		if n.selects(obj.Meta(), mesh.SelectorOf(obj)) {
			out = append(out, obj)
		}
	}
	adapter := func(obj mesh.Object) int {
		if mesh.KindOf(obj) == mesh.KindAdapter {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b mesh.Object) int {
		return cmp.Or(cmp.Compare(adapter(a), adapter(b)), strings.Compare(a.Key(), b.Key()))
	})
	return out
}

// merge adds the resources of an object to those of others. Only secrets may be
// there already: two objects may name the same one.
func merge(into, set *resource.Set) {
	into.Listeners = append(into.Listeners, set.Listeners...)
	into.Clusters = append(into.Clusters, set.Clusters...)
	into.Routes = append(into.Routes, set.Routes...)
	into.Endpoints = append(into.Endpoints, set.Endpoints...)
	for _, s := range set.Secrets {
		if !slices.ContainsFunc(into.Secrets, func(other *tlsv3.Secret) bool { return other.GetName() == s.GetName() }) {
			into.Secrets = append(into.Secrets, s)
		}
	}
}

func sortSet(s *resource.Set) {
	slices.SortFunc(s.Listeners, func(a, b *listenerv3.Listener) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(s.Clusters, func(a, b *clusterv3.Cluster) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(s.Endpoints, func(a, b *endpointv3.ClusterLoadAssignment) int {
		return strings.Compare(a.GetClusterName(), b.GetClusterName())
	})
	slices.SortFunc(s.Routes, func(a, b *routev3.RouteConfiguration) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(s.Secrets, func(a, b *tlsv3.Secret) int { return strings.Compare(a.GetName(), b.GetName()) })
}
