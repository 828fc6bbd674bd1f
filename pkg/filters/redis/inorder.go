package redis

import (
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// A request that the node of its slot redirects is sent a second time. By then the
// table may be another one, and what the client has sent meanwhile gone straight to
// the right node. So the requests that a client has under way have all been placed by
// one table of a Redis Cluster: those to the same slot then take the same way, behind
// each other.

// placing is the table of a Redis Cluster that a filter places requests by.
type placing struct {
	cluster filters.Cluster
	table   *filters.Table
	since   int64 // loop time; -1: always
	moving  int64 // until then slots are taken to be on the move
}

// inOrder reports whether a request of the client may go to t now. If not, it has to
// be shown again when the earlier ones, which another table has placed, are answered.
func (c *client) inOrder(t *target) bool {
	if t.table.Slots == nil {
		return true
	}
	since := c.f.placingSince(t)
	if c.ring.len() == 0 || c.ring.at(c.ring.head).start > since {
		return true
	}
	return c.barrier()
}

// anySlots reports whether keys may live in a Redis Cluster. A request whose keys are
// placed later than it is let in goes alone then.
func (f *localFilter) anySlots() bool {
	return slices.ContainsFunc(f.clusters(), func(cl filters.Cluster) bool { return cl.Table().Slots != nil })
}

// placingSince is when the filter placed the first request by t's table.
func (f *localFilter) placingSince(t *target) int64 {
	for i := range f.placings {
		p := &f.placings[i]
		if p.cluster != t.cluster {
			continue
		}
		if p.table != t.table {
			p.table, p.since = t.table, f.w.loop.Now()
		}
		return p.since
	}
	first := placing{cluster: t.cluster, table: t.table, since: -1}
	if f.inherited {
		first.since = f.w.loop.Now()
	}
	f.placings = append(f.placings, first)
	return first.since
}

// movingFor is how long a slot is taken to be on the move after its node has said so.
const movingFor = time.Second

// slotsMove notes that keys are going from one node of the cluster to another.
func (f *localFilter) slotsMove(cl filters.Cluster) {
	for i := range f.placings {
		if p := &f.placings[i]; p.cluster == cl {
			p.moving = f.w.loop.Now() + int64(movingFor)
		}
	}
}

// holdBehindKeys is called behind a request to t with several keys. While slots move,
// what comes next waits for it: the node would refuse it if it has some of the keys
// but not all, and execute what is behind it.
func (c *client) holdBehindKeys(t *target) {
	for i := range c.f.placings {
		p := &c.f.placings[i]
		if p.cluster == t.cluster && p.moving > c.w.loop.Now() && c.ring.len() > 0 {
			c.hold()
		}
	}
}

// inherit is told of a client that comes with requests which another filter has placed.
func (f *localFilter) inherit() { f.inherited, f.placings = true, nil }

// tables are those of clusters, each asked for once: of requests that are sent in one go,
// none takes another way than those before it because the table has changed in between.
type tables map[filters.Cluster]*filters.Table

func (t tables) of(cl filters.Cluster) *filters.Table {
	table, ok := t[cl]
	if !ok {
		table = cl.Table()
		t[cl] = table
	}
	return table
}
