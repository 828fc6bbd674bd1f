package redis

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// mirror sends a copy of a request to the route's mirrors; keys are arguments of
// r. Nobody waits for the answers. A mirror spreads keys in its own way: one that
// has them on different shards does not get what it could only do in part.
func (c *client) mirror(r *request, rt *route, keys []int, frame []byte) {
	for i := range rt.mirrors {
		m := &rt.mirrors[i]
		if !m.wants(r) {
			continue
		}
		if t, ok := c.f.locateAll(m.cluster, rt, r, keys); ok {
			c.copyTo(t, frame)
		}
	}
}

// mirrorSplit is mirror for a command whose keys may be taken apart, or a part of
// one: each shard of a mirror gets the keys that it has.
func (c *client) mirrorSplit(r *request, part *group, step int) {
	rt := part.rt
	for i := range rt.mirrors {
		if m := &rt.mirrors[i]; m.wants(r) {
			for _, g := range c.f.mirrorGroups(m.cluster, rt, r, part.keys) {
				c.copyTo(g.t, c.w.appendGroup(r, &g, step))
			}
		}
	}
}

// wants reports whether the mirror is to get a copy of r.
func (m *mirror) wants(r *request) bool {
	return (r.write || !m.excludeReads) && chance(m.fraction)
}

// locateAll finds the one shard of a cluster that has all of some keys.
func (f *localFilter) locateAll(cl filters.Cluster, rt *route, r *request, keys []int) (t target, ok bool) {
	t = unplaced(cl)
	for i, k := range keys {
		to, reason := f.locateBy(t, rt.strip(r.arg(k)))
		if reason != "" || (i > 0 && to.shard != t.shard) {
			return t, false
		}
		t = to
	}
	return t, len(keys) > 0
}

// mirrorGroups sorts keys by the shards of a mirror, or the slots of one that is a
// Redis Cluster. Keys that it has no place for are left out.
func (f *localFilter) mirrorGroups(cl filters.Cluster, rt *route, r *request, keys []int) []group {
	var groups []group
	var index groupIndex
	by := unplaced(cl)
	for _, k := range keys {
		key := rt.strip(r.arg(k))
		t, reason := f.locateBy(by, key)
		if reason != "" {
			continue
		}
		slot := int32(-1)
		if t.table.Slots != nil {
			slot = int32(redisproto.Slot(key))
		}
		i := index.find(groups, groupKey{rt, t.table, t.shard, slot})
		if i == len(groups) {
			groups = append(groups, group{t: t, rt: rt, slot: slot})
		}
		groups[i].keys = append(groups[i].keys, k)
	}
	return groups
}

// copyTo sends a copy of a request; rather there is a gap than a queue without end.
func (c *client) copyTo(t target, frame []byte) {
	p, _ := c.poolFor(t, false)
	if p == nil {
		return
	}
	if u, _ := p.get(c); u != nil && !u.conn.Full() {
		u.send(frame, &pending{what: expectMirrored, start: c.w.loop.Now(), deadline: c.f.deadline(), shard: p.stats})
	}
}

// mirrored takes the reply to a copy. Redirections are not followed; they only show
// where the next copies belong.
func (u *upstream) mirrored(p *pending, failed bool, frame []byte) {
	p.shard.observe(u.pool.w.loop.Now()-p.start, failed)
	if !failed {
		return
	}
	for _, code := range []string{"MOVED", "ASK", "READONLY", "CLUSTERDOWN"} {
		if bytes.HasPrefix(frame, []byte("-"+code+" ")) {
			u.pool.cluster.Refresh(code)
		}
	}
}
