package filters

import (
	"errors"
	"maps"
	"slices"
	"sync"
)

// Live is the filters of a [Builder] that are of some concern yet: they have
// connections, or were not retired. It is whom a [Drainer] asks. The zero value is
// empty. Its methods are for any goroutine.
type Live[F comparable] struct {
	mu  sync.Mutex
	set map[F]struct{} // guarded by mu
}

// Add makes a filter one of them.
func (l *Live[F]) Add(f F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.set == nil {
		l.set = map[F]struct{}{}
	}
	l.set[f] = struct{}{}
}

// Remove forgets a filter, if it is one of them.
func (l *Live[F]) Remove(f F) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.set, f)
}

// All returns them as they are now, in any order.
func (l *Live[F]) All() []F {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Collect(maps.Keys(l.set))
}

// Together calls do for all of a list at once, and joins the errors when all of them
// have returned: so they share the time that a drain has.
func Together[T any](list []T, do func(T) error) error {
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, one := range list {
		all.Go(func() { errs[i] = do(one) })
	}
	all.Wait()
	return errors.Join(errs...)
}
