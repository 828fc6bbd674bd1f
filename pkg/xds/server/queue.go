package server

import "sync"

// queue holds the nodes that something is due for. Each is in it at most once.
type queue struct {
	mu sync.Mutex
	// mu guards below
	nodes  []*Node
	head   int
	closed bool
	some   sync.Cond
}

func newQueue() *queue {
	q := &queue{}
	q.some.L = &q.mu
	return q
}

func (q *queue) put(nodes ...*Node) {
	if len(nodes) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	q.nodes = append(q.nodes, nodes...)
	if len(nodes) == 1 {
		q.some.Signal()
	} else {
		q.some.Broadcast()
	}
}

// get waits for a node; nil: the queue is closed.
func (q *queue) get() *Node {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.nodes) && !q.closed {
		q.some.Wait()
	}
	if q.closed {
		return nil
	}
	n := q.nodes[q.head]
	q.nodes[q.head] = nil
	q.head++
	if q.head == len(q.nodes) {
		q.nodes, q.head = q.nodes[:0], 0
		if cap(q.nodes) > 1024 {
			q.nodes = nil // the room of a burst is given back
		}
	}
	return n
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.nodes, q.head = nil, 0
	q.some.Broadcast()
}
