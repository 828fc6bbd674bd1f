package database

import (
	"slices"
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Gate lets so many sessions in at once, for all loops. Who has to wait is let
// in in the order of coming. The zero value lets all in.
type Gate struct {
	mu      sync.Mutex // guards below
	limit   int        // 0: none
	open    int
	waiting []*Waiter
}

// Waiter is a session that waits for its turn.
type Waiter struct {
	Loop    *netloop.Loop
	Entered func() // called on Loop, when a session that was Queued is let in

	granted bool // guarded by Gate.mu
	first   bool // guarded by Gate.mu: goes before those who are not
}

// Passage is what became of the wish to enter.
type Passage uint8

// What may become of it.
const (
	Entered Passage = iota
	Queued
	Refused
)

// Enter lets a session in, or queues it among at most so many.
func (g *Gate) Enter(w *Waiter, most int) Passage {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.limit == 0 || g.open < g.limit && len(g.waiting) == 0:
		g.open++
		w.granted = true
		return Entered
	case len(g.waiting) >= most:
		return Refused
	}
	g.waiting = append(g.waiting, w)
	return Queued
}

// EnterFirst lets a session in, or queues it before those that came by Enter.
func (g *Gate) EnterFirst(w *Waiter) Passage {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.limit == 0 || g.open < g.limit {
		g.open++
		w.granted = true
		return Entered
	}
	w.first = true
	behind := 0
	for behind < len(g.waiting) && g.waiting[behind].first {
		behind++
	}
	g.waiting = slices.Insert(g.waiting, behind, w)
	return Queued
}

// has reports whether a session has been let in, and has not left.
func (g *Gate) has(w *Waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return w.granted
}

// numbers are how many are in, and how many wait.
func (g *Gate) numbers() (open, waiting int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, len(g.waiting)
}

// Force lets a session in whatever the limit: it is there already.
func (g *Gate) Force(w *Waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	w.granted = true
	g.open++
}

// Leave gives up a place, or the wish for one.
func (g *Gate) Leave(w *Waiter) {
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

// Resize changes the limit; sessions above it stay.
func (g *Gate) Resize(limit uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limit = int(limit)
	g.admitLocked()
}

// admitLocked lets in those who wait, as far as there is room. Who has gone
// meanwhile gives the place back by leave.
func (g *Gate) admitLocked() {
	for len(g.waiting) > 0 && (g.limit == 0 || g.open < g.limit) {
		w := g.waiting[0]
		g.waiting = slices.Delete(g.waiting, 0, 1)
		if w.Loop.Post(w.Entered) {
			w.granted = true
			g.open++
		}
	}
}
