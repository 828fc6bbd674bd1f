package translate

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	templatev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	transformv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/transform/v1"
	optionsv1 "github.com/dragoman-mesh/dragoman/api/dragoman/listener/v1"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// transformFilter is the name of the filter in the chain, by which routes
// configure it.
const transformFilter = "dragoman.filters.http.transform"

// Envoy's bounds of a path template; others become a regular expression.
const (
	templateNames      = 5
	templateNameLength = 16
)

// apiListener makes the listener of an API, its routes and its cluster, which all
// have one name.
func (t *translator) apiListener(a *mesh.Adapter) {
	api, name := a.Spec.API, ListenerOf(a)
	http := grpcHTTP(api)
	upstream := api.Upstream.Group()
	cluster := &clusterv3.Cluster{Name: name, TransportSocket: t.upstreamTLS(upstream.TLS, name)}
	t.httpCluster(http, upstream, cluster)
	t.set.Clusters = append(t.set.Clusters, cluster)
	first, routes := httpFilter(transformFilter, apiLimits(api.Limits)), t.apiRoutes
	if api.GRPC != nil {
		first, routes = grpcFilter(api.GRPC, name), t.grpcRoutes
	}
	t.set.Routes = append(t.set.Routes, routes(api, name))

	statPrefix := a.Metadata.Namespace + "." + a.Metadata.Name
	manager := connectionManager(http, name, statPrefix)
	manager.NormalizePath = wrapperspb.Bool(true) // routes must see what the app will see
	manager.HttpFilters = append([]*hcmv3.HttpFilter{first}, manager.HttpFilters...)
	t.set.Listeners = append(t.set.Listeners, &listenerv3.Listener{
		Name:       name,
		Address:    listenAddress(&api.Listen),
		StatPrefix: statPrefix,
		FilterChains: []*listenerv3.FilterChain{{
			TransportSocket: t.downstreamTLS(name, api.Listen.TLS),
			Filters:         []*listenerv3.Filter{filter("envoy.filters.network.http_connection_manager", manager)},
		}},
		Metadata: &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{
			resource.ListenerMetadata: pack(&optionsv1.ListenerOptions{DrainDeadline: duration(nil, defaultDrainDeadline)}),
		}},
		TcpBacklogSize:   optional(api.Listen.Backlog),
		TcpKeepalive:     keepalive(api.Listen.TCPKeepalive, defaultClientIdle),
		TrafficDirection: corev3.TrafficDirection_INBOUND,
	})
}

func apiLimits(l *mesh.APILimits) *transformv1.Transform {
	p := &transformv1.Transform{}
	if l == nil {
		return p
	}
	if l.BodyBytes != nil {
		p.MaxBodyBytes = wrapperspb.UInt64(uint64(*l.BodyBytes))
	}
	if l.BodyTimeout != nil {
		p.BodyTimeout = duration(l.BodyTimeout, 0)
	}
	return p
}

// apiRoutes are those of the document, then one for each path with other methods
// than it has, and then what nobody matches.
func (t *translator) apiRoutes(api *mesh.APIAdapter, name string) *routev3.RouteConfiguration {
	var routes []*routev3.Route
	if api.Versions != nil {
		routes = t.versionRoutes(api, name)
	} else {
		for i := range api.Routes {
			r := &api.Routes[i]
			routes = append(routes, t.apiRoute(r, api, &transformv1.Route{
				Name: routeName(&r.Match, i), Path: r.Match.Path, Request: apiRequest(r.Request), Response: apiResponse(r.Response),
			}, name))
		}
		routes = append(routes, withOtherMethods(api.Routes)...)
	}
	routes = append(routes, answering(anyPath(), notFound()))
	return &routev3.RouteConfiguration{
		Name:         name,
		VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: routes}},
	}
}

func notFound() *transformv1.Problem {
	return &transformv1.Problem{Status: 404, Detail: "no route has this path, with these headers and parameters"}
}

// apiRoute leads requests to the cluster of that name, as config says.
func (t *translator) apiRoute(r *mesh.APIRoute, api *mesh.APIAdapter, config *transformv1.Route, name string) *routev3.Route {
	http := orEmpty(api.HTTP)
	match := pathMatch(r.Match.Path)
	if r.Match.Method != "" {
		match.Headers = append(match.Headers, exactHeader(":method", r.Match.Method))
	}
	for _, h := range sortedKeys(r.Match.Headers) {
		match.Headers = append(match.Headers, exactHeader(h, r.Match.Headers[h]))
	}
	for _, q := range sortedKeys(r.Match.Query) {
		m := &routev3.QueryParameterMatcher{
			Name: q, QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_PresentMatch{PresentMatch: true},
		}
		if v := r.Match.Query[q]; v != "*" {
			m.QueryParameterMatchSpecifier = &routev3.QueryParameterMatcher_StringMatch{StringMatch: exactText(v)}
		}
		match.QueryParameters = append(match.QueryParameters, m)
	}
	timeout := http.Timeout
	if r.Timeout != nil {
		timeout = r.Timeout
	}
	action := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: name},
		Timeout:          duration(timeout, defaultHTTPTimeout),
		RetryPolicy:      httpRetries(http.Retries),
	}
	if host := t.apiHost(http, &api.Upstream); host != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: host}
	}
	return &routev3.Route{
		Name:                 config.GetName(),
		Match:                match,
		Action:               &routev3.Route_Route{Route: action},
		TypedPerFilterConfig: map[string]*anypb.Any{transformFilter: pack(config)},
	}
}

