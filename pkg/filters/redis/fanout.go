package redis

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// handleFanOut sends a command to every shard and merges the replies.
func handleFanOut(c *client, r *request) bool {
	if t, ok := c.f.one(); ok {
		c.forward(r, t, r.raw(c.w))
		return true
	}
	return c.fanOut(r, r.spec)
}

// combineFor chooses how replies are merged, by the response policy that the
// server gives for the command, or for those without one, by what they return.
func combineFor(spec *redisproto.Spec) combine {
	switch spec.ResponsePolicy {
	case "agg_sum":
		return combineSum
	case "agg_min":
		return combineMin
	case "agg_max":
		return combineMax
	case "agg_logical_and":
		return combineAnd
	case "all_succeeded":
		return combineFirst
	}
	if concatenated(spec) {
		return combineConcat
	}
	switch spec.Name {
	case "config|get":
		return combineMap
	case "latency|histogram":
		return combineHistograms
	case "lastsave":
		return combineMin
	case "info":
		return combineInfo
	case "randomkey":
		return combineAny
	case "pubsub|numpat":
		return combineMax
	case "latency|latest":
		return combineLatest
	case "latency|history":
		return combineByTime
	case "memory|stats":
		return combineStats
	case "function|stats":
		return combineRunning
	default:
		return combineFirst
	}
}

// concatenated reports whether the reply is all shards' elements.
func concatenated(spec *redisproto.Spec) bool {
	switch spec.Name {
	case "keys", "pubsub|channels", "pubsub|shardchannels":
		return true
	}
	return false
}

// fanOut sends r to all shards, and to their replicas too where the command
// wants all nodes.
func (c *client) fanOut(r *request, spec *redisproto.Spec) bool {
	switch spec.Name {
	case "slowlog|get":
		return c.fanOutWith(r, spec, combineNewest(r, timeAt(1)))
	case "acl|log":
		return c.fanOutWith(r, spec, combineNewest(r, timeByAge))
	}
	return c.fanOutWith(r, spec, combineFor(spec))
}

func (c *client) fanOutWith(r *request, spec *redisproto.Spec, how combine) bool {
	if c.f.anySlots() && !c.barrier() { // an earlier request may still be redirected
		return false
	}
	var targets []fanTarget
	c.f.shardsAndTwins(func(t target) {
		if !t.twin() {
			targets = append(targets, fanTarget{t, nil})
		}
		if spec.RequestPolicy != "all_nodes" {
			return
		}
		for _, e := range t.table.Shards[t.shard].Replicas {
			if e.Healthy() {
				targets = append(targets, fanTarget{t, e})
			}
		}
	})
	if len(targets) == 0 {
		c.localError(r, c.noEndpoint())
		return true
	}
	m := c.w.takeMerge(how, len(targets))
	m.tolerant = spec.ResponsePolicy == "one_succeeded"
	switch spec.Name {
	case "latency|doctor", "memory|doctor", "memory|malloc-stats":
		m.how = combineTexts(targets)
	case "latency|graph": // not every shard has samples
		m.tolerant = true
	}
	if concatenated(spec) {
		m.join = joinConcat
	}
	seq, s := c.open(r)
	s.merge = m
	frame := r.raw(c.w)
	for i, ft := range targets {
		c.sendTo(r, ft, frame, seq, s.start, int32(i))
	}
	return true
}

// fanTarget is a shard's primary, or one replica of it.
type fanTarget struct {
	target
	replica *filters.Endpoint
}

func (c *client) sendTo(r *request, ft fanTarget, frame []byte, seq uint32, start int64, part int32) {
	if ft.replica == nil {
		all := *r.command
		all.readOnly = false // the primary, whatever the read policy
		rr := *r
		rr.command = &all
		c.sendPart(&rr, ft.target, frame, seq, c.ring.at(seq), part)
		return
	}
	key := poolKey{endpoint: ft.replica, db: effectiveDB(c.db, ft.table.Options), resp: c.resp, readonly: ft.table.Slots != nil}
	p := c.w.pool(key, ft.cluster, ft.table.Options)
	u, reason := p.get(c)
	if u == nil {
		c.failPart(seq, part, p.unavailable(reason))
		return
	}
	u.send(frame, &pending{c: c, seq: seq, part: part, start: start, deadline: c.f.deadline(), shard: p.stats})
}

// handleRandomKey asks every shard, since some may be empty.
func handleRandomKey(c *client, r *request) bool { return handleFanOut(c, r) }
