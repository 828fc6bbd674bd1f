package mesh

import (
	"fmt"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
)

// maxGatherBytes bounds what one leaf's answer may take in memory.
const maxGatherBytes = 64 << 20

func (c *checker) gather(r *HTTPRoute, at string) {
	g := r.Gather
	if g == nil {
		return
	}
	c.require(r.Timeout == nil, at+".timeout", "does not go with gather", "use gather.deadline")
	at += ".gather"
	c.require(g.Pools == nil || len(g.Pools) > 0, at+".pools", "must not be empty", "leave it out to ask every endpoint")
	seen := make(map[string]bool, len(g.Pools))
	for i, name := range g.Pools {
		c.require(!seen[name], fmt.Sprintf("%s.pools[%d]", at, i), fmt.Sprintf("%q is there twice", clip(name)), "")
		seen[name] = true
	}
	c.positive(g.Deadline, at+".deadline")
	c.positive(g.HedgeAfter, at+".hedgeAfter")
	c.require(g.HedgeAfter == nil || len(g.Pools) > 0, at+".hedgeAfter", "needs pools: an endpoint has no other that could answer for it",
		"put the endpoints that have the same into pools of the environment")
	c.atLeastOne(g.Minimum, at+".minimum")
	for i, status := range g.EmptyStatuses {
		c.require(status >= 200 && status <= 599, fmt.Sprintf("%s.emptyStatuses[%d]", at, i), "must be from 200 to 599", "")
	}
	if b := g.MaxBodyBytes; b != nil {
		c.require(*b >= 1 && *b <= maxGatherBytes, at+".maxBodyBytes", "must be from 1 to 64Mi", "")
	}
	c.merge(&g.Merge, at+".merge")
}

func (c *checker) merge(m *Merge, at string) {
	c.require(m.Kind != "", at+".kind", "is missing", "one of "+strings.Join(m.Kind.Values(), ", "))
	concat := m.Path == "" && m.SortBy == "" && m.Order == "" && m.Limit == nil
	c.require(m.Kind == "" || m.Kind == MergeConcat || concat, at, fmt.Sprintf("path, sortBy, order and limit do not go with kind %s", m.Kind), "")
	c.require(m.Order == "" || m.SortBy != "", at+".order", "needs sortBy", "")
	c.atLeastOne(m.Limit, at+".limit")
	c.memberPath(m.Path, at+".path")
	c.memberPath(m.SortBy, at+".sortBy")
	if m.Kind != MergeJQ {
		c.require(m.Program == "" || m.Kind == "", at+".program", "goes with kind JQ", "")
		return
	}
	if _, err := jq.Compile(m.Program); err != nil {
		c.fail(at+".program", err.Error(), "")
	}
}

func (c *checker) memberPath(path, at string) {
	c.require(path == "" || !strings.Contains("."+path+".", ".."), at, fmt.Sprintf("%q has an empty name", clip(path)), `as in "result.hits"`)
}
