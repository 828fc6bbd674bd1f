package translate

import (
	"cmp"
	"strings"
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const (
	defaultHTTPTimeout = 15 * time.Second
	// safeRetries harm no request: no server has begun with it.
	safeRetries = "connect-failure,refused-stream,reset-before-request"
	// retryPicks is how many endpoints are looked at for one not tried yet.
	retryPicks = 5
)

// httpCluster makes a cluster of servers that speak HTTP.
func (t *translator) httpCluster(s *mesh.HTTPSpec, u *mesh.Upstream, c *clusterv3.Cluster) {
	c.ConnectTimeout = duration(s.ConnectTimeout, defaultConnectTimeout)
	c.OutlierDetection = outlier(s.OutlierDetection)
	c.CircuitBreakers = circuitBreakers(s.RequestLimit)
	if h := s.HealthCheck; h != nil {
		check := healthCheck(h)
		httpChecker(h.HTTP, s.Version, check)
		c.HealthChecks = []*corev3.HealthCheck{check}
	}
	c.LbPolicy = alikePolicy(s.LoadBalancing)
	if o := httpVersion(s.Version, u.TLS != nil); o != nil {
		c.TypedExtensionProtocolOptions = map[string]*anypb.Any{resource.HTTPProtocolOptionsKey: pack(o)}
	}
	t.alike(u, c)
}

// httpChecker says what servers are asked; nil: they are only connected to.
func httpChecker(h *mesh.HTTPCheck, v mesh.HTTPVersion, check *corev3.HealthCheck) {
	switch {
	case h == nil:
		check.HealthChecker = &corev3.HealthCheck_TcpHealthCheck_{TcpHealthCheck: &corev3.HealthCheck_TcpHealthCheck{}}
	case h.GRPCService != nil:
		check.HealthChecker = &corev3.HealthCheck_GrpcHealthCheck_{
			GrpcHealthCheck: &corev3.HealthCheck_GrpcHealthCheck{ServiceName: *h.GRPCService, Authority: h.Host},
		}
	default:
		c := &corev3.HealthCheck_HttpHealthCheck{Path: h.Path, Host: h.Host}
		if v == mesh.HTTPVersion2 {
			c.CodecClientType = typev3.CodecClientType_HTTP2
		}
		for _, status := range h.Statuses {
			c.ExpectedStatuses = append(c.ExpectedStatuses, &typev3.Int64Range{Start: int64(status), End: int64(status) + 1})
		}
		check.HealthChecker = &corev3.HealthCheck_HttpHealthCheck_{HttpHealthCheck: c}
	}
}

func alikePolicy(p mesh.TCPLoadBalancing) clusterv3.Cluster_LbPolicy {
	switch p {
	case mesh.TCPLeastRequest:
		return clusterv3.Cluster_LEAST_REQUEST
	case mesh.TCPRandom:
		return clusterv3.Cluster_RANDOM
	default:
		return clusterv3.Cluster_ROUND_ROBIN
	}
}

// httpVersion says what the servers speak; nil: HTTP/1.1.
func httpVersion(v mesh.HTTPVersion, tls bool) *httpv3.HttpProtocolOptions {
	switch {
	case v == mesh.HTTPVersion2:
		return &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: &corev3.Http2ProtocolOptions{}},
			},
		}}
	case v == mesh.HTTPVersionAuto && tls:
		return &httpv3.HttpProtocolOptions{UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_AutoConfig{
			AutoConfig: &httpv3.HttpProtocolOptions_AutoHttpConfig{},
		}}
	default:
		return nil
	}
}

// httpManager makes the filter of protocol http, and its routes, which go by
// the cluster's name: those of another environment are other ones.
func (t *translator) httpManager(env *mesh.Environment, main, statPrefix string) *hcmv3.HttpConnectionManager {
	s, h := &t.a.Spec, ambassadorHTTP(&t.a.Spec)
	t.set.Routes = append(t.set.Routes, t.httpRoutes(h, env, main))
	m := connectionManager(h, main, statPrefix)
	m.NormalizePath = wrapperspb.Bool(false) // an ambassador passes on what the app says
	if s.GRPC != nil {
		m.HttpFilters = append([]*hcmv3.HttpFilter{grpcFilter(s.GRPC, main)}, m.HttpFilters...)
	}
	if idle := orEmpty(s.Limits).IdleTimeout; idle != nil {
		m.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: duration(idle, 0)}
	}
	return m
}

// connectionManager leads to the routes of that name.
func connectionManager(h *mesh.HTTPSpec, routes, statPrefix string) *hcmv3.HttpConnectionManager {
	m := &hcmv3.HttpConnectionManager{
		StatPrefix: statPrefix,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: aggregated(), RouteConfigName: routes,
		}},
		HttpFilters:                append(gatherFilters(h), httpFilter("envoy.filters.http.router", &routerv3.Router{SuppressEnvoyHeaders: true})),
		UpgradeConfigs:             []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		HttpProtocolOptions:        &corev3.Http1ProtocolOptions{AcceptHttp_10: true, EnableTrailers: true},
	}
	if h.Tracing != nil {
		m.Tracing = httpTracing(h.Tracing)
	}
	if h.AccessLog {
		m.AccessLog = []*accesslogv3.AccessLog{{
			Name:       "envoy.access_loggers.stdout",
			ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&streamv3.StdoutAccessLog{AccessLogFormat: jsonLog()})},
		}}
	}
	return m
}

