package redis

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// target is where a request goes: a shard of a cluster.
type target struct {
	cluster filters.Cluster
	table   *filters.Table
	shard   int
}

// primary is the target's own server; nil while none is known.
func (t *target) primary() *filters.Endpoint { return t.table.Shards[t.shard].Primary }

// twin reports whether what concerns all keys is asked of the primary for another shard.
func (t *target) twin() bool { return t.table.Shards[t.shard].Twin }

// unplaced is a target of cl with no shard yet, by the newest table.
func unplaced(cl filters.Cluster) target { return target{cluster: cl, table: cl.Table()} }

// unplaced is the same by t's own table, if t is of that cluster.
func (t *target) unplaced(cl filters.Cluster) target {
	if t.table != nil && t.cluster == cl {
		return target{cluster: cl, table: t.table}
	}
	return unplaced(cl)
}

// clusterFor returns the cluster that answers reads, or the rest, on this route.
func (rt *route) clusterFor(read bool) filters.Cluster {
	if read && rt.readCluster != nil {
		return rt.readCluster
	}
	return rt.cluster
}

// locate finds the shard of a key in a cluster. The key is as it will be sent.
func (f *localFilter) locate(cl filters.Cluster, key []byte) (target, string) {
	return f.locateBy(unplaced(cl), key)
}

// locateBy is locate by the table of t, for keys that must not be placed by one table
// and compared with others that the next one has placed.
func (f *localFilter) locateBy(t target, key []byte) (target, string) {
	switch n := len(t.table.Shards); {
	case n == 0:
		return t, "ERR dragoman: cluster " + t.cluster.Name() + " has no endpoint yet"
	case t.table.Slots != nil:
		slot := redisproto.Slot(key)
		if t.shard = shardOf(t.table, int(slot)); t.table.Slots[slot] < 0 && !f.cfg.Redirection {
			return t, "CLUSTERDOWN Hash slot not served"
		}
	case n == 1:
	default:
		if tag := f.cfg.HashTag; tag.Set() {
			key = redisproto.HashTag(key, tag.Open, tag.Close)
		}
		t.shard = t.table.Picker.Pick(key)
		if t.shard < 0 {
			return t, "ERR dragoman: cluster " + t.cluster.Name() + " has no endpoint in service"
		}
	}
	return t, ""
}

// shardOf is the shard of a slot of a Redis Cluster. Where nobody serves it any node is
// asked, which may know better by now.
func shardOf(t *filters.Table, slot int) int {
	if shard := t.Slots[slot]; shard >= 0 {
		return int(shard)
	}
	return slot % len(t.Shards)
}

// one reports whether everything the listener serves lives on one shard, so
// that requests can pass as if the proxy were not there.
func (f *localFilter) one() (target, bool) {
	if len(f.routes) > 0 || f.catchAll == nil || f.catchAll.readCluster != nil {
		return target{}, false
	}
	t := target{cluster: f.catchAll.cluster}
	t.table = t.cluster.Table()
	return t, len(t.table.Shards) == 1 && t.table.Slots == nil
}

// shards calls each with every shard of every cluster that serves requests: of those
// that one server is, with the first.
func (f *localFilter) shards(each func(target)) {
	f.shardsAndTwins(func(t target) {
		if !t.twin() {
			each(t)
		}
	})
}

// shardsAndTwins is shards with all of those that one server is, whose replicas differ.
func (f *localFilter) shardsAndTwins(each func(target)) {
	for _, cl := range f.dataClusters() {
		t := unplaced(cl)
		for i := range t.table.Shards {
			t.shard = i
			each(t)
		}
	}
}

// readsReplicas reports whether replicas of the shard may answer requests.
func (f *localFilter) readsReplicas(t target) bool {
	return f.cfg.ReadPolicy != resource.ReadPrimary && len(t.table.Shards[t.shard].Replicas) > 0
}

// firstShard is any shard, for what every one of them can answer.
func (f *localFilter) firstShard() (first target, ok bool) {
	f.shards(func(t target) {
		if !ok {
			first, ok = t, true
		}
	})
	return first, ok
}

// upstreamOptions are those of the first cluster; nil if there is none.
func (f *localFilter) upstreamOptions() *filters.UpstreamOptions {
	for _, cl := range f.dataClusters() {
		return cl.Table().Options
	}
	return nil
}

// dataClusters are the clusters of the routes, without mirrors and readers.
func (f *localFilter) dataClusters() []filters.Cluster {
	if len(f.routes) == 0 {
		if f.catchAll == nil {
			return nil
		}
		return []filters.Cluster{f.catchAll.cluster}
	}
	seen := map[filters.Cluster]bool{}
	var all []filters.Cluster
	for _, r := range append(slices.Clip(f.routes), f.catchAll) {
		if r != nil && !seen[r.cluster] {
			seen[r.cluster] = true
			all = append(all, r.cluster)
		}
	}
	return all
}

