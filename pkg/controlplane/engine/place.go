package engine

import (
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// place is a namespace, as far as nodes in it are concerned.
type place struct {
	objects []inventory.Ref // of mesh objects, sorted
	broken  []inventory.Ref // objects of which no good document has been seen, sorted

	// What the objects ask of a pod: these labels, its name, and where its proxy has
	// volumes. It is not looked at again before it is needed.
	stale  bool
	labels []string // sorted
	names  bool
	mounts bool
	// known are the kinds of pods that give the same answers.
	known map[string]*kind
	kinds map[*kind]struct{} // of nodes in it
}

// maxKnown bounds place.known.
const maxKnown = 10_000

// placeOf gives a namespace.
func (e *Engine) placeOf(namespace string) *place {
	p := e.places[namespace]
	if p == nil {
		p = &place{known: map[string]*kind{}, kinds: map[*kind]struct{}{}}
		e.places[namespace] = p
	}
	return p
}

// set notes that an object is there or not, or is another now.
func (p *place) set(key inventory.Ref, there bool) {
	i, found := slices.BinarySearchFunc(p.objects, key, inventory.Ref.Compare)
	switch {
	case there && !found:
		p.objects = slices.Insert(p.objects, i, key)
	case !there && found:
		p.objects = slices.Delete(p.objects, i, i+1)
	}
	clear(p.known)
	p.stale = true
}

// look finds out what the objects ask of a pod.
func (p *place) look(good map[inventory.Ref]mesh.Object) {
	if !p.stale {
		return
	}
	p.stale, p.labels, p.names, p.mounts = false, nil, false, false
	for _, key := range p.objects {
		p.asks(good[key])
	}
	slices.Sort(p.labels)
	p.labels = slices.Compact(p.labels)
}

// asks notes what an object asks of a pod.
func (p *place) asks(obj mesh.Object) {
	if a, ok := obj.(*mesh.Ambassador); ok {
		p.names = p.names || len(a.Spec.EnvironmentRules) > 0
	}
	if a, ok := obj.(*mesh.Adapter); ok {
		p.mounts = p.mounts || a.Spec.Logs != nil
	}
	selector := mesh.SelectorOf(obj)
	if selector == nil {
		return
	}
	for k := range selector.MatchLabels {
		p.labels = append(p.labels, k)
	}
	for _, r := range selector.MatchExpressions {
		p.labels = append(p.labels, r.Key)
	}
}

// mark is the same for pods that get the same.
func (p *place) mark(f *facts) string {
	if !f.known {
		return ""
	}
	var b strings.Builder
	write := func(s string) {
		b.WriteString(s)
		b.WriteByte(0)
	}
	write("known")
	write(f.Zone)
	write(f.PodLabel)
	write(f.NamespaceLabel)
	if p.names {
		write(f.Hostname)
	}
	if p.mounts && f.injected {
		write("injected")
		for _, m := range f.mounts {
			write(m)
		}
		write("") // behind the last
	}
	for _, k := range p.labels {
		v, ok := f.labels[k]
		if ok {
			b.WriteByte('=') // an empty value is not an absent one
		}
		write(v)
	}
	return b.String()
}
