package pool

import (
	"context"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// reserve counts a new connection in. Where there are as many as may be, it
// gives a channel to wait at, or ErrOverflow when too many wait already.
func (k *Cluster) reserve(o *filters.UpstreamOptions) (chan struct{}, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil, errClosed
	}
	most := o.HTTP.MaxConnections
	if most == 0 || k.Open.Load() < int64(most) {
		k.Open.Add(1)
		return nil, nil //nolint:nilnil // nothing to wait for, and no error
	}
	if o.HTTP.MaxPending > 0 && len(k.waiting) >= o.HTTP.MaxPending {
		k.Overflows.Add(1)
		return nil, ErrOverflow
	}
	w := make(chan struct{}, 1)
	k.waiting = append(k.waiting, w)
	k.Pending.Add(1)
	return w, nil
}

// release counts a connection out.
func (k *Cluster) release() {
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
	k.waiting[0] <- struct{}{}
	k.waiting = slices.Delete(k.waiting, 0, 1)
	k.Pending.Add(-1)
}

// wait returns when it is worth trying again.
func (k *Cluster) wait(ctx context.Context, w chan struct{}) error {
	select {
	case <-w:
		return nil
	case <-ctx.Done():
	}
	k.mu.Lock()
	at := slices.Index(k.waiting, w)
	if at >= 0 {
		k.waiting = slices.Delete(k.waiting, at, at+1)
		k.Pending.Add(-1)
	}
	k.mu.Unlock()
	if at < 0 {
		k.wakeOne() // the turn that came too late is the next one's
	}
	return context.Cause(ctx)
}