// endpoint chooses a server of the shard by the read policy.
func (f *localFilter) endpoint(t target, read bool) *filters.Endpoint {
	s := &t.table.Shards[t.shard]
	if !read || len(s.Replicas) == 0 {
		if s.Primary == nil && read && f.cfg.ReadPolicy != resource.ReadPrimary {
			return f.replica(s)
		}
		return s.Primary
	}
	switch f.cfg.ReadPolicy {
	case resource.ReadPrimary:
		return s.Primary
	case resource.ReadPreferPrimary:
		if usable(s.Primary) {
			return s.Primary
		}
		return orElse(f.replica(s), s.Primary)
	case resource.ReadReplica:
		return f.replica(s)
	case resource.ReadAny:
		if n := len(s.Replicas) + 1; usable(s.Primary) && rand.IntN(n) == 0 {
			return s.Primary
		}
	case resource.ReadZoneAffinityAndPrimary:
		if e := f.zoned(s); e != nil {
			return e
		}
		if usable(s.Primary) && s.Primary.Zone == f.ctx.Zone {
			return s.Primary
		}
	case resource.ReadZoneAffinity:
		if e := f.zoned(s); e != nil {
			return e
		}
	case resource.ReadPreferReplica:
	}
	if e := f.replica(s); usable(e) {
		return e
	}
	return orElse(s.Primary, f.replica(s))
}

func usable(e *filters.Endpoint) bool { return e != nil && e.Healthy() }

func orElse(a, b *filters.Endpoint) *filters.Endpoint {
	if a != nil {
		return a
	}
	return b
}

// replica picks a replica at random, a healthy one if there is any.
func (f *localFilter) replica(s *filters.Shard) *filters.Endpoint {
	return pickReplica(s, func(*filters.Endpoint) bool { return true })
}

// zoned picks a healthy replica in the proxy's own zone.
func (f *localFilter) zoned(s *filters.Shard) *filters.Endpoint {
	e := pickReplica(s, func(e *filters.Endpoint) bool { return e.Zone != "" && e.Zone == f.ctx.Zone })
	if usable(e) {
		return e
	}
	return nil
}

func pickReplica(s *filters.Shard, fits func(*filters.Endpoint) bool) *filters.Endpoint {
	n := len(s.Replicas)
	if n == 0 {
		return nil
	}
	var fallback *filters.Endpoint
	start := rand.IntN(n)
	for i := range n {
		e := s.Replicas[(start+i)%n]
		if !fits(e) {
			continue
		}
		if e.Healthy() {
			return e
		}
		fallback = e
	}
	return fallback
}

// poolFor returns the connections to use for a target, or why there are none.
func (c *client) poolFor(t target, read bool) (*pool, string) {
	if c.x != nil && (c.x.mode != nil || c.x.session != nil) {
		read = false // what a transaction reads must not be older than its WATCH
	}
	e := c.f.endpoint(t, read)
	s := &t.table.Shards[t.shard]
	if e == nil {
		what := "primary"
		if read {
			what = "server for reading"
		}
		return nil, "ERR dragoman: shard \"" + s.Name + "\" of cluster " + t.cluster.Name() + " has no " + what
	}
	key := poolKey{endpoint: e, db: effectiveDB(c.db, t.table.Options), resp: c.resp, readonly: t.table.Slots != nil && e != s.Primary}
	p := c.w.pool(key, t.cluster, t.table.Options)
	if !e.Healthy() {
		p.stats.refused++
		return nil, p.unavailable(" is down" + p.why())
	}
	return p, ""
}

// why is the reason of the last failure, for an error message.
func (p *pool) why() string {
	if p.lastError == "" {
		return ""
	}
	return ": " + p.lastError
}

// forward sends one request to a target and leaves its slot waiting.
func (c *client) forward(r *request, t target, frame []byte) {
	seq, s := c.open(r)
	c.sendPart(r, t, frame, seq, s, 0)
}

// sendPart sends a request, or one part of a split one, for an open slot.
func (c *client) sendPart(r *request, t target, frame []byte, seq uint32, s *slot, part int32) {
	if u := c.session(); u != nil {
		c.sendSession(u, t, frame, seq, s, part)
		return
	}
	p, reason := c.poolFor(t, r.readOnly)
	if p == nil {
		c.failPart(seq, part, reason)
		return
	}
	u, reason := p.get(c)
	if u == nil {
		c.failPart(seq, part, p.unavailable(reason))
		return
	}
	var item pending // filled by field, as the compiler would copy a literal
	item.c, item.seq, item.part = c, seq, part
	item.start, item.deadline, item.shard = s.start, c.f.deadline(), p.stats
	if t.table.Slots != nil && c.f.cfg.Redirection && len(frame) <= maxReplay {
		item.replay = &replay{frame: bytes.Clone(frame)}
	}
	u.send(frame, &item)
}

// maxReplay is the size up to which a request is kept for a redirection: more than
// what is collected before it takes a connection of its own.
const maxReplay = 2 * uploadShared

// failPart answers a slot, or one part of a merged one, with an error, instead
// of what may have come of the reply.
func (c *client) failPart(seq uint32, part int32, msg string) {
	s := c.ring.at(seq)
	if s.merge == nil {
		c.held -= s.reply.Len()
		s.reply.Free(c.w.loop)
		c.fail(seq, msg)
		return
	}
	s.merge.restart(c.w.loop, part)
	c.addPart(seq, part, redisproto.AppendError(nil, msg))
	s.merge.done(c, seq, part)
}
