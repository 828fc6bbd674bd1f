package proxy

import (
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// fields are an object of JSON, with the names that Envoy's proto has.
type fields map[string]any

// resources lists those of one kind that are wanted, by their names, as Envoy's
// envoy.admin.v3.ConfigDump has them.
func (p *Proxy) resources(kind string, wanted func(name string) bool) (list []any, ok bool) {
	defer p.pages.soon()
	s := &p.state
	s.mu.Lock()
	snap, at := s.accepted, s.at
	s.mu.Unlock()
	list = []any{}
	if snap == nil {
		snap = &snapshot.Snapshot{}
	}
	state := func(field string, m proto.Message) fields {
		return fields{"version_info": snap.Version, "last_updated": at, field: resource.ShowAny(m)}
	}
	add := func(name string, f fields) {
		f["@type"] = "type.googleapis.com/envoy.admin.v3." + name
		list = append(list, f)
	}
	switch kind {
	case "dynamic_listeners":
		each(snap.Listeners, wanted, func(name string, l *resource.Listener) {
			add("ListenersConfigDump.DynamicListener", fields{"name": name, "active_state": state("listener", l.Raw)})
		})
	case "dynamic_active_clusters":
		each(snap.Clusters, wanted, func(_ string, c *resource.Cluster) {
			add("ClustersConfigDump.DynamicCluster", state("cluster", c.Raw))
		})
	case "dynamic_endpoint_configs":
		each(snap.Assignments, wanted, func(_ string, a *resource.Assignment) {
			add("EndpointsConfigDump.DynamicEndpointConfig", state("endpoint_config", a.Raw))
		})
	case "dynamic_route_configs":
		each(snap.Routes, wanted, func(_ string, r *resource.RouteConfig) {
			add("RoutesConfigDump.DynamicRouteConfig", state("route_config", r.Raw))
		})
	case "dynamic_active_secrets":
		each(snap.Secrets, wanted, func(name string, x *resource.Secret) {
			if x.Raw != nil { // otherwise it is part of another resource
				f := state("secret", x.Raw)
				f["name"] = name
				add("SecretsConfigDump.DynamicSecret", f)
			}
		})
	default:
		return list, never(kind)
	}
	return list, true
}

// never tells of a kind that Envoy has and this proxy has nothing of: resources of a
// bootstrap, and those that wait.
func never(kind string) bool {
	for _, prefix := range []string{"static_", "dynamic_warming_"} {
		if rest, ok := strings.CutPrefix(kind, prefix); ok {
			return slices.Contains([]string{"listeners", "clusters", "route_configs", "endpoint_configs", "secrets"}, rest)
		}
	}
	return false
}

// each visits resources that are wanted, by name.
func each[R any](all map[string]R, wanted func(name string) bool, visit func(name string, r R)) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if wanted(name) {
			visit(name, all[name])
		}
	}
}
