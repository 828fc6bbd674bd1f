package translate

import (
	"fmt"

	databasev1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/database/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Variant is a kind of node that an object is translated for.
type Variant struct {
	Environment string // one of the object's
	Source      string // what chose it, as mesh.SelectEnvironment says
	Spot        Spot
}

// Spot is where a proxy runs; what is not known of it is "".
type Spot struct{ Zone, NodeName string }

// Counts says what of a Spot makes a difference.
type Counts struct {
	Zone     bool // a Service has topology hints
	NodeName bool // a Service is followed on the own node alone
}

// Of gives what counts of a Spot; those that have it in common share their output.
func (c Counts) Of(s Spot) Spot {
	if !c.Zone {
		s.Zone = ""
	}
	if !c.NodeName {
		s.NodeName = ""
	}
	return s
}

func (c Counts) or(other Counts) Counts {
	return Counts{Zone: c.Zone || other.Zone, NodeName: c.NodeName || other.NodeName}
}

// Output is what an object becomes for a kind of node.
type Output struct {
	// Set is sorted by name. It is empty unless both conditions are true.
	Set resource.Set
	// Conditions are Accepted and ResolvedRefs, in this order.
	Conditions []Condition
	// Counts says with what of Variant.Spot the Endpoints may be others, whatever
	// the Spot is.
	Counts Counts
}

// Object translates one object for one kind of node. The object must be valid. An
// Adapter has no environments, and needs the Variant's Spot alone.
//
// The output depends on the object, the Variant, and what ReferencesIn lists,
// and on nothing else. Of the Variant, only Listeners depend on Source, and only
// Endpoints on Spot, and that only where Output.Counts says so. A change of a
// Service's endpoints changes Endpoints alone, unless the servers are host names
// (an ExternalName, or addresses beside the Service), which need a cluster that
// resolves them and so holds all of them: the cluster then depends on what Endpoints
// would.
//
// Selectors and conflicts between objects are not looked at: they are a node's.
func Object(obj mesh.Object, v Variant, world World) Output {
	if world == nil {
		return object(obj, v, nil, documents{})
	}
	return object(obj, v, world, world)
}

// ObjectOf is Object for one of the documents that a proxy has of its own.
func ObjectOf(objs []mesh.Object, obj mesh.Object, v Variant) Output {
	return object(obj, v, nil, documentsOf(objs))
}

func object(obj mesh.Object, v Variant, world World, others ambassadors) Output {
	switch obj := obj.(type) {
	case *mesh.Ambassador:
		return ambassadorObject(obj, v, world)
	case *mesh.Adapter:
		return adapterObject(obj, v.Spot, world, others)
	}
	return Output{Conditions: []Condition{{Object: obj.Key(), Type: Accepted, Reason: ReasonNotSupported}}}
}

func ambassadorObject(a *mesh.Ambassador, v Variant, world World) Output {
	accepted := Condition{Object: a.Key(), Type: Accepted, Status: true, Reason: ReasonAccepted}
	env, ok := a.Spec.Environments[v.Environment]
	if !ok {
		return withoutEnvironment(a, fmt.Sprintf("%s: there is no environment %q", a.Key(), v.Environment))
	}
	accepted.Message = fmt.Sprintf("environment %s (%s)", v.Environment, v.Source)
	t := &translator{meta: &a.Metadata, a: a, env: &env, protocol: a.Spec.Protocol, world: world, spot: v.Spot, secrets: make(map[string]bool)}
	main := a.Key() + "/" + v.Environment
	t.cluster(&env.Upstream, main)
	for _, name := range sortedKeys(env.Pools) {
		pool := env.Pools[name]
		t.cluster(&pool, main+"/"+name)
	}
	t.listener(&env, main, v)
	out := Output{Conditions: []Condition{accepted, t.condition(a.Key())}, Counts: t.counts}
	if t.reason == "" {
		sortSet(&t.set)
		out.Set = t.set
	}
	return out
}

// withoutEnvironment is the output for an object whose environment is not known.
func withoutEnvironment(a *mesh.Ambassador, why string) Output {
	return Output{Conditions: []Condition{
		{Object: a.Key(), Type: Accepted, Reason: ReasonNoEnvironment, Message: why},
		{
			Object: a.Key(), Type: ResolvedRefs, Reason: ReasonNoEnvironment,
			Message: "without an environment nothing says which references count",
		},
	}}
}

// translator gathers what one object becomes.
type translator struct {
	// read-only after construction
	meta *mesh.Metadata   // of the object
	a    *mesh.Ambassador // the object; nil for an Adapter
	env  *mesh.Environment
	// protocol of its servers and clients
	protocol mesh.Protocol
	world    World
	others   ambassadors // that an Adapter may name
	spot     Spot        // of the node

	findings
	set     resource.Set
	proxy   *databasev1.DatabaseProxy // of a database's main listener, once it is made
	secrets map[string]bool           // names of those in set
	counts  Counts                    // what of the spot was asked for
}
