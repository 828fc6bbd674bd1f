package resource

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/transform/jq"
)

// Type URLs of the filter's configurations.
const (
	GatherType      = "type.googleapis.com/dragoman.filters.http.gather.v1.Gather"
	GatherRouteType = "type.googleapis.com/dragoman.filters.http.gather.v1.GatherPerRoute"
)

// Defaults and bounds of GatherRoute.
const (
	DefaultGatherDeadline = time.Second
	DefaultGatherBytes    = 1 << 20
	maxGatherBytes        = 64 << 20
	maxGatherLeaves       = 256
)

// GatherFilter is the filter in its chain: what it does is said by routes.
type GatherFilter struct{}

// ClusterNames implements FilterConfig; the clusters are those of the routes.
func (*GatherFilter) ClusterNames() []string { return nil }

// SecretNames implements FilterConfig.
func (*GatherFilter) SecretNames() []string { return nil }

// GatherRoute is what a route says for it.
type GatherRoute struct {
	Leaves   []GatherLeaf // none: every endpoint of the route's cluster
	Merge    GatherMerge
	Deadline time.Duration
	Minimum  int           // of answers; more than there are leaves: all
	Hedge    time.Duration // 0: never
	Empty    []int         // statuses
	MaxBytes int64         // of a body
}

// ClusterNames lists the clusters that a route names so.
func (g *GatherRoute) ClusterNames() []string {
	names := make([]string, len(g.Leaves))
	for i := range g.Leaves {
		names[i] = g.Leaves[i].Cluster
	}
	return names
}

// GatherLeaf is one of those asked.
type GatherLeaf struct{ Name, Cluster string }

// MergeKind says how answers become one.
type MergeKind uint8

// The kinds.
const (
	MergeConcat MergeKind = iota
	MergeSum
	MergeObjects
	MergeJQ
)

// GatherMerge says how answers become one. Only the fields of its kind mean
// anything.
type GatherMerge struct {
	Kind       MergeKind
	Path       []string // of the list
	SortBy     []string // of an element's member; nil: not sorted
	Descending bool
	Limit      int // 0: none
	Program    *jq.Program
}
