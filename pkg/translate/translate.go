// Package translate makes xDS resources of mesh documents, for one node. It is
// a pure function: the same documents and the same node give the same bytes.
//
// Listeners are named "namespace/name" after their object, clusters
// "namespace/name/environment" or ".../environment/pool". A Kubernetes Secret is
// the SDS secret "namespace/name"; files and variables that hold TLS material or
// the passwords of a listener's users become SDS secrets below the name of what
// needs them.
package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
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
}

// gets reports whether an object is for the node.
func (n *Node) gets(a *mesh.Ambassador) bool {
	return !n.InCluster || a.Metadata.Namespace == n.Facts.Namespace && a.Spec.Selector.Matches(n.Labels)
}

// ConditionType is what a condition speaks of, as in an object's status.
type ConditionType string

// The types of condition.
const (
	Accepted     ConditionType = "Accepted"     // the node has resources for the object
	ResolvedRefs ConditionType = "ResolvedRefs" // what the object refers to was found
)

// Reasons of conditions.
const (
	ReasonAccepted        = "Accepted"
	ReasonNoEnvironment   = "NoEnvironment"   // nothing says which, or it is unknown
	ReasonListenConflict  = "ListenConflict"  // another object of the node binds there
	ReasonServiceNotFound = "ServiceNotFound" // a Service cannot be followed
)

// Condition says what became of an object at this node.
type Condition struct {
	Object  string // "namespace/name"
	Type    ConditionType
	Status  bool
	Reason  string
	Message string // for people
}

// Translate gives the resources of a node, and one condition for each object
// that is for it. An object that is refused has no resources; the others do.
// The objects must be valid. All output is sorted by name.
func Translate(objs []mesh.Object, node Node) (resource.Set, []Condition) {
	t := &translator{}
	var taken []*mesh.Ambassador
	for _, a := range ambassadors(objs, &node) {
		condition := Condition{Object: a.Key(), Type: Accepted, Status: true, Reason: ReasonAccepted}
		environment, source, err := mesh.SelectEnvironment(a, node.Facts)
		other := slices.IndexFunc(taken, func(b *mesh.Ambassador) bool { return b.Spec.Listen.Overlaps(&a.Spec.Listen) })
		switch {
		case err != nil:
			condition.refuse(Accepted, ReasonNoEnvironment, err.Error())
		case other >= 0:
			condition.refuse(Accepted, ReasonListenConflict, taken[other].Key()+" binds to the same place")
		case unresolved(a, environment) != "":
			condition.refuse(ResolvedRefs, ReasonServiceNotFound, unresolved(a, environment))
		default:
			taken = append(taken, a)
			t.ambassador(a, environment, source)
			condition.Message = fmt.Sprintf("environment %s (%s)", environment, source)
		}
		t.conditions = append(t.conditions, condition)
	}
	return t.sorted(), t.conditions
}

func (c *Condition) refuse(t ConditionType, reason, message string) {
	c.Type, c.Status, c.Reason, c.Message = t, false, reason, message
}

// ambassadors gives those of the node, sorted.
func ambassadors(objs []mesh.Object, node *Node) []*mesh.Ambassador {
	var out []*mesh.Ambassador
	for _, obj := range objs {
		if a, ok := obj.(*mesh.Ambassador); ok && node.gets(a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b *mesh.Ambassador) int { return strings.Compare(a.Key(), b.Key()) })
	return out
}

// unresolved says which Service of an environment cannot be followed, or "".
func unresolved(a *mesh.Ambassador, environment string) string {
	env := a.Spec.Environments[environment]
	upstreams := []mesh.Upstream{env.Upstream}
	for _, name := range sortedKeys(env.Pools) {
		upstreams = append(upstreams, env.Pools[name])
	}
	for i := range upstreams {
		for _, ref := range upstreams[i].Services() {
			return fmt.Sprintf("Service %s/%s port %d is not known here",
				cmp.Or(ref.Namespace, a.Metadata.Namespace), ref.Name, ref.Port)
		}
	}
	return ""
}

// translator gathers what the objects become.
type translator struct {
	set        resource.Set
	conditions []Condition
}

func (t *translator) sorted() resource.Set {
	slices.SortFunc(t.set.Listeners, func(a, b *listenerv3.Listener) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(t.set.Clusters, func(a, b *clusterv3.Cluster) int { return strings.Compare(a.GetName(), b.GetName()) })
	slices.SortFunc(t.set.Secrets, func(a, b *tlsv3.Secret) int { return strings.Compare(a.GetName(), b.GetName()) })
	return t.set
}

func (t *translator) ambassador(a *mesh.Ambassador, environment, source string) {
	env := a.Spec.Environments[environment]
	main := a.Key() + "/" + environment
	t.cluster(a, &env.Upstream, main)
	for _, name := range sortedKeys(env.Pools) {
		pool := env.Pools[name]
		t.cluster(a, &pool, main+"/"+name)
	}
	t.listener(a, &env, main, environment, source)
}
