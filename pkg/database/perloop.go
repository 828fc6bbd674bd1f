package database

import (
	"sync"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// PerLoop has the counters of one kind: an S for each listener on each loop,
// which outlives filters. The zero value has none.
type PerLoop[S any] struct {
	mu  sync.Mutex // guards below
	all map[perLoopKey]*S
}

type perLoopKey struct {
	listener string
	loop     *netloop.Loop
}

// Of returns the counters of a listener on a loop.
func (p *PerLoop[S]) Of(listener string, loop *netloop.Loop) *S {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := perLoopKey{listener, loop}
	s := p.all[key]
	if s == nil {
		s = new(S)
		if p.all == nil {
			p.all = map[perLoopKey]*S{}
		}
		p.all[key] = s
	}
	return s
}

// ByListener groups the counters.
func (p *PerLoop[S]) ByListener() map[string][]*S {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string][]*S{}
	for key, s := range p.all {
		out[key.listener] = append(out[key.listener], s)
	}
	return out
}
