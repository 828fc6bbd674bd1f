package kube

import (
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// assembly puts together what arrives in parts: Services of their slices and
// the labels of their pods, Pods of themselves and the zone of their node. Parts
// only mark what they belong to; flush then makes each of those once, however
// many parts of it have changed.
type assembly struct {
	wake chan struct{} // has room for one

	mu       sync.Mutex // guards below
	services map[inventory.Key]*Service
	slices   map[inventory.Key]map[string]*Slice // by Service and name
	owner    map[inventory.Key]inventory.Key     // the Service of a slice
	core     map[inventory.Key][]*Slice          // of Endpoints objects, by Service
	pods     map[inventory.Key]*inventory.Pod    // Zone as the pod itself has it
	zones    map[string]string                   // by node
	// users are the Services whose slices have a pod, once for each slice.
	users map[inventory.Key][]inventory.Key
	// hosted are the pods of a node.
	hosted map[string]map[inventory.Key]struct{}
	leases map[inventory.Key]*held
	// elected are the Leases that a pod holds.
	elected map[inventory.Key][]inventory.Key
	// dirty is what is to be made anew, with the time of its first change.
	dirty map[inventory.Ref]time.Time
}

func newAssembly() *assembly {
	return &assembly{
		wake:     make(chan struct{}, 1),
		services: make(map[inventory.Key]*Service),
		slices:   make(map[inventory.Key]map[string]*Slice),
		owner:    make(map[inventory.Key]inventory.Key),
		core:     make(map[inventory.Key][]*Slice),
		pods:     make(map[inventory.Key]*inventory.Pod),
		zones:    make(map[string]string),
		users:    make(map[inventory.Key][]inventory.Key),
		hosted:   make(map[string]map[inventory.Key]struct{}),
		leases:   make(map[inventory.Key]*held),
		elected:  make(map[inventory.Key][]inventory.Key),
		dirty:    make(map[inventory.Ref]time.Time),
	}
}

func (a *assembly) markLocked(kind inventory.Kind, k inventory.Key, at time.Time) {
	ref := inventory.Ref{Kind: kind, Key: k}
	if _, ok := a.dirty[ref]; !ok {
		a.dirty[ref] = at
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// setService takes a Service; nil: it is gone.
func (a *assembly) setService(k inventory.Key, s *Service, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s == nil {
		delete(a.services, k)
	} else {
		a.services[k] = s
	}
	a.markLocked(inventory.KindService, k, at)
}

// setSlice takes the slice of a name; nil: it is gone, or belongs to no Service.
func (a *assembly) setSlice(k inventory.Key, s *Slice, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if service, ok := a.owner[k]; ok {
		a.releaseLocked(a.slices[service][k.Name])
		delete(a.slices[service], k.Name)
		if len(a.slices[service]) == 0 {
			delete(a.slices, service)
		}
		delete(a.owner, k)
		a.markLocked(inventory.KindService, service, at)
	}
	if s == nil {
		return
	}
	if a.slices[s.service] == nil {
		a.slices[s.service] = make(map[string]*Slice)
	}
	a.slices[s.service][k.Name] = s
	a.owner[k] = s.service
	a.useLocked(s)
	a.markLocked(inventory.KindService, s.service, at)
}

// setCore takes the slices of an Endpoints object; none: it is gone.
func (a *assembly) setCore(k inventory.Key, parts []*Slice, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.core[k] {
		a.releaseLocked(p)
	}
	delete(a.core, k)
	if len(parts) > 0 {
		a.core[k] = parts
	}
	for _, p := range parts {
		a.useLocked(p)
	}
	if len(a.slices[k]) == 0 {
		a.markLocked(inventory.KindService, k, at)
	}
}

func (a *assembly) useLocked(s *Slice) {
	for i := range s.endpoints {
		if e := &s.endpoints[i]; e.Pod != "" {
			a.users[e.podKey()] = append(a.users[e.podKey()], s.service)
		}
	}
}

func (a *assembly) releaseLocked(s *Slice) {
	for i := range s.endpoints {
		e := &s.endpoints[i]
		if e.Pod == "" {
			continue
		}
		k := e.podKey()
		if at := slices.Index(a.users[k], s.service); at >= 0 {
			a.users[k] = slices.Delete(a.users[k], at, at+1)
		}
		if len(a.users[k]) == 0 {
			delete(a.users, k)
		}
	}
}

// setPod takes a pod; nil: it is gone.
func (a *assembly) setPod(k inventory.Key, p *inventory.Pod, at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old := a.pods[k]
	if samePod(old, p) {
		return
	}
	if old != nil {
		delete(a.hosted[old.NodeName], k)
		if len(a.hosted[old.NodeName]) == 0 {
			delete(a.hosted, old.NodeName)
		}
	}
	delete(a.pods, k)
	if p != nil {
		a.pods[k] = p
		if a.hosted[p.NodeName] == nil {
			a.hosted[p.NodeName] = make(map[inventory.Key]struct{})
		}
		a.hosted[p.NodeName][k] = struct{}{}
	}
	a.markLocked(inventory.KindPod, k, at)
	a.electedLocked(k, at)
	if !maps.Equal(labelsOf(old), labelsOf(p)) {
		for _, service := range a.users[k] {
			a.markLocked(inventory.KindService, service, at)
		}
	}
}

func labelsOf(p *inventory.Pod) map[string]string {
	if p == nil {
		return nil
	}
	return p.Labels
}

// setNode takes the labels of a node.
func (a *assembly) setNode(name string, labels map[string]string, at time.Time) {
	zone := labels[corev1.LabelTopologyZone]
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.zones[name] == zone {
		return
	}
	if zone == "" {
		delete(a.zones, name)
	} else {
		a.zones[name] = zone
	}
	for k := range a.hosted[name] {
		a.markLocked(inventory.KindPod, k, at)
		a.electedLocked(k, at)
		for _, service := range a.users[k] {
			a.markLocked(inventory.KindService, service, at)
		}
	}
}

// PodLabels implements Surroundings; mu is held.
func (a *assembly) PodLabels(k inventory.Key) map[string]string { return labelsOf(a.pods[k]) }

// NodeZone implements Surroundings; mu is held.
func (a *assembly) NodeZone(node string) string { return a.zones[node] }

// flush makes what is dirty anew and puts what is different into the inventory.
func (a *assembly) flush(into *inventory.Store) {
	a.mu.Lock()
	dirty := a.dirty
	a.dirty = make(map[inventory.Ref]time.Time)
	a.mu.Unlock()
	for ref, at := range dirty {
		// One by one, so that a large flush holds nobody up.
		a.mu.Lock()
		var pod *inventory.Pod
		var lease *inventory.Lease
		var service *inventory.Service
		switch ref.Kind {
		case inventory.KindPod:
			pod = a.podLocked(ref.Key)
		case inventory.KindLease:
			lease = a.leaseLocked(ref.Key)
		default:
			service = a.serviceLocked(ref.Key)
		}
		a.mu.Unlock()
		switch ref.Kind {
		case inventory.KindPod:
			putIfNew(into, ref, pod, samePod, at)
		case inventory.KindLease:
			putIfNew(into, ref, lease, sameLease, at)
		default:
			putIfNew(into, ref, service, sameService, at)
		}
	}
}

// serviceLocked makes a Service of its parts; nil: there is none.
func (a *assembly) serviceLocked(k inventory.Key) *inventory.Service {
	s := a.services[k]
	if s == nil {
		return nil
	}
	parts := slices.Collect(maps.Values(a.slices[k]))
	if len(parts) == 0 {
		parts = a.core[k]
	}
	return s.Join(parts, a)
}

func (a *assembly) podLocked(k inventory.Key) *inventory.Pod {
	p := a.pods[k]
	if p == nil || p.Zone != "" || a.zones[p.NodeName] == "" {
		return p
	}
	placed := *p
	placed.Zone = a.zones[p.NodeName]
	return &placed
}

// putIfNew makes a value the current one if it differs; nil deletes.
func putIfNew[T interface {
	comparable
	inventory.Thing
}](into *inventory.Store, ref inventory.Ref, value T, same func(a, b T) bool, at time.Time,
) {
	var none T
	current := inventory.Get[T](into, ref)
	switch {
	case value == none && current == none, value != none && same(current, value):
	case value == none:
		into.Delete(ref, at)
	default:
		inventory.Put(into, ref, value, at)
	}
}
