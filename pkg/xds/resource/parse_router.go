package resource

import (
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// RouterFilter is the last filter of a chain that sends requests upstream.
type RouterFilter struct {
	// SuppressHeaders leaves out the x-envoy- headers that tell of the proxy.
	SuppressHeaders bool
}

// ClusterNames implements FilterConfig; the clusters are those of the routes.
func (*RouterFilter) ClusterNames() []string { return nil }

// SecretNames implements FilterConfig.
func (*RouterFilter) SecretNames() []string { return nil }

func (r *reader) router(packed *anypb.Any, path string) *RouterFilter {
	var p routerv3.Router
	if !r.unpack(packed, &p, path) {
		return &RouterFilter{}
	}
	r.only(&p, path, "dynamic_stats", "suppress_envoy_headers")
	return &RouterFilter{SuppressHeaders: p.GetSuppressEnvoyHeaders()}
}
