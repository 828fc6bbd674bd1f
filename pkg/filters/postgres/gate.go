package postgres

import (
	"slices"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// gate lets so many sessions in at once, for all loops. Who has to wait is let
// in in the order of coming.
type gate struct {
	mu      sync.Mutex // guards below
	limit   int        // 0: none
	open    int
	waiting []*waiter
}

// waiter is a session that waits for its turn.
type waiter struct {
	loop    *netloop.Loop
	entered func() // called on loop
	granted bool   // guarded by gate.mu
}

// passage is what became of the wish to enter.
type passage uint8

const (
	entered passage = iota
	queued
	refused
)

// enter lets a session in, or queues it among at most so many.
func (g *gate) enter(w *waiter, most int) passage {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.limit == 0 || g.open < g.limit && len(g.waiting) == 0:
		g.open++
		w.granted = true
		return entered
	case len(g.waiting) >= most:
		return refused
	}
	g.waiting = append(g.waiting, w)
	return queued
}

// force lets a session in whatever the limit: it is there already.
func (g *gate) force(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.granted = true
	g.open++
}

// leave gives up a place, or the wish for one.
func (g *gate) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !w.granted {
		if i := slices.Index(g.waiting, w); i >= 0 {
			g.waiting = slices.Delete(g.waiting, i, i+1)
		}
		return
	}
	w.granted = false
	g.open--
	g.admitLocked()
}

// resize changes the limit; sessions above it stay.
func (g *gate) resize(limit uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = int(limit)
	g.admitLocked()
}

// admitLocked lets in those who wait, as far as there is room. Who has gone
// meanwhile gives the place back by leave.
func (g *gate) admitLocked() {
	for len(g.waiting) > 0 && (g.limit == 0 || g.open < g.limit) {
		w := g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		if w.loop.Post(w.entered) {
			w.granted = true
			g.open++
		}
	}
}
