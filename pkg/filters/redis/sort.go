package redis

import (
	"bytes"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// SORT makes keys of BY and GET patterns, which only its server sees. A server
// that has only some of those keys would answer with a wrong order, and with null
// for what it lacks, so patterns are let through only if all that they can make
// lives on the shard of the key.

// patternsMisplaced says why r, whose keys are at t by route rt, is refused: one
// of its patterns may make keys that are elsewhere. The nodes of a real Redis
// Cluster are asked themselves.
func (c *client) patternsMisplaced(r *request, rt *route, t target) string {
	if len(c.f.routes) == 0 && (t.table.Slots != nil || len(t.table.Shards) == 1) {
		return ""
	}
	for _, i := range redisproto.AppendPatterns(r.cmd, r.frame, nil) {
		if c.f.patternAt(r.arg(i), rt, t) {
			continue
		}
		option := "BY"
		if r.is(i-1, "get") {
			option = "GET"
		}
		return "ERR dragoman: " + option + " option of SORT denied: its pattern may form keys of other shards, unless the key's hash tag stands before the asterisk"
	}
	return ""
}

// patternAt reports whether all keys that a pattern can make are at t. What
// decides that has to stand before the asterisk: the prefix of a route, and a
// hash tag.
func (f *localFilter) patternAt(pattern []byte, rt *route, t target) bool {
	head := pattern[:bytes.IndexByte(pattern, '*')]
	if !f.routedAlike(head, rt) {
		return false
	}
	if t.table.Slots != nil || len(t.table.Shards) == 1 {
		return true
	}
	head = rt.strip(head)
	tag := f.cfg.HashTag
	if !tag.Set() || len(redisproto.HashTag(head, tag.Open, tag.Close)) == len(head) {
		return false
	}
	to, reason := f.locate(t.cluster, head)
	return reason == "" && to.shard == t.shard
}

// routedAlike reports whether every key that begins with head takes route rt.
func (f *localFilter) routedAlike(head []byte, rt *route) bool {
	if f.route(head) != rt {
		return false
	}
	for _, other := range f.routes {
		n := len(head)
		if len(other.prefix) <= n {
			continue
		}
		if begin := other.prefix[:n]; begin == string(head) || f.cfg.CaseInsensitive && equalFold(head, other.folded[:n]) {
			return false
		}
	}
	return true
}

// appendPatterns adds the patterns of r, whose keys are given, to what a prefix
// is taken off.
func (r *request) appendPatterns(keys []int) []int {
	keys = redisproto.AppendPatterns(r.cmd, r.frame, keys)
	slices.Sort(keys)
	return keys
}
