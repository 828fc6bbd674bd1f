package engine

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
)

// Reasons of conditions that the translation does not give.
const (
	reasonInvalid     = "Invalid"
	reasonProgrammed  = "Programmed"
	reasonNoProxies   = "NoProxies"
	reasonPending     = "Pending"
	reasonRefused     = "Refused"
	reasonUnpublished = "NotPublished"
	reasonWithout     = "PodsWithoutProxy"
)

// maxMessage bounds a condition's message; Kubernetes takes 32 KiB.
const maxMessage = 2 << 10

// statusBook knows which objects' status may be another, and what was said of
// them last.
type statusBook struct {
	dirty map[inventory.Ref]struct{}
	said  map[inventory.Ref]inventory.Status
	// Objects by what they refer to in any environment, and what of that counts.
	byRef map[inventory.Ref]map[inventory.Ref]struct{}
	refs  map[inventory.Ref][]inventory.Ref
	looks map[inventory.Ref]string
}

func newStatusBook() statusBook {
	return statusBook{
		dirty: map[inventory.Ref]struct{}{}, said: map[inventory.Ref]inventory.Status{},
		byRef: map[inventory.Ref]map[inventory.Ref]struct{}{}, refs: map[inventory.Ref][]inventory.Ref{},
		looks: map[inventory.Ref]string{},
	}
}

func (s *statusBook) touch(key inventory.Ref) { s.dirty[key] = struct{}{} }

func (s *statusBook) touchKind(k *kind) {
	for i := range k.choices {
		s.touch(k.choices[i].object)
	}
}

func (s *statusBook) remove(key inventory.Ref) {
	s.setRefs(key, nil)
	delete(s.said, key)
}

// setRefs notes what an object refers to.
func (s *statusBook) setRefs(key inventory.Ref, refs []inventory.Ref) {
	if slices.Equal(s.refs[key], refs) {
		return
	}
	for _, ref := range s.refs[key] {
		delete(s.byRef[ref], key)
		if len(s.byRef[ref]) == 0 {
			delete(s.byRef, ref)
			delete(s.looks, ref)
		}
	}
	for _, ref := range refs {
		if s.byRef[ref] == nil {
			s.byRef[ref] = map[inventory.Ref]struct{}{}
		}
		s.byRef[ref][key] = struct{}{}
	}
	s.refs[key] = refs
	if refs == nil {
		delete(s.refs, key)
	}
}

// refChanged marks the objects that refer to something which has come, gone, or
// lets others refer to it. That an endpoint has changed says nothing of them.
func (s *statusBook) refChanged(ref inventory.Ref, store *inventory.Store) {
	objects := s.byRef[ref]
	if len(objects) == 0 {
		return
	}
	look := lookOf(ref, store)
	if look == s.looks[ref] {
		return
	}
	s.looks[ref] = look
	for key := range objects {
		s.touch(key)
	}
}

// lookOf is what counts of a thing that is referred to; "": it is not there.
func lookOf(ref inventory.Ref, store *inventory.Store) string {
	switch ref.Kind {
	case inventory.KindService:
		if v := store.Service(ref.Key); v != nil {
			return fmt.Sprint("there ", v.AllowFrom, v.Ports, v.ExternalName)
		}
	case inventory.KindSecret:
		if store.Secret(ref.Key) != nil {
			return "there"
		}
	case inventory.KindConfigMap:
		if store.ConfigMap(ref.Key) != nil {
			return "there"
		}
	case inventory.KindLease:
		if store.Lease(ref.Key) != nil {
			return "there"
		}
	case inventory.KindAmbassador:
		if store.Ambassador(ref.Key) != nil {
			return "there"
		}
	case inventory.KindAdapter, inventory.KindPod, inventory.KindNamespace:
	}
	return ""
}

// report tells of every object whose status has changed.
func (e *Engine) report() {
	kinds := map[*kind]struct{}{}
	for stream := range e.news() {
		if n := e.nodes[stream]; n != nil && n.kind != nil {
			kinds[n.kind] = struct{}{}
		}
	}
	for k := range kinds {
		e.status.touchKind(k)
	}
	for key := range e.status.dirty {
		e.reportObject(key)
	}
	clear(e.status.dirty)
}

func (e *Engine) reportObject(key inventory.Ref) {
	o := inventory.Get[*inventory.Object](e.opts.Store, key)
	if o == nil {
		return
	}
	status := e.statusOf(key, o)
	if old, ok := e.status.said[key]; ok && reflect.DeepEqual(old, status) {
		return
	}
	e.status.said[key] = status
	e.opts.Status.SetStatus(key, status)
}

