package upstream

import "sync"

// watchers are those that want to know when an endpoint of a cluster has changed.
type watchers struct {
	mu   sync.Mutex // guards below
	list map[*func()]struct{}
}

// Notify implements filters.Notifier.
func (c *cluster) Notify(fn func()) (stop func()) {
	w := &c.watchers
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = make(map[*func()]struct{})
	}
	w.list[&fn] = struct{}{}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.list, &fn)
	}
}

func (w *watchers) tell() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for fn := range w.list {
		(*fn)()
	}
}
