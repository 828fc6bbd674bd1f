// Package drain has what is open, connections or requests, come to its end together.
package drain

import (
	"context"
	"sync"
	"sync/atomic"
)

// Set is what is open. Its methods may be called from any
// goroutine, but not by the functions that they are given, which must not block:
// they are called while the set is locked. A zero Set is empty.
type Set[C comparable] struct {
	draining atomic.Bool // set with mu held

	mu    sync.Mutex
	open  map[C]struct{} // guarded by mu
	empty chan struct{}  // closed when open is empty; nil: nobody waits; guarded by mu
}

// Add takes one in; false: the set is being drained, and takes none.
func (s *Set[C]) Add(c C) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	if s.open == nil {
		s.open = map[C]struct{}{}
	}
	s.open[c] = struct{}{}
	return true
}

// Remove takes one out. What is not in the set changes nothing.
func (s *Set[C]) Remove(c C) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if len(s.open) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// Len is how many are open.
func (s *Set[C]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Each calls f for all that are open.
func (s *Set[C]) Each(f func(C)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eachLocked(f)
}

func (s *Set[C]) eachLocked(f func(C)) {
	for c := range s.open {
		f(c)
	}
}

// Draining says that all are to end, and none is taken in any more.
func (s *Set[C]) Draining() bool { return s.draining.Load() }

// Wait returns when none is open, or with ctx's error when that is done before.
func (s *Set[C]) Wait(ctx context.Context) error {
	s.mu.Lock()
	if len(s.open) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown calls ask for all that are open, which are to end soon, and waits for
// them. If ctx is done before, it calls end for those that are left, and returns
// ctx's error.
func (s *Set[C]) Shutdown(ctx context.Context, ask, end func(C)) error {
	s.Close(ask)
	err := s.Wait(ctx)
	if err != nil {
		s.Close(end)
	}
	return err
}

// Close calls end for all that are open, and has the set take none in any more.
func (s *Set[C]) Close(end func(C)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.eachLocked(end)
}
