package resource

import (
	"net/http"
	"strings"

	"google.golang.org/protobuf/types/known/anypb"

	gatherv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/gather/v1"
	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
)

func (r *reader) gatherFilter(packed *anypb.Any, path string) *GatherFilter {
	var p gatherv1.Gather
	r.unpack(packed, &p, path)
	return &GatherFilter{}
}

func (r *reader) gatherRoute(packed *anypb.Any, path string) *GatherRoute {
	g := &GatherRoute{Minimum: 1, MaxBytes: DefaultGatherBytes, Empty: []int{http.StatusNoContent}}
	var p gatherv1.GatherPerRoute
	if !r.unpack(packed, &p, path) {
		return g
	}
	r.gatherLeaves(p.GetLeaves(), join(path, "leaves"), g)
	g.Merge = r.gatherMerge(p.GetMerge(), join(path, "merge"))
	g.Deadline = r.positive(p.GetDeadline(), join(path, "deadline"), DefaultGatherDeadline)
	g.Minimum = int(r.atLeast(p.GetMinimum(), join(path, "minimum"), 1, 1))
	g.Hedge = r.duration(p.GetHedgeAfter(), join(path, "hedge_after"), 0)
	if g.Hedge > 0 && len(g.Leaves) == 0 {
		r.fail(join(path, "hedge_after"), "needs leaves: an endpoint has no other that could answer for it")
	}
	if list := p.GetEmptyStatuses(); len(list) > 0 {
		g.Empty = nil
		for i, status := range list {
			if status < 200 || status > 599 {
				r.fail(index(join(path, "empty_statuses"), i), "must be from 200 to 599")
			}
			g.Empty = append(g.Empty, int(status&0x3ff))
		}
	}
	if v := p.GetMaxBodyBytes(); v != nil {
		g.MaxBytes = int64(min(v.GetValue(), maxGatherBytes))
		if v.GetValue() == 0 || v.GetValue() > maxGatherBytes {
			r.fail(join(path, "max_body_bytes"), "must be from 1 to %d", maxGatherBytes)
		}
	}
	return g
}

func (r *reader) gatherLeaves(list []*gatherv1.Leaf, path string, g *GatherRoute) {
	if len(list) > maxGatherLeaves {
		r.fail(path, "are more than %d", maxGatherLeaves)
		return
	}
	seen := make(map[string]bool, len(list))
	for i, p := range list {
		at := index(path, i)
		if p.GetName() == "" || seen[p.GetName()] {
			r.fail(join(at, "name"), "%q is missing or there twice", p.GetName())
		}
		seen[p.GetName()] = true
		if p.GetCluster() == "" {
			r.fail(join(at, "cluster"), "is missing")
		}
		g.Leaves = append(g.Leaves, GatherLeaf{Name: p.GetName(), Cluster: p.GetCluster()})
	}
}

func (r *reader) gatherMerge(p *gatherv1.Merge, path string) GatherMerge {
	switch how := p.GetHow().(type) {
	case *gatherv1.Merge_Concat:
		c, at := how.Concat, join(path, "concat")
		return GatherMerge{
			Kind: MergeConcat, Path: r.members(c.GetPath(), join(at, "path")), SortBy: r.members(c.GetSortBy(), join(at, "sort_by")),
			Descending: c.GetDescending(), Limit: int(c.GetLimit()),
		}
	case *gatherv1.Merge_Sum:
		return GatherMerge{Kind: MergeSum}
	case *gatherv1.Merge_Objects:
		return GatherMerge{Kind: MergeObjects}
	case *gatherv1.Merge_Jq:
		program, err := jq.Compile(how.Jq)
		if err != nil {
			r.fail(join(path, "jq"), "%v", err)
		}
		return GatherMerge{Kind: MergeJQ, Program: program}
	default:
		r.fail(path, "says nothing: one of concat, sum, objects and jq is needed")
		return GatherMerge{}
	}
}

// members reads names with dots between them.
func (r *reader) members(s, path string) []string {
	if s == "" {
		return nil
	}
	list := strings.Split(s, ".")
	for _, name := range list {
		if name == "" {
			r.fail(path, "%q has an empty name", s)
		}
	}
	return list
}
