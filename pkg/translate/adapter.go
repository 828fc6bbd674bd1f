package translate

import (
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// NoAdapters is what is said of an Adapter, for people.
const NoAdapters = "this version of the control plane does not run Adapters yet"

// adapters gives the conditions of those that are for the node, sorted: none has
// resources, and none is passed over in silence.
func adapters(objs []mesh.Object, node *Node) []Condition {
	var out []Condition
	for _, obj := range objs {
		a, ok := obj.(*mesh.Adapter)
		if !ok || !node.selects(&a.Metadata, a.Spec.Selector) {
			continue
		}
		name := mesh.KindAdapter + " " + a.Key() // an Ambassador may have the same
		out = append(out,
			Condition{Object: name, Type: Accepted, Reason: ReasonNotSupported, Message: NoAdapters},
			Condition{
				Object: name, Type: ResolvedRefs, Reason: ReasonNotSupported,
				Message: "what an Adapter refers to is not looked at",
			})
	}
	slices.SortStableFunc(out, func(a, b Condition) int { return strings.Compare(a.Object, b.Object) })
	return out
}
