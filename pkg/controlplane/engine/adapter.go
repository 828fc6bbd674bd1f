package engine

import "github.com/dragoman-mesh/dragoman/pkg/inventory"

// reasonNotSupported is that of what the language has and this version has not.
const reasonNotSupported = "NotSupported"

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
	const not = "this version of the control plane does not run Adapters yet"
	accepted := condition(inventory.ConditionAccepted, inventory.StatusFalse, reasonNotSupported, not+": no proxy gets this object")
	if o.Err != nil {
		accepted = condition(inventory.ConditionAccepted, inventory.StatusFalse, reasonInvalid, o.Err.Error())
	}
	return inventory.Status{
		UID: o.UID, Generation: o.Generation,
		Conditions: []inventory.Condition{
			accepted,
			condition(inventory.ConditionResolvedRefs, inventory.StatusUnknown, reasonNotSupported, not+", and does not look at what it refers to"),
			condition(inventory.ConditionProgrammed, inventory.StatusFalse, reasonNotSupported, not),
		},
	}
}
