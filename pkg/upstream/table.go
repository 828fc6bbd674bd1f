package upstream

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// placed is a member in its place in the layout.
type placed struct {
	m    *member
	role filters.Role // by configuration or topology
}

// rebuildLocked publishes a new table if anything in it would differ.
func (c *cluster) rebuildLocked() {
	shards := make([]filters.Shard, len(c.layout.shards))
	for i := range shards {
		shards[i] = c.shardLocked(&c.layout.shards[i], c.places[i])
	}
	markTwins(shards)
	var spare []*filters.Endpoint
	for _, p := range c.beside {
		spare = append(spare, p.m.ep)
	}
	old := c.table.Load()
	picker := c.pickerLocked(shards)
	if old != nil && old.Picker == picker && old.Slots == c.layout.slots &&
		slices.EqualFunc(old.Shards, shards, sameShard) && slices.Equal(old.Spare, spare) {
		return
	}
	c.version++
	c.table.Store(&filters.Table{
		Version: c.version, Shards: shards, Picker: picker, Slots: c.layout.slots, Spare: spare, Options: c.options,
	})
}

func sameShard(a, b filters.Shard) bool {
	return a.Name == b.Name && a.Primary == b.Primary && a.Twin == b.Twin && slices.Equal(a.Replicas, b.Replicas)
}

// markTwins marks the shards whose primary is that of a shard before: a server may be
// there under several names.
func markTwins(shards []filters.Shard) {
	seen := make(map[string]bool, len(shards))
	for i := range shards {
		if p := shards[i].Primary; p != nil {
			at := p.Network + " " + p.Address
			shards[i].Twin, seen[at] = seen[at], true
		}
	}
}

// shardLocked gives every member of a shard its role.
func (c *cluster) shardLocked(spec *shardSpec, places []placed) filters.Shard {
	primary := configuredPrimary(places)
	if c.settings.probeRole {
		primary = c.electLocked(spec.name, places)
	}
	shard := filters.Shard{Name: spec.name}
	for i := range places {
		places[i].m.noteRival(i != primary)
		if i == primary {
			shard.Primary = places[i].m.ep
		} else {
			shard.Replicas = append(shard.Replicas, places[i].m.ep)
		}
	}
	return shard
}

// noteRival marks a server of PostgreSQL that has not been elected, and says that it
// is the primary nevertheless: it has left the others' history, as a primary does
// that comes back after its standby was promoted. One of MySQL that is not read
// only may well follow the primary.
func (m *member) noteRival(passedOver bool) {
	claim := m.currentClaim()
	m.ep.SetRival(passedOver && claim.known && claim.Primary && claim.timeline > 0)
}

// configuredPrimary is the first that is said to be the primary, else the first
// of which nothing is said.
func configuredPrimary(places []placed) int {
	for _, role := range []filters.Role{filters.RolePrimary, filters.RoleUnknown} {
		if i := slices.IndexFunc(places, func(p placed) bool { return p.role == role }); i >= 0 {
			return i
		}
	}
	return -1
}

// electLocked finds the primary of a shard. It becomes the current one, which has
// an advantage in elections to come, only once all have been asked: who answers
// first must not win for that.
func (c *cluster) electLocked(shard string, places []placed) int {
	candidates := make([]candidate, len(places))
	before := c.primaries[shard]
	asked := true
	for i, p := range places {
		candidates[i] = candidate{
			configured: p.role, claim: p.m.currentClaim(), current: p.m == before, well: p.m.ep.Healthy(), sql: c.settings.sql != nil,
		}
		asked = asked && p.m.wasProbed()
	}
	at := elect(candidates)
	if !asked {
		return at
	}
	c.noteRivalsLocked(shard, candidates, places, at)
	if at < 0 {
		if before != nil {
			c.log.Warn("shard has no primary", "shard", shard)
		}
		delete(c.primaries, shard)
		return at
	}
	now := places[at].m
	c.primaries[shard] = now
	if before != nil && before != now {
		c.stats.primaryChanges.Add(1)
		c.log.Info("shard has a new primary", "shard", shard,
			"endpoint", now.key.address, "before", before.key.address)
	}
	return at
}

// noteRivalsLocked warns of a shard with several primaries, once for as long as it
// has them. With Redis that is what happens in each failover, for a moment.
func (c *cluster) noteRivalsLocked(shard string, candidates []candidate, places []placed, at int) {
	several := rivals(candidates) > 1 && c.settings.sql != nil
	if several == c.rivals[shard] {
		return
	}
	c.rivals[shard] = several
	if !several {
		return
	}
	var others []string
	for i := range candidates {
		if i != at && candidates[i].claim.Primary && candidates[i].claim.fresh {
			others = append(others, places[i].m.key.address)
		}
	}
	c.log.Warn("several servers say that they are the primary: only one is used as such", "shard", shard,
		"primary", places[at].m.key.address, "timeline", candidates[at].claim.timeline, "others", others)
}

// pickerLocked returns the picker for the shards: the one there is, if it would
// be the same again.
func (c *cluster) pickerLocked(shards []filters.Shard) filters.Picker {
	policy := c.spec.LB.Policy
	if len(shards) <= 1 || policy == resource.LBSlots || c.layout.slots != nil {
		return nil
	}
	old := c.table.Load()
	if !c.balance.byKey() {
		if old != nil && old.Picker != nil && !c.ringChanged && slices.EqualFunc(old.Shards, shards, sameShard) {
			return old.Picker
		}
		c.ringChanged = false
		return newRotating(c.layout.shards, shards, policy == resource.LBRandom)
	}
	live := c.liveShards(shards)
	if c.ring != nil && !c.ringChanged && slices.Equal(c.ring.live, live) {
		return c.ring
	}
	ring, err := c.balance.keyed(c.layout.shards, live)
	if err != nil {
		// Only the sum of weights can be at fault, and only if it changed by itself.
		c.log.Error("distribution kept as it was", "error", err)
		if c.ring == nil {
			return nil
		}
		return c.ring
	}
	c.ring, c.ringChanged = ring, false
	return ring
}

// liveShards lists the shards that keys are distributed over. Without
// auto_eject_hosts that is all of them; with none left too, as in twemproxy.
func (c *cluster) liveShards(shards []filters.Shard) []int {
	all := make([]int, len(shards))
	for i := range all {
		all[i] = i
	}
	if c.spec.LB.AutoEject == nil {
		return all
	}
	live := slices.DeleteFunc(slices.Clone(all), func(i int) bool {
		p := shards[i].Primary
		return p == nil || !p.Healthy()
	})
	if len(live) == 0 {
		return all
	}
	return live
}
