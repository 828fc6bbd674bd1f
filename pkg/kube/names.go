package kube

import (
	"reflect"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Named lists the Secrets, ConfigMaps and Leases that an object names, in whichever of
// its environments, each once and in order. They are of its own namespace.
func Named(obj mesh.Object) []inventory.Ref {
	n := names{namespace: obj.Meta().Namespace, found: make(map[inventory.Ref]bool)}
	n.walk(reflect.ValueOf(obj))
	out := make([]inventory.Ref, 0, len(n.found))
	for ref := range n.found {
		out = append(out, ref)
	}
	slices.SortFunc(out, inventory.Ref.Compare)
	return out
}

// names gathers references by their type, so that a field which is added to the
// language is followed without a word here.
type names struct {
	namespace string
	found     map[inventory.Ref]bool
}

func (n *names) add(kind inventory.Kind, name string) {
	if name != "" {
		n.found[inventory.Ref{Kind: kind, Key: inventory.Key{Namespace: n.namespace, Name: name}}] = true
	}
}

func (n *names) walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			n.walk(v.Elem())
		}
	case reflect.Struct:
		n.structure(v)
	case reflect.Slice:
		for i := range v.Len() {
			n.walk(v.Index(i))
		}
	case reflect.Map:
		for _, value := range v.Seq2() {
			n.walk(value)
		}
	}
}

func (n *names) structure(v reflect.Value) {
	switch ref := v.Interface().(type) {
	case mesh.SecretRef:
		n.add(inventory.KindSecret, ref.Name)
	case mesh.SecretKeyRef:
		n.add(inventory.KindSecret, ref.Name)
	case mesh.LeaderRef:
		n.add(inventory.KindLease, ref.Election)
	case mesh.ConfigMapKeyRef:
		n.add(inventory.KindConfigMap, ref.Name)
	default:
		for field, value := range v.Fields() {
			if field.IsExported() {
				n.walk(value)
			}
		}
	}
}
