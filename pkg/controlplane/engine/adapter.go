package engine

import (
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
)

// adapterChanged says of an Adapter that it is not run. That depends on nothing
// else, so it is said once for each document.
func (e *Engine) adapterChanged(ref inventory.Ref) {
	o := e.opts.Store.Adapter(ref.Key)
	if o == nil {
		return
	}
	e.opts.Log.Warn("object refused, this version runs no Adapters", "kind", ref.Kind.String(), "object", ref.String(), "error", o.Err)
	e.opts.Status.SetStatus(ref, adapterStatus(o))
}

// adapterStatus is never one of success: an Adapter that is taken in silence would
// seem to run.
func adapterStatus(o *inventory.Object) inventory.Status {
	const not, reason = translate.NoAdapters, translate.ReasonNotSupported
	accepted := condition(inventory.ConditionAccepted, inventory.StatusFalse, reason, not+": no proxy gets this object")
	if o.Err != nil {
		accepted = condition(inventory.ConditionAccepted, inventory.StatusFalse, reasonInvalid, o.Err.Error())
	}
	return inventory.Status{
		UID: o.UID, Generation: o.Generation,
		Conditions: []inventory.Condition{
			accepted,
			condition(inventory.ConditionResolvedRefs, inventory.StatusUnknown, reason, not+", and does not look at what it refers to"),
			condition(inventory.ConditionProgrammed, inventory.StatusFalse, reason, not),
		},
	}
}
