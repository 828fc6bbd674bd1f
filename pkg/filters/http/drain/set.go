// Package drain has a server's open connections come to their end together.
package drain

import (
	"context"
	"sync"
	"sync/atomic"
)

// Set is the open connections of a server. Its methods may be called from any
// goroutine, but not by the functions that they are given, which must not block:
// they are called while the set is locked. A zero Set is empty.
type Set[C comparable] struct {
	draining atomic.Bool // set with mu held

	mu    sync.Mutex
	open  map[C]struct{} // guarded by mu
	empty chan struct{}  // closed when open is empty; nil: nobody waits; guarded by mu
}

// Add takes a connection in; false: the set is being drained, and takes none.
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

// Remove takes a connection out. One that is not in the set changes nothing.
func (s *Set[C]) Remove(c C) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if len(s.open) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// Len is how many connections are open.
func (s *Set[C]) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Each calls f for each connection.
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

// Draining says that connections are to end with what they are at.
func (s *Set[C]) Draining() bool { return s.draining.Load() }

// Shutdown calls ask for each connection, which is to end soon, and waits until
// the last was removed. If ctx is done before, it calls end for those that are
// left, and returns ctx's error.
func (s *Set[C]) Shutdown(ctx context.Context, ask, end func(C)) error {
	empty := s.drain(ask)
	if empty == nil {
		return nil
	}
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		s.Close(end)
		return ctx.Err()
	}
}

// drain returns what is closed when no connection is left; nil: none is.
func (s *Set[C]) drain(ask func(C)) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.eachLocked(ask)
	if len(s.open) > 0 && s.empty == nil {
		s.empty = make(chan struct{})
	}
	return s.empty
}

// Close calls end for each connection, and takes none in any more.
func (s *Set[C]) Close(end func(C)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining.Store(true)
	s.eachLocked(end)
}
