package translate

import (
	"encoding/base64"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	grpcjsonv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/grpcjson/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// grpcJSONFilter is the name of the filter in the chain.
const grpcJSONFilter = "dragoman.filters.http.grpcjson"

// grpcHTTP is how requests are sent to an app with gRPC, which speaks HTTP/2.
func grpcHTTP(api *mesh.APIAdapter) *mesh.HTTPSpec {
	return withGRPC(api.HTTP, api.GRPC)
}

// withGRPC is how requests are sent to servers of gRPC, if g says that they are.
func withGRPC(http *mesh.HTTPSpec, g *mesh.APIGRPC) *mesh.HTTPSpec {
	if g == nil || g.Direction != mesh.GRPCFromJSON {
		return orEmpty(http)
	}
	h := *orEmpty(http)
	if h.Version == "" {
		h.Version = mesh.HTTPVersion2
	}
	return &h
}

// ambassadorHTTP is how an ambassador sends requests on. Streams may last.
func ambassadorHTTP(s *mesh.AmbassadorSpec) *mesh.HTTPSpec {
	h := withGRPC(s.HTTP, s.GRPC)
	if s.GRPC == nil || h.Timeout != nil {
		return h
	}
	lasting := *h
	lasting.Timeout = new(mesh.Duration)
	return &lasting
}

// grpcRoutes lead all requests to the app: what they mean is the filter's to say.
func (t *translator) grpcRoutes(api *mesh.APIAdapter, name string) *routev3.RouteConfiguration {
	http := orEmpty(api.HTTP)
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
		Timeout:          duration(http.Timeout, 0), // streams may last
		RetryPolicy:      httpRetries(http.Retries),
	}
	if host := t.apiHost(http, &api.Upstream); host != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
	}
	return &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{"*"},
		Routes: []*routev3.Route{{
			Name: "*", Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action: &routev3.Route_Route{Route: action},
		}},
	}}}
}

func grpcFilter(g *mesh.APIGRPC, cluster string) *hcmv3.HttpFilter {
	p := &grpcjsonv1.GrpcJson{
		Services: g.Services, AutoMapping: g.AutoMapping, Descriptors: grpcDescriptors(&g.Descriptors, cluster),
		IgnoreUnknownFields:          g.UnknownFields == mesh.GRPCUnknownIgnore,
		IgnoreUnknownQueryParameters: g.UnknownParameters == mesh.GRPCUnknownIgnore,
		PassUnknownRequests:          g.UnknownRequests == mesh.GRPCUnknownIgnore,
		Health:                       g.Health, Reflection: g.Reflection,
	}
	if g.Direction == mesh.GRPCToJSON {
		p.Direction = grpcjsonv1.GrpcJson_TO_JSON
	}
	for i := range g.Rules {
		r := &g.Rules[i]
		p.Rules = append(p.Rules, &grpcjsonv1.Rule{Selector: r.Selector, Method: r.Method, Path: r.Path, Body: r.Body, ResponseBody: r.ResponseBody})
	}
	if j := g.JSON; j != nil {
		p.PrintOptions = &grpcjsonv1.PrintOptions{Indent: j.Indent, Defaults: j.Defaults, EnumsAsNumbers: j.EnumNumbers, ProtoNames: j.ProtoNames}
		switch j.Stream {
		case mesh.JSONStreamNDJSON:
			p.PrintOptions.Stream = grpcjsonv1.PrintOptions_NDJSON
		case mesh.JSONStreamSSE:
			p.PrintOptions.Stream = grpcjsonv1.PrintOptions_SSE
		}
	}
	if b := g.MaxMessageBytes; b != nil {
		p.MaxRequestBytes = wrapperspb.UInt32(uint32(*b))
		p.MaxResponseBytes = p.MaxRequestBytes
	}
	if g.BodyTimeout != nil {
		p.BodyTimeout = duration(g.BodyTimeout, 0)
	}
	return httpFilter(grpcJSONFilter, p)
}

func grpcDescriptors(d *mesh.GRPCDescriptors, cluster string) *grpcjsonv1.Descriptors {
	switch {
	case d.File != "":
		return &grpcjsonv1.Descriptors{Source: &grpcjsonv1.Descriptors_File{File: d.File}}
	case d.Reflection != nil:
		return &grpcjsonv1.Descriptors{Source: &grpcjsonv1.Descriptors_Reflection{Reflection: &grpcjsonv1.Reflection{Cluster: cluster}}}
	default:
		set, err := base64.StdEncoding.DecodeString(d.Inline)
		if err != nil {
			panic("translate: an object that was not validated: " + err.Error())
		}
		return &grpcjsonv1.Descriptors{Source: &grpcjsonv1.Descriptors_Inline{Inline: set}}
	}
}