// routeName says for people which route of the document it is.
func routeName(m *mesh.APIMatch, i int) string {
	return fmt.Sprintf("%d %s %s", i, cmp.Or(m.Method, "*"), m.Path)
}

// apiHost is what the app is asked for; "": what the client asks for, as usual
// with an app beside the proxy.
func (t *translator) apiHost(h *mesh.HTTPSpec, u *mesh.APIUpstream) string {
	switch {
	case h.Host == "-":
		return ""
	case h.Host != "":
		return h.Host
	case u.Service != nil:
		return u.Service.Name + "." + cmp.Or(u.Service.Namespace, t.meta.Namespace)
	}
	host, port, _, err := mesh.SplitAddress(u.Address)
	if _, ip := netip.ParseAddr(host); err != nil || host == "" || ip == nil || host == "localhost" {
		return ""
	}
	if port == 80 && u.TLS == nil || port == 443 && u.TLS != nil {
		return host
	}
	return hostPort(host, port)
}

// pathMatch matches a path template.
func pathMatch(path string) *routev3.RouteMatch {
	template, err := placeholder.ParseTemplate(path)
	if err != nil {
		panic("translate: an object that was not validated: " + err.Error())
	}
	long := slices.ContainsFunc(template.Names, func(n string) bool { return len(n) > templateNameLength })
	switch {
	case len(template.Names) == 0:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: path}}
	case long || len(template.Names) > templateNames:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{
			SafeRegex: &matcherv3.RegexMatcher{Regex: templateRegex(path)},
		}}
	default:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathMatchPolicy{
			PathMatchPolicy: extension("envoy.path.match.uri_template.uri_template_matcher", &templatev3.UriTemplateMatchConfig{PathTemplate: path}),
		}}
	}
}

func templateRegex(path string) string {
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		switch {
		case strings.HasSuffix(s, "=**}"):
			segments[i] = ".*"
		case strings.HasPrefix(s, "{"):
			segments[i] = "[^/]+"
		default:
			segments[i] = regexp.QuoteMeta(s)
		}
	}
	return "/" + strings.Join(segments, "/")
}

func exactText(v string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: v}}
}

// exactHeader matches a header with a value, "*": with any.
func exactHeader(name, value string) *routev3.HeaderMatcher {
	if value == "*" {
		return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true}}
	}
	return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exactText(value)}}
}

// withOtherMethods makes a route for each path of the document that has not all
// methods.
func withOtherMethods(list []mesh.APIRoute) []*routev3.Route {
	methods := make(map[string][]string)
	var paths []string
	for i := range list {
		m := &list[i].Match
		if _, ok := methods[m.Path]; !ok {
			paths = append(paths, m.Path)
		}
		if !slices.Contains(methods[m.Path], m.Method) {
			methods[m.Path] = append(methods[m.Path], m.Method)
		}
	}
	var out []*routev3.Route
	for _, path := range paths {
		if allowed := methods[path]; !slices.Contains(allowed, "") {
			slices.Sort(allowed)
			out = append(out, otherMethods(path, allowed, nil))
		}
	}
	return out
}

// otherMethods makes a route of a path with other methods than are allowed, which
// says which are.
func otherMethods(path string, allowed []string, own *transformv1.Fields) *routev3.Route {
	match := pathMatch(path)
	match.Headers = []*routev3.HeaderMatcher{{
		Name: ":method", InvertMatch: true,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: strings.Join(allowed, "|")}},
		}},
	}}
	return answeringWith(match, &transformv1.Problem{Status: 405, Detail: "this path has other methods", Allow: allowed}, own)
}

// answering makes a route that the proxy answers itself; for who has not the
// filter, with the status alone.
func answering(match *routev3.RouteMatch, p *transformv1.Problem) *routev3.Route {
	return answeringWith(match, p, nil)
}

// answeringWith is answering with headers.
func answeringWith(match *routev3.RouteMatch, p *transformv1.Problem, own *transformv1.Fields) *routev3.Route {
	return &routev3.Route{
		Match:  match,
		Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: p.GetStatus()}},
		TypedPerFilterConfig: map[string]*anypb.Any{
			transformFilter: pack(&transformv1.Route{Name: fmt.Sprint(p.GetStatus()), Problem: p, OwnHeaders: own}),
		},
	}
}

func apiRequest(r *mesh.APIRequest) *transformv1.Request {
	if r == nil {
		return nil
	}
	return &transformv1.Request{
		Method: r.Method, Path: r.Path, Query: apiFields(r.Query), Headers: apiFields(r.Headers),
		Schema: schemaText(r.Schema, r.FileSchema), Body: apiBody(r.Body),
	}
}

func apiResponse(r *mesh.APIResponse) *transformv1.Response {
	if r == nil {
		return nil
	}
	return &transformv1.Response{
		Headers: apiFields(r.Headers), Status: maps.Clone(r.Status), Faults: maps.Clone(r.Faults),
		Schema: schemaText(r.Schema, r.FileSchema), Body: apiBody(r.Body), Error: apiBody(r.Error),
	}
}

func apiFields(f *mesh.APIFields) *transformv1.Fields {
	if f == nil {
		return nil
	}
	return &transformv1.Fields{
		Remove: slices.Clone(f.Remove), Rename: maps.Clone(f.Rename), Set: maps.Clone(f.Set), Add: maps.Clone(f.Add),
	}
}
