package kube

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
)

// board holds the status of each object as the API server has it.
type board struct {
	mu      sync.Mutex // guards below
	posted  map[inventory.Ref]posting
	inject  map[string]bool // namespaces whose pods get a proxy
	watcher []func(inventory.Ref)
}

// posting is what the API server has of an object.
type posting struct {
	uid    string
	status v1alpha1.ObjectStatus
}

func newBoard() *board {
	return &board{posted: make(map[inventory.Ref]posting), inject: make(map[string]bool)}
}

// listen calls a function after each change, from the goroutine that made it.
func (b *board) listen(f func(inventory.Ref)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watcher = append(b.watcher, f)
}

func (b *board) set(ref inventory.Ref, uid string, status v1alpha1.ObjectStatus) {
	b.mu.Lock()
	b.posted[ref] = posting{uid, status}
	b.mu.Unlock()
	b.announce(ref)
}

// announce calls those who listen.
func (b *board) announce(ref inventory.Ref) {
	b.mu.Lock()
	watcher := slices.Clone(b.watcher)
	b.mu.Unlock()
	for _, f := range watcher {
		f(ref)
	}
}

// wrote notes a status before its watch event comes, which changes nothing then.
func (b *board) wrote(ref inventory.Ref, uid string, status v1alpha1.ObjectStatus) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.posted[ref].uid == uid {
		b.posted[ref] = posting{uid, status}
	}
}

func (b *board) remove(ref inventory.Ref) {
	b.mu.Lock()
	delete(b.posted, ref)
	b.mu.Unlock()
	b.announce(ref)
}

func (b *board) get(ref inventory.Ref) (posting, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, ok := b.posted[ref]
	return p, ok
}

// setInject notes whether the pods of a namespace get a proxy.
func (b *board) setInject(namespace string, on bool) {
	b.mu.Lock()
	changed := b.inject[namespace] != on
	if on {
		b.inject[namespace] = true
	} else {
		delete(b.inject, namespace)
	}
	b.mu.Unlock()
	if changed {
		b.announce(inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Namespace: namespace, Name: namespace}})
	}
}

// namespaces lists those that have objects, or pods with a proxy, sorted.
func (b *board) namespaces() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := maps.Clone(b.inject)
	for ref := range b.posted {
		found[ref.Namespace] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// statusOf reads the status of an object; what cannot be read counts as absent,
// and is then written anew.
func statusOf(in *unstructured.Unstructured) v1alpha1.ObjectStatus {
	var out v1alpha1.ObjectStatus
	raw, ok, err := unstructured.NestedMap(in.Object, "status")
	if err != nil || !ok {
		return out
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &out); err != nil {
		return v1alpha1.ObjectStatus{}
	}
	return out
}
