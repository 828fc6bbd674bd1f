package resource

import (
	"cmp"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// httpFilters reads the chain.
func (r *reader) httpFilters(list []*hcmv3.HttpFilter, path string, m *HTTPManager) {
	if len(list) == 0 {
		r.fail(path, "is empty")
	}
	seen := make(map[string]bool, len(list))
	for i, p := range list {
		at := index(path, i)
		r.only(p, at, "name", "typed_config", "is_optional", "disabled")
		packed := p.GetTypedConfig()
		if p.GetIsOptional() && !knownHTTPFilter(packed) {
			continue
		}
		name := cmp.Or(p.GetName(), packed.GetTypeUrl())
		if seen[name] {
			r.fail(join(at, "name"), "there are two filters %q", name)
		}
		seen[name] = true
		f := HTTPFilter{Name: name, TypeURL: packed.GetTypeUrl(), Disabled: p.GetDisabled()}
		if f.Config = r.httpFilter(packed, join(at, "typed_config")); f.Config == nil {
			r.fail(at, "%q is not an HTTP filter of this proxy", name)
			continue
		}
		m.Filters = append(m.Filters, f)
	}
}

// knownHTTPFilter reports whether there is a filter for a configuration.
func knownHTTPFilter(packed *anypb.Any) bool {
	return (&reader{}).httpFilter(packed, "") != nil
}

// httpFilter reads the configuration of a filter; nil: there is no such filter.
func (r *reader) httpFilter(packed *anypb.Any, path string) FilterConfig {
	switch packed.GetTypeUrl() {
	case RouterType:
		return r.router(packed, path)
	case MetricsType:
		return r.metricsFilter(packed, path)
	case TransformType:
		return r.transformFilter(packed, path)
	case GatherType:
		return r.gatherFilter(packed, path)
	case GRPCJSONTranscoderType:
		return r.grpcTranscoder(packed, path, false)
	case GRPCJSONReverseType:
		return r.grpcReverse(packed, path)
	case GRPCJSONType:
		return r.grpcJSON(packed, path)
	default:
		return nil
	}
}

// httpRouteConfig reads what a route says for a filter; nil: no filter takes
// such a thing.
func (r *reader) httpRouteConfig(packed *anypb.Any, path string) any {
	switch packed.GetTypeUrl() {
	case TransformRouteType:
		return r.transformRoute(packed, path)
	case GatherRouteType:
		return r.gatherRoute(packed, path)
	case GRPCJSONTranscoderType:
		return r.grpcTranscoder(packed, path, true)
	default:
		return nil
	}
}
