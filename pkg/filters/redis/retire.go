package redis

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Retire moves the clients to the next filter, each at a boundary between two
// requests, or sees them off.
func (f *Filter) Retire(r filters.Retirement) {
	next, _ := r.Next.(*Filter)
	loops := f.ctx.Loops()
	var left atomic.Int32
	var once sync.Once
	left.Store(int32(len(loops)))
	done := func() {
		if left.Add(-1) == 0 && r.Done != nil {
			once.Do(r.Done)
		}
	}
	if len(loops) == 0 && r.Done != nil {
		r.Done()
	}
	for _, l := range loops {
		if !l.Post(func() { f.b.worker(l).retire(f, next, r, done) }) {
			done()
		}
	}
}

func (w *worker) retire(f, next *Filter, r filters.Retirement, done func()) {
	lf, ok := w.filters[f]
	if !ok {
		done()
		return
	}
	lf.retired = func() {
		delete(w.filters, f)
		done()
	}
	if next != nil {
		lf.successor = w.local(next)
	}
	lf.over = next == nil
	lf.leave(r.Cut, r.Deadline)
}

// leave makes the clients of a retired filter go.
func (f *localFilter) leave(cut bool, deadline time.Duration) {
	if f.clients.Len() == 0 {
		f.retired()
		f.retired = nil
		return
	}
	for c := range f.clients.All() {
		switch {
		case cut:
			c.drop()
		case f.successor != nil && c.moveOn():
		case f.successor == nil:
			c.finishUp()
		}
	}
	f.dropAfter(deadline)
}

// closeAll lets every client have its replies and then closes it.
func (f *localFilter) closeAll(deadline time.Duration) {
	for c := range f.clients.All() {
		c.finishUp()
	}
	f.dropAfter(deadline)
}

// dropAfter closes the clients that are still there when the deadline is over.
func (f *localFilter) dropAfter(deadline time.Duration) {
	if f.clients.Len() == 0 {
		return
	}
	f.w.loop.After(deadline, func() {
		for c := f.clients.First(); c != nil; c = f.clients.First() {
			c.drop()
		}
	})
}

// finishUp closes the client as soon as it has its replies, and its
// transaction, if it is in one, is over.
func (c *client) finishUp() {
	if x := c.x; x != nil {
		t, isTx := x.mode.(*tx)
		switch {
		case x.subs != nil || (x.mode != nil && !isTx): // these have no end
			c.drop()
			return
		case x.upload != nil || (isTx && t.multi):
			c.state |= stateLeaving
			return
		}
	}
	c.state |= stateClosing
	c.state &^= stateStalled | stateBarrier
	c.closeIfDone()
}

// moveOn takes the client to the configuration that replaced its own. It
// returns false if the client holds connections of the old one's clusters, and
// has to stay until it is done with them.
func (c *client) moveOn() bool {
	to := c.f.successor
	for to.successor != nil {
		to = to.successor
	}
	if x := c.x; x != nil && (x.mode != nil || x.subs != nil || x.upload != nil || x.session != nil) && !to.sameClusters(c.f) {
		return false
	}
	if to.keepsWaiting(c) || c.x != nil && c.x.upload != nil && c.x.upload.sorting != nil {
		return false
	}
	if to.over {
		c.finishUp()
		return true
	}
	from := c.f
	from.remove(c)
	to.add(c)
	if c.ring.len() > 0 {
		to.inherit()
	}
	if c.db == int32(from.cfg.Database) {
		c.db = int32(to.cfg.Database)
	}
	if c.user = to.successorOf(c.user); c.user == nil && c.listens() {
		c.drop() // it would go on hearing what it may not ask for
	}
	return true
}

// listens reports whether the client is told things without asking each time: it
// has subscribed, tracks, monitors or is a replica.
func (c *client) listens() bool {
	if c.x == nil {
		return false
	}
	_, isTx := c.x.mode.(*tx)
	return c.x.subs != nil || c.x.session != nil || (c.x.mode != nil && !isTx)
}

// successorOf is who a user of another configuration is in this one: nil if he
// has to log in, because he is not known here or has never shown a password.
func (f *localFilter) successorOf(u *user) *user {
	if len(f.users) == 0 || u == nil || u == everyone {
		return f.initialUser()
	}
	now := f.users[u.name]
	if now != nil && u.nopass() && !now.nopass() {
		return nil
	}
	return now
}

func (f *localFilter) sameClusters(other *localFilter) bool {
	return slices.Equal(f.clusters(), other.clusters())
}
