package redis

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// splitter says how a command with many keys is split into one request per shard.
type splitter struct {
	step int // arguments per key; 0: it cannot be split
	how  combine
	join joiner
}

func splitterOf(name string) splitter {
	switch name {
	case "mget":
		return splitter{1, combineOrder, joinOrder}
	case "mset":
		return splitter{2, combineFirst, nil}
	case "del", "unlink", "touch", "exists":
		return splitter{1, combineSum, nil}
	default:
		return splitter{}
	}
}

// group is the part of a split request that goes to one shard.
type group struct {
	t    target
	rt   *route
	slot int32         // of a Redis Cluster, which takes one slot per request
	keys []int         // argument indexes
	held netloop.Chain // instead, the arguments, of a request that lies in chunks
	n    int           // how many keys these are
}

// handleSplit forwards a command with many keys: whole if they live together,
// else as one request per shard, whose replies are merged.
func handleSplit(c *client, r *request) bool {
	if t, ok := c.f.one(); ok && len(c.f.catchAll.mirrors) == 0 {
		c.forward(r, t, r.raw(c.w))
		return true
	}
	sp := &r.split
	if (r.argc()-1)%sp.step != 0 {
		c.arityError(r)
		return true
	}
	m := c.w.takeMerge(sp.how, 0)
	groups, reason := c.groups(r, sp.step, m)
	if reason != "" {
		c.w.putMerge(m)
		c.localError(r, reason)
		return true
	}
	for i := range groups {
		if !c.inOrder(&groups[i].t) {
			c.w.putMerge(m)
			return false
		}
	}
	if len(groups) == 1 && !groups[0].rt.removePrefix {
		c.w.putMerge(m)
		c.mirrorSplit(r, &groups[0], sp.step)
		c.forward(r, groups[0].t, r.raw(c.w))
		c.holdBehindKeys(&groups[0].t)
		return true
	}
	m.setParts(len(groups))
	m.join = sp.join
	seq, s := c.open(r)
	s.merge = m
	for i := range groups {
		g := &groups[i]
		c.mirrorSplit(r, g, sp.step)
		frame := c.w.appendGroup(r, g, sp.step)
		c.sendPart(r, g.t, frame, seq, c.ring.at(seq), int32(i))
	}
	for i := range groups {
		c.holdBehindKeys(&groups[i].t)
	}
	return true
}

// groups sorts the keys of r by shard, in scratch memory.
func (c *client) groups(r *request, step int, m *merge) ([]group, string) {
	x := sorter{c: c, r: r, groups: c.w.groups[:0], order: m.order}
	for k := 1; k < r.argc(); k += step {
		g, reason := x.place(r.arg(k))
		if reason != "" {
			return nil, reason
		}
		g.keys = append(g.keys, k)
	}
	c.w.groups, m.order = x.groups, x.order
	return x.groups, ""
}

// sorter sorts keys by shard.
type sorter struct {
	c      *client
	r      *request
	groups []group
	order  []int32 // the group of each key
	index  groupIndex
	rt     *route // of the key before
	by     target // where rt leads to, by the table of its first key
}

// place finds the group of a key. A reason says why there is none.
func (x *sorter) place(key []byte) (*group, string) {
	c := x.c
	rt := c.f.route(key)
	if rt == nil {
		return nil, errNoRoute
	}
	if rt != x.rt {
		cl := rt.clusterFor(x.r.readOnly)
		x.rt, x.by = rt, unplaced(cl)
	}
	sent := rt.strip(key)
	t, reason := c.f.locateBy(x.by, sent)
	if reason != "" {
		return nil, reason
	}
	slot := int32(-1)
	if t.table.Slots != nil {
		slot = int32(redisproto.Slot(sent))
	}
	i := 0
	if len(x.groups) < manyGroups {
		for i < len(x.groups) && keyOf(&x.groups[i]) != (groupKey{rt, t.table, t.shard, slot}) {
			i++
		}
	} else {
		i = x.index.find(x.groups, groupKey{rt, t.table, t.shard, slot})
	}
	if i == len(x.groups) {
		x.groups = grown(x.groups)
		x.groups[i] = group{t: t, rt: rt, slot: slot, keys: x.groups[i].keys[:0]}
	}
	x.order = append(x.order, int32(i))
	c.f.sampleKey(key)
	return &x.groups[i], ""
}

// manyGroups is from how many groups on they are found by an index. A Redis Cluster
// has up to 16,384 of them, and a request a million keys.
const manyGroups = 32

// groupKey tells groups apart. The shards of two tables have nothing to do with each
// other.
type groupKey struct {
	rt    *route
	table *filters.Table
	shard int
	slot  int32
}

func keyOf(g *group) groupKey { return groupKey{g.rt, g.t.table, g.t.shard, g.slot} }

// groupIndex is empty until it is needed.
type groupIndex map[groupKey]int

// find returns where the group is, or is to be put.
func (x *groupIndex) find(groups []group, want groupKey) int {
	if *x == nil {
		*x = make(groupIndex, 2*len(groups))
		for i := range groups {
			(*x)[keyOf(&groups[i])] = i
		}
	}
	i, ok := (*x)[want]
	if !ok {
		i = len(groups)
		(*x)[want] = i
	}
	return i
}

// grown adds one element and keeps the memory that a former one left there.
func grown(g []group) []group {
	if len(g) < cap(g) {
		return g[:len(g)+1]
	}
	return append(g, group{})
}

// appendGroup makes the request for one group.
func (w *worker) appendGroup(r *request, g *group, step int) []byte {
	b := redisproto.AppendArray(w.inline[:0], 1+len(g.keys)*step)
	b = redisproto.AppendBulk(b, r.arg(0))
	for _, k := range g.keys {
		b = redisproto.AppendBulk(b, g.rt.strip(r.arg(k)))
		for j := 1; j < step; j++ {
			b = redisproto.AppendBulk(b, r.arg(k+j))
		}
	}
	w.inline = b
	return b
}
