package listener

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// routeTable is the route configurations of one snapshot. It is read-only.
type routeTable struct {
	byName   map[string]*resource.RouteConfig
	clusters filters.ClusterSource
}

func (t *routeTable) find(name string) (filters.Routes, bool) {
	if t == nil {
		return filters.Routes{}, false
	}
	c, ok := t.byName[name]
	if !ok {
		return filters.Routes{}, false
	}
	return filters.Routes{Config: c, Clusters: t.clusters}, true
}

// routeView gives a filter the routes of the last commit, so that they change
// without it, and those of its own snapshot until that is committed.
type routeView struct {
	set *Set
	own *routeTable
}

// Routes implements filters.RouteSource.
func (v *routeView) Routes(name string) (filters.Routes, bool) {
	if r, ok := v.set.routes.Load().find(name); ok {
		return r, true
	}
	return v.own.find(name)
}
