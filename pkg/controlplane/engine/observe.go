package engine

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// Acked implements server.Observer. Endpoints come and go too often, and say
// nothing of an object: they are not looked at.
func (e *Engine) Acked(n *server.Node, a server.Ack) {
	if !a.At.IsZero() {
		e.converge(a)
	}
	if a.TypeURL == server.ListenerType || a.TypeURL == server.ClusterType {
		e.hear(n)
	}
}

// Refused implements server.Observer.
func (e *Engine) Refused(n *server.Node, r server.Refusal) {
	e.noteRefusal(r.Keys...)
	e.hear(n)
}

func (e *Engine) noteRefusal(keys ...server.Key) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range keys {
		e.refusing[k] = struct{}{}
	}
}

// forgetRefusal reports whether a refusal of a resource had been noted.
func (e *Engine) forgetRefusal(k server.Key) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, ok := e.refusing[k]
	delete(e.refusing, k)
	return ok
}

// hear notes that there is news of a node. It is called on streams' goroutines.
func (e *Engine) hear(n *server.Node) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard[n] = struct{}{}
}

// news are the nodes of which there is some.
func (e *Engine) news() map[*server.Node]struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.heard) == 0 {
		return nil
	}
	heard := e.heard
	e.heard = map[*server.Node]struct{}{}
	return heard
}

// settled is how long nobody must have acknowledged a change for the last ACK to
// have been the last.
const settled = time.Second

// convergence is how far a change has come.
type convergence struct {
	took time.Duration // until the last ACK so far
	at   time.Time     // of that
}

// converge notes an ACK of a change. It is called on streams' goroutines.
func (e *Engine) converge(a server.Ack) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.converging[a.At]
	e.converging[a.At] = convergence{max(c.took, a.Took), now}
}

// observeConvergence counts the changes that everybody has, as far as can be
// seen.
func (e *Engine) observeConvergence(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for at, c := range e.converging {
		if now.Sub(c.at) >= settled {
			e.metrics.convergence.Observe(c.took.Seconds())
			delete(e.converging, at)
		}
	}
}