func (e *Engine) statusOf(key inventory.Ref, o *inventory.Object) inventory.Status {
	s := inventory.Status{UID: o.UID, Generation: o.Generation}
	if o.Err != nil {
		s.Conditions = append(s.Conditions,
			condition(inventory.ConditionAccepted, inventory.StatusFalse, reasonInvalid, o.Err.Error()),
			condition(inventory.ConditionResolvedRefs, inventory.StatusUnknown, reasonInvalid, "the object is not looked at as long as it is invalid"))
	} else {
		s.Conditions = append(s.Conditions,
			condition(inventory.ConditionAccepted, inventory.StatusTrue, translate.ReasonAccepted, ""),
			e.resolvedRefs(key, o))
	}
	s.Conditions = append(s.Conditions, e.programmed(key, &s))
	return s
}

func condition(kind string, status inventory.ConditionStatus, reason, message string) inventory.Condition {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "..."
	}
	return inventory.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// sortedVariants are those of an object, by environment.
func (e *Engine) sortedVariants(key inventory.Ref) []*variant {
	return slices.SortedFunc(maps.Keys(e.byObject[key]), func(a, b *variant) int {
		return strings.Compare(a.key.environment+separator+a.key.source, b.key.environment+separator+b.key.source)
	})
}

// resolvedRefs is what the translation said for the environments that nodes are
// in. Of the others only whether what they refer to is there.
func (e *Engine) resolvedRefs(key inventory.Ref, o *inventory.Object) inventory.Condition {
	a := usable(o)
	if a == nil {
		return condition(inventory.ConditionResolvedRefs, inventory.StatusUnknown, reasonInvalid, "")
	}
	e.status.setRefs(key, translate.References(a))
	for _, ref := range e.status.refs[key] {
		e.status.looks[ref] = lookOf(ref, e.opts.Store)
	}
	translated := map[string]bool{}
	var notes []string
	for _, v := range e.sortedVariants(key) {
		translated[v.key.environment] = true
		for _, c := range v.conditions {
			switch {
			case c.Type != translate.ResolvedRefs:
			case !c.Status:
				return condition(inventory.ConditionResolvedRefs, inventory.StatusFalse, c.Reason, within(v.key.environment)+c.Message)
			case c.Message != "":
				notes = append(notes, c.Message)
			}
		}
	}
	for _, environment := range environmentsOf(a) {
		if translated[environment] {
			continue
		}
		if reason, message := e.missing(a, environment); reason != "" {
			return condition(inventory.ConditionResolvedRefs, inventory.StatusFalse, reason, within(environment)+message)
		}
	}
	return condition(inventory.ConditionResolvedRefs, inventory.StatusTrue, translate.ReasonResolvedRefs, strings.Join(slices.Compact(notes), "; "))
}

// environmentsOf lists those of an object, sorted. An Adapter is the same in all,
// which have no name then.
func environmentsOf(obj mesh.Object) []string {
	if a, ok := obj.(*mesh.Ambassador); ok {
		return slices.Sorted(maps.Keys(a.Spec.Environments))
	}
	return []string{""}
}

// within begins a message about an environment.
func within(environment string) string {
	if environment == "" {
		return ""
	}
	return "environment " + environment + ": "
}

// missing says what an environment refers to that is not there or may not be
// referred to.
func (e *Engine) missing(a mesh.Object, environment string) (reason, message string) {
	reasons := map[inventory.Kind]string{
		inventory.KindService:   translate.ReasonServiceNotFound,
		inventory.KindLease:     translate.ReasonLeaseNotFound,
		inventory.KindSecret:    translate.ReasonSecretNotFound,
		inventory.KindConfigMap: translate.ReasonConfigMapNotFound,

		inventory.KindAmbassador: translate.ReasonAmbassadorNotFound,
	}
	for _, ref := range translate.ReferencesIn(a, environment) {
		if lookOf(ref, e.opts.Store) == "" {
			return reasons[ref.Kind], fmt.Sprintf("there is no %s %s", ref.Kind, ref.Key)
		}
		if ref.Kind == inventory.KindService && !permits(e.opts.Store.Service(ref.Key), a.Meta().Namespace) {
			return translate.ReasonRefNotPermitted, fmt.Sprintf(
				"Service %s does not let namespace %s refer to it (annotation mesh.dragoman.io/allow-from)", ref.Key, a.Meta().Namespace)
		}
	}
	return "", ""
}
