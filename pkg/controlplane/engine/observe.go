package engine

import "github.com/dragoman-mesh/dragoman/pkg/xds/server"

// Acked implements server.Observer. Endpoints come and go too often, and say
// nothing of an object: they are not looked at.
func (e *Engine) Acked(n *server.Node, a server.Ack) {
	if a.TypeURL == server.ListenerType || a.TypeURL == server.ClusterType {
		e.hear(n)
	}
}

// Refused implements server.Observer.
func (e *Engine) Refused(n *server.Node, _ server.Refusal) { e.hear(n) }

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
