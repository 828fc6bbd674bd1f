package engine

import (
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
)

// unsupported says of an object that the language has what no proxy runs; "": one
// does.
func unsupported(obj mesh.Object) string {
	if translate.Runs(obj) {
		return ""
	}
	return translate.NoAPIAdapters
}

// unsupportedStatus is never one of success: an object that is taken in silence
// would seem to run.
func unsupportedStatus(s inventory.Status, why string) inventory.Status {
	const reason = translate.ReasonNotSupported
	s.Conditions = []inventory.Condition{
		condition(inventory.ConditionAccepted, inventory.StatusFalse, reason, why+": no proxy gets this object"),
		condition(inventory.ConditionResolvedRefs, inventory.StatusUnknown, reason, why+", and what it refers to is not looked at"),
		condition(inventory.ConditionProgrammed, inventory.StatusFalse, reason, why),
	}
	return s
}
