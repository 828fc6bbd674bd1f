package translate

import (
	"net/http"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	gatherv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/gather/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

const (
	gatherName            = "dragoman.filters.http.gather"
	defaultGatherDeadline = time.Second
)

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
}

// gatherFilters gives the filter to a chain in which a route wants it.
func gatherFilters(h *mesh.HTTPSpec) []*hcmv3.HttpFilter {
	for i := range h.Routes {
		if h.Routes[i].Gather != nil {
			return []*hcmv3.HttpFilter{httpFilter(gatherName, &gatherv1.Gather{})}
		}
	}
	return nil
}

// gatherRoute makes a route one to several servers.
func gatherRoute(g *mesh.HTTPGather, h *mesh.HTTPSpec, main string, route *routev3.Route, action *routev3.RouteAction) {
	p := &gatherv1.GatherPerRoute{
		Merge:         gatherMerge(&g.Merge),
		Deadline:      duration(g.Deadline, defaultGatherDeadline),
		Minimum:       optional(g.Minimum),
		EmptyStatuses: g.EmptyStatuses,
	}
	if g.HedgeAfter != nil {
		p.HedgeAfter = duration(g.HedgeAfter, 0)
	}
	if len(p.EmptyStatuses) == 0 {
		p.EmptyStatuses = []uint32{http.StatusNoContent}
	}
	if g.MaxBodyBytes != nil {
		p.MaxBodyBytes = wrapperspb.UInt64(uint64(*g.MaxBodyBytes))
	}
	for _, name := range g.Pools {
		p.Leaves = append(p.Leaves, &gatherv1.Leaf{Name: name, Cluster: poolCluster(main, name)})
	}
	if len(g.Pools) > 0 && h.Host == "" { // the environment's name is not the pools'
		action.HostRewriteSpecifier = &routev3.RouteAction_AutoHostRewrite{AutoHostRewrite: wrapperspb.Bool(true)}
	}
	action.Timeout = p.GetDeadline()
	route.TypedPerFilterConfig = map[string]*anypb.Any{gatherName: pack(p)}
}

func gatherMerge(m *mesh.Merge) *gatherv1.Merge {
	switch m.Kind {
	case mesh.MergeSum:
		return &gatherv1.Merge{How: &gatherv1.Merge_Sum{Sum: &gatherv1.Sum{}}}
	case mesh.MergeObjects:
		return &gatherv1.Merge{How: &gatherv1.Merge_Objects{Objects: &gatherv1.Objects{}}}
	case mesh.MergeJQ:
		return &gatherv1.Merge{How: &gatherv1.Merge_Jq{Jq: m.Program}}
	case mesh.MergeConcat:
	}
	return &gatherv1.Merge{How: &gatherv1.Merge_Concat{Concat: &gatherv1.Concat{
		Path: m.Path, SortBy: m.SortBy, Descending: m.Order == mesh.SortDescending, Limit: value(m.Limit, 0),
	}}}
}
