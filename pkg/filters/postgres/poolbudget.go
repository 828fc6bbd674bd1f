package postgres

import (
	"slices"
	"sync"
	"time"
)

// budget bounds the connections of the pools of one listener and cluster, which
// are one for each loop.
type budget struct {
	mu      sync.Mutex // guards below
	limit   int
	open    int
	pools   map[*pool]int // connections of each
	wanting []*pool       // who may not have another, in the order of asking
	known   map[string]*facts
}

func newBudget() *budget { return &budget{pools: map[*pool]int{}, known: map[string]*facts{}} }

// told returns what a server has reported to a group of this key, on any loop;
// nil: nothing.
func (b *budget) told(key string) *facts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.known[key]
}

// tell remembers it, nil to forget it.
func (b *budget) tell(key string, f *facts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if f == nil || len(b.known) >= maxGroups {
		delete(b.known, key)
	}
	if f != nil && len(b.known) < maxGroups {
		b.known[key] = f
	}
}

// resize changes the limit. What is above it stays until it is given back.
func (b *budget) resize(limit uint32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.limit = int(limit)
	b.wakeLocked()
}

func (b *budget) join(p *pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pools[p] += 0
}

// leave forgets a pool that is closed, once it has nothing.
func (b *budget) leave(p *pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanting = slices.DeleteFunc(b.wanting, func(q *pool) bool { return p == q })
	if b.pools[p] == 0 {
		delete(b.pools, p)
	}
}

// take allows a pool one more connection. If there is none left, other loops are
// asked to give one up which have more than their share, or any if the pool has
// none at all, and grow is called on the pool's loop when it may try again.
func (b *budget) take(p *pool, none bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open < b.limit {
		b.open++
		b.pools[p]++
		return true
	}
	if slices.Contains(b.wanting, p) {
		return false
	}
	share := max(1, b.limit/max(1, len(b.pools)))
	if b.pools[p] >= share {
		return false // it has connections to wait for
	}
	b.wanting = append(b.wanting, p)
	for q, n := range b.pools {
		if q != p && n > 0 && (n > share || none) && q.key.loop.Post(q.yield) {
			break
		}
	}
	return false
}

// give gives one back.
func (b *budget) give(p *pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open--
	if b.pools[p]--; b.pools[p] == 0 && p.closed {
		delete(b.pools, p)
	}
	b.wakeLocked()
}

func (b *budget) wakeLocked() {
	for free := b.limit - b.open; free > 0 && len(b.wanting) > 0; free-- {
		p := b.wanting[0]
		b.wanting = slices.Delete(b.wanting, 0, 1)
		p.key.loop.Post(p.growAll)
	}
}

// yield gives up a connection for another loop: an idle one, or the next that
// becomes so.
func (p *pool) yield() {
	for _, g := range p.groups {
		if len(g.idle) > 0 {
			g.idle[0].close(closedEvicted)
			return
		}
	}
	if len(p.servers) > 0 {
		p.owes = 1
	}
}

// beg asks other loops for a connection that they have not used for a while, for a
// pool that has its share or more: sessions may keep those for long.
func (b *budget) beg(p *pool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.open < b.limit {
		return
	}
	if !slices.Contains(b.wanting, p) {
		b.wanting = append(b.wanting, p)
	}
	for q := range b.pools {
		if q != p {
			q.key.loop.Post(q.spare)
		}
	}
}

// spare gives up a connection that nobody has used for a while.
func (p *pool) spare() {
	for _, g := range p.groups {
		if len(g.idle) > 0 && time.Duration(p.key.loop.Now()-g.idle[0].idleSince) >= sweepEvery {
			g.idle[0].close(closedEvicted)
			return
		}
	}
}

// growAll tries again for those who wait for longest.
func (p *pool) growAll() {
	for g := p.starving(); g != nil; g = p.starving() {
		before := g.opening
		if g.grow(); g.opening == before {
			return
		}
	}
}
