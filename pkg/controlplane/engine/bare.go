package engine

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// barePods are those that should have a proxy and have none: they were made
// before injection was enabled, or while nobody answered the API server. Usually
// there are none.
type barePods struct {
	injecting map[string]bool                             // namespaces
	pods      map[string]map[inventory.Key]*inventory.Pod // by namespace
}

func newBarePods() barePods {
	return barePods{injecting: map[string]bool{}, pods: map[string]map[inventory.Key]*inventory.Pod{}}
}

// maxNamed bounds the pods that a condition names.
const maxNamed = 3

// barePodChanged looks at a pod that has changed.
func (e *Engine) barePodChanged(key inventory.Key) {
	p := e.opts.Store.Pod(key)
	is := p != nil && !p.Exempt && e.bare.injecting[key.Namespace] &&
		p.Annotations[mesh.InjectedAnnotation] == "" && !mesh.InjectOptedOut(p.Labels, p.Annotations)
	_, was := e.bare.pods[key.Namespace][key]
	if !is && !was {
		return
	}
	if e.bare.pods[key.Namespace] == nil {
		e.bare.pods[key.Namespace] = map[inventory.Key]*inventory.Pod{}
	}
	if is {
		e.bare.pods[key.Namespace][key] = p
	} else {
		delete(e.bare.pods[key.Namespace], key)
	}
	if is != was {
		e.metrics.barePods.WithLabelValues(key.Namespace).Set(float64(len(e.bare.pods[key.Namespace])))
	}
	if len(e.bare.pods[key.Namespace]) == 0 {
		delete(e.bare.pods, key.Namespace)
		e.metrics.barePods.DeleteLabelValues(key.Namespace)
	}
	for _, object := range e.placeOf(key.Namespace).objects {
		e.status.touch(object)
	}
}

// bareNamespaceChanged looks at all pods of a namespace, if it is about to have
// proxies or not to have them any more.
func (e *Engine) bareNamespaceChanged(name string) {
	ns := e.opts.Store.Namespace(name)
	on := ns != nil && ns.Labels[mesh.InjectLabel] == mesh.InjectEnabled
	if on == e.bare.injecting[name] {
		return
	}
	if on {
		e.bare.injecting[name] = true
	} else {
		delete(e.bare.injecting, name)
	}
	if p := e.places[name]; p != nil {
		for _, object := range p.objects {
			e.status.touch(object)
		}
	}
	for _, ref := range e.opts.Store.Refs(inventory.KindPod) {
		if ref.Namespace == name {
			e.barePodChanged(ref.Key)
		}
	}
}

// uninjected is what to do where the pods of a namespace get no proxy by themselves; ""
// where they do, and where there are no namespaces.
func (e *Engine) uninjected(namespace string) string {
	if e.opts.Store.Namespace(namespace) == nil || e.bare.injecting[namespace] {
		return ""
	}
	return fmt.Sprintf(": pods that are made while the namespace has the label %s=%s get one", mesh.InjectLabel, mesh.InjectEnabled)
}

// selectedBare says which pods an object selects that have no proxy; "": none.
func (e *Engine) selectedBare(namespace string, selector *mesh.Selector) string {
	var names []string
	for key, p := range e.bare.pods[namespace] {
		if len(e.byPod[key]) == 0 && selector.Matches(p.Labels) { // it may have one that was put there by hand
			names = append(names, key.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	list := strings.Join(names[:min(len(names), maxNamed)], ", ")
	if len(names) > maxNamed {
		list += ", ..."
	}
	return fmt.Sprintf("%d selected pods have no proxy: %s; they are older than the namespace's label %s, or were made while the webhook was away: delete them, so that they are made anew",
		len(names), list, mesh.InjectLabel)
}
