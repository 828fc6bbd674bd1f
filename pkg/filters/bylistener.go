package filters

import (
	"maps"
	"sync"
)

// ByListener is what a [Builder] keeps for each listener over changes of its
// configuration, such as counters. The zero value is empty. Its methods are for any
// goroutine.
type ByListener[T any] struct {
	mu sync.Mutex
	of map[string]*T // guarded by mu
}

// Of returns that of a listener, which is made the first time.
func (b *ByListener[T]) Of(listener string) *T {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.of[listener]
	if !ok {
		if b.of == nil {
			b.of = map[string]*T{}
		}
		v = new(T)
		b.of[listener] = v
	}
	return v
}

// All returns those that are there now, by the listener's name.
func (b *ByListener[T]) All() map[string]*T {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.of)
}
