package inventory

import (
	"slices"
	"sync"
	"time"
)

// Store is an inventory that changes. Its methods may be called from any
// goroutine.
type Store struct {
	mu     sync.RWMutex // guards below
	things map[Ref]any
	// dirty is what has changed since the last Take, with the time of the first
	// change of each.
	dirty map[Ref]time.Time

	changed chan struct{} // has room for one
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{
		things:  make(map[Ref]any),
		dirty:   make(map[Ref]time.Time),
		changed: make(chan struct{}, 1),
	}
}

// Thing is what a Store holds.
type Thing interface {
	*Object | *Service | *Secret | *Pod | *Namespace | *Lease
}

// Put makes a value the current one. at is when the change was observed.
func Put[T Thing](s *Store, ref Ref, value T, at time.Time) { s.set(ref, value, at) }

// Delete forgets a value.
func (s *Store) Delete(ref Ref, at time.Time) { s.set(ref, nil, at) }

func (s *Store) set(ref Ref, value any, at time.Time) {
	s.mu.Lock()
	if value == nil {
		delete(s.things, ref)
	} else {
		s.things[ref] = value
	}
	if _, ok := s.dirty[ref]; !ok {
		s.dirty[ref] = at
	}
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Changed gives a value when there is something to Take.
func (s *Store) Changed() <-chan struct{} { return s.changed }

// Take returns what has changed since the last call, with the time at which the
// oldest change of each was observed. There is one taker.
func (s *Store) Take() map[Ref]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.dirty
	s.dirty = make(map[Ref]time.Time)
	return out
}

// Get returns the current value, or nil.
func Get[T Thing](s *Store, ref Ref) T {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, _ := s.things[ref].(T)
	return v
}

// Refs lists what there is of a kind, sorted.
func (s *Store) Refs(kind Kind) []Ref {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Ref
	for ref := range s.things {
		if ref.Kind == kind {
			out = append(out, ref)
		}
	}
	slices.SortFunc(out, Ref.Compare)
	return out
}

// Service returns a Service, or nil.
func (s *Store) Service(k Key) *Service { return Get[*Service](s, Ref{KindService, k}) }

// Lease returns a Lease, or nil.
func (s *Store) Lease(k Key) *Lease { return Get[*Lease](s, Ref{KindLease, k}) }

// Secret returns a Secret, or nil.
func (s *Store) Secret(k Key) *Secret { return Get[*Secret](s, Ref{KindSecret, k}) }

// ConfigMap returns a ConfigMap, or nil.
func (s *Store) ConfigMap(k Key) *Secret { return Get[*Secret](s, Ref{KindConfigMap, k}) }

// Ambassador returns a mesh object, or nil.
func (s *Store) Ambassador(k Key) *Object { return Get[*Object](s, Ref{KindAmbassador, k}) }

// Adapter returns a mesh object, or nil.
func (s *Store) Adapter(k Key) *Object { return Get[*Object](s, Ref{KindAdapter, k}) }

// Pod returns a pod, or nil.
func (s *Store) Pod(k Key) *Pod { return Get[*Pod](s, Ref{KindPod, k}) }

// Namespace returns a Namespace, or nil.
func (s *Store) Namespace(name string) *Namespace {
	return Get[*Namespace](s, Ref{KindNamespace, Key{Name: name}})
}