// httpTracing honours what a request's parent says in any case. Clients cannot
// force a span.
func httpTracing(s *mesh.HTTPTracing) *hcmv3.HttpConnectionManager_Tracing {
	percent := 100 * float64(value(s.Sampling, 0)) / float64(mesh.PercentScale)
	return &hcmv3.HttpConnectionManager_Tracing{
		ClientSampling: &typev3.Percent{}, RandomSampling: &typev3.Percent{Value: percent}, SpawnUpstreamSpan: wrapperspb.Bool(true),
	}
}

func (t *translator) httpRoutes(h *mesh.HTTPSpec, env *mesh.Environment, main string) *routev3.RouteConfiguration {
	var routes []*routev3.Route
	for i := range h.Routes {
		routes = append(routes, t.httpRoute(&h.Routes[i], h, env, main)...)
	}
	routes = append(routes, &routev3.Route{
		Name:   "*",
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: &routev3.Route_Route{Route: t.httpAction(h, env, main, h.Timeout, h.Retries)},
	})
	return &routev3.RouteConfiguration{
		Name:         main,
		VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: routes}},
	}
}

// httpRoute makes a route for each method, or one for all.
func (t *translator) httpRoute(r *mesh.HTTPRoute, h *mesh.HTTPSpec, env *mesh.Environment, main string) []*routev3.Route {
	out := &routev3.Route{Name: httpRouteName(r), Match: &routev3.RouteMatch{}}
	switch {
	case r.Path != "":
		out.Match.PathSpecifier = &routev3.RouteMatch_Path{Path: r.Path}
	case strings.HasSuffix(r.Prefix, "/"):
		out.Match.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: r.Prefix}
	default:
		out.Match.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: r.Prefix}
	}
	if len(r.Methods) > 0 {
		out.Match.Headers = []*routev3.HeaderMatcher{{
			Name: ":method",
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: strings.Join(r.Methods, "|")}},
			}},
		}}
	}
	if r.Status != 0 {
		out.Action = &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: r.Status}}
		return []*routev3.Route{out}
	}
	timeout, retries := h.Timeout, h.Retries
	if r.Timeout != nil {
		timeout = r.Timeout
	}
	if r.Retries != nil {
		retries = r.Retries
	}
	action := t.httpAction(h, env, main, timeout, retries)
	action.PrefixRewrite = r.Rewrite
	if r.Gather != nil {
		gatherRoute(r.Gather, h, main, out, action)
	}
	out.Action = &routev3.Route_Route{Route: action}
	return []*routev3.Route{out}
}

// httpRouteName is what metrics and spans call a route.
func httpRouteName(r *mesh.HTTPRoute) string {
	name := r.Path
	if name == "" {
		name = r.Prefix + "*"
	}
	if len(r.Methods) > 0 {
		name = strings.Join(r.Methods, ",") + " " + name
	}
	return name
}

func (t *translator) httpAction(h *mesh.HTTPSpec, env *mesh.Environment, main string, timeout *mesh.Duration, retries *mesh.HTTPRetries) *routev3.RouteAction {
	a := &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: main},
		Timeout:          duration(timeout, defaultHTTPTimeout),
		RetryPolicy:      httpRetries(retries),
	}
	switch {
	case h.Host == "-":
	case h.Host != "":
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: h.Host}
	case env.Service != nil:
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{
			HostRewriteLiteral: env.Service.Name + "." + cmp.Or(env.Service.Namespace, t.meta.Namespace),
		}
	default:
		a.HostRewriteSpecifier = &routev3.RouteAction_AutoHostRewrite{AutoHostRewrite: wrapperspb.Bool(true)}
	}
	return a
}

func httpRetries(r *mesh.HTTPRetries) *routev3.RetryPolicy {
	if r == nil {
		return nil
	}
	p := &routev3.RetryPolicy{
		RetryOn: safeRetries, NumRetries: optional(r.Attempts), RetriableStatusCodes: r.Statuses,
		RetryHostPredicate: []*routev3.RetryPolicy_RetryHostPredicate{{
			Name:       "envoy.retry_host_predicates.previous_hosts",
			ConfigType: &routev3.RetryPolicy_RetryHostPredicate_TypedConfig{TypedConfig: pack(&previousv3.PreviousHostsPredicate{})},
		}},
		HostSelectionRetryMaxAttempts: retryPicks,
	}
	if len(r.On) > 0 {
		words := make([]string, len(r.On))
		for i, w := range r.On {
			words[i] = string(w)
		}
		p.RetryOn = strings.Join(words, ",")
	}
	if r.PerTryTimeout != nil {
		p.PerTryTimeout = duration(r.PerTryTimeout, 0)
	}
	return p
}
