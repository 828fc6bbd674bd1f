package pool

import (
	"context"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Wait is a turn in the queue for a connection.
type Wait struct{ wake func() }

// Reserve counts a new connection in. Where there are as many as may be it gives a
// place in the queue instead, or ErrOverflow when too many wait already. wake is
// called once it is worth trying again, on any goroutine; it must not block.
func (k *Cluster) Reserve(wake func()) (*Wait, error) {
	w, err := k.queue(wake)
	if w != nil {
		k.shed()
	}
	return w, err
}

func (k *Cluster) queue(wake func()) (*Wait, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	var o filters.HTTPUpstream
	if given := k.options(); given != nil {
		o = given.HTTP
	}
	if o.MaxConnections == 0 || k.Open.Load() < int64(o.MaxConnections) {
		k.Open.Add(1)
		return nil, nil //nolint:nilnil // nothing to wait for, and no error
	}
	if o.MaxPending > 0 && len(k.waiting) >= o.MaxPending {
		k.Overflows.Add(1)
		return nil, ErrOverflow
	}
	w := &Wait{wake}
	k.waiting = append(k.waiting, w)
	k.Pending.Add(1)
	return w, nil
}

// Abandon gives a place in the queue up. If its turn has come already, it is the
// next one's.
func (k *Cluster) Abandon(w *Wait) {
	k.mu.Lock()
	at := slices.Index(k.waiting, w)
	if at >= 0 {
		k.waiting = slices.Delete(k.waiting, at, at+1)
		k.Pending.Add(-1)
	}
	k.mu.Unlock()
	if at < 0 {
		k.wakeOne()
	}
}

// Release counts a connection out.
func (k *Cluster) Release() {
	k.Open.Add(-1)
	k.wakeOne()
}

// wakeOne lets the one that has waited longest try again.
func (k *Cluster) wakeOne() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.waiting) == 0 {
		return
	}
	k.waiting[0].wake()
	k.waiting = slices.Delete(k.waiting, 0, 1)
	k.Pending.Add(-1)
}

// reserve is Reserve for a goroutine, which waits. It tells whether there was a
// connection to be had; otherwise it is worth trying again.
func (k *Cluster) reserve(ctx context.Context) (bool, error) {
	turn := make(chan struct{}, 1)
	w, err := k.Reserve(func() { turn <- struct{}{} })
	if w == nil {
		return err == nil, err
	}
	select {
	case <-turn:
		return false, nil
	case <-ctx.Done():
		k.Abandon(w)
		return false, context.Cause(ctx)
	}
}
