package kube

import (
	"crypto/rand"
	"crypto/sha256"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// What tests turn.

// SetClock gives a reviewer another clock.
func (r *Reviewer) SetClock(now func() time.Time) { r.now = now }

// Answers counts what a reviewer remembers.
func (r *Reviewer) Answers() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.answers)
}

// Remember has a reviewer keep an answer.
func (r *Reviewer) Remember(hash [sha256.Size]byte, err error) {
	own := &answer{done: make(chan struct{})}
	r.mu.Lock()
	r.answers[hash] = own
	r.mu.Unlock()
	r.fill(hash, own, nil, inventory.Identity{}, err)
}

// RandomHash is that of a token which nobody has.
func RandomHash() (out [sha256.Size]byte) {
	_, _ = rand.Read(out[:]) // never fails
	return out
}
