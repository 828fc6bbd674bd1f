package engine

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// kept are the objects of which this control plane does not know what nodes of a kind
// have of them: it began when they were broken already, or what they name was gone.
func (e *Engine) kept(k *kind) []server.Kept {
	if k.stranger {
		return nil
	}
	var out []server.Kept
	for _, v := range k.variants {
		if !v.unknown {
			continue
		}
		root := rootOf(v.key.object)
		variant := root
		if v.key.object.Kind == inventory.KindAmbassador {
			variant += "/" + v.key.environment
		}
		out = append(out, server.Kept{Object: root, Variant: variant})
	}
	for _, ref := range e.placeOf(k.namespace).broken {
		root := rootOf(ref)
		out = append(out, server.Kept{Object: root, Variant: root})
	}
	return out
}

// rootOf begins the names of an object's resources, as translate.ListenerOf says.
func rootOf(ref inventory.Ref) string {
	if ref.Kind == inventory.KindAdapter {
		return ref.String() + "/adapter"
	}
	return ref.String()
}

// setUnknown notes whether a variant may have resources that were not made here.
func (e *Engine) setUnknown(v *variant, unknown bool, b *batch) {
	if v.unknown == unknown {
		return
	}
	v.unknown = unknown
	for k := range v.kinds {
		b.regrant(k)
	}
}

// setBroken notes whether an object is there of which no good document was seen.
func (e *Engine) setBroken(key inventory.Ref, broken bool, b *batch) {
	p := e.placeOf(key.Namespace)
	i, was := slices.BinarySearchFunc(p.broken, key, inventory.Ref.Compare)
	switch {
	case broken == was:
		return
	case broken:
		p.broken = slices.Insert(p.broken, i, key)
	default:
		p.broken = slices.Delete(p.broken, i, i+1)
	}
	for k := range p.kinds {
		b.regrant(k)
	}
}
