package resource

import (
	"math"
	"net/http"
	"strings"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	rewritev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/path/rewrite/uri_template/v3"
	previousv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/retry/host/previous_hosts/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Envoy's defaults of a route.
const (
	defaultRouteTimeout = 15 * time.Second
	defaultRetryBase    = 25 * time.Millisecond
	maxRetries          = 100
)

func (r *reader) forward(p *routev3.RouteAction, path string, m *RouteMatch) *Forward {
	r.only(p, path, "cluster", "cluster_header", "weighted_clusters", "cluster_not_found_response_code", "prefix_rewrite",
		"regex_rewrite", "path_rewrite_policy", "host_rewrite_literal", "auto_host_rewrite", "host_rewrite_header",
		"host_rewrite_path_regex", "append_x_forwarded_host", "timeout", "idle_timeout", "retry_policy",
		"request_mirror_policies", "hash_policy", "upgrade_configs", "max_stream_duration", "max_grpc_timeout")
	f := &Forward{
		NotFound:      http.StatusServiceUnavailable,
		ForwardedHost: p.GetAppendXForwardedHost(),
		Timeout:       r.duration(p.GetTimeout(), join(path, "timeout"), defaultRouteTimeout),
		Retry:         r.retryPolicy(p.GetRetryPolicy(), join(path, "retry_policy")),
		Mirrors:       r.mirrors(p.GetRequestMirrorPolicies(), join(path, "request_mirror_policies")),
		MaxStream:     r.duration(p.GetMaxStreamDuration().GetMaxStreamDuration(), join(path, "max_stream_duration.max_stream_duration"), 0),
	}
	f.IdleTimeout = r.zeroMeansNone(p.GetIdleTimeout(), join(path, "idle_timeout"))
	r.grpcTimeout(p, path, f)
	r.targets(p, path, f)
	switch c := p.GetClusterNotFoundResponseCode(); c {
	case routev3.RouteAction_SERVICE_UNAVAILABLE:
	case routev3.RouteAction_NOT_FOUND:
		f.NotFound = http.StatusNotFound
	case routev3.RouteAction_INTERNAL_SERVER_ERROR:
		f.NotFound = http.StatusInternalServerError
	default:
		r.fail(join(path, "cluster_not_found_response_code"), "has the unknown value %d", c)
	}
	r.pathRewrite(p, path, m, &f.Path)
	r.hostRewrite(p, path, &f.Host)
	r.hashPolicies(p.GetHashPolicy(), join(path, "hash_policy"), f)
	for i, u := range p.GetUpgradeConfigs() {
		at := index(join(path, "upgrade_configs"), i)
		r.only(u, at, "upgrade_type", "enabled")
		if f.Upgrades == nil {
			f.Upgrades = make(map[string]bool)
		}
		f.Upgrades[strings.ToLower(u.GetUpgradeType())] = u.GetEnabled() == nil || u.GetEnabled().GetValue()
	}
	return f
}

// zeroMeansNone reads a timeout of which 0 means none (negative, here) and
// absence that something else decides (0).
func (r *reader) zeroMeansNone(d *durationpb.Duration, path string) time.Duration {
	if d == nil {
		return 0
	}
	if v := r.duration(d, path, 0); v > 0 {
		return v
	}
	return -1
}

func (r *reader) grpcTimeout(p *routev3.RouteAction, path string, f *Forward) {
	r.only(p.GetMaxStreamDuration(), join(path, "max_stream_duration"), "max_stream_duration", "grpc_timeout_header_max")
	f.MaxGRPCTimeout = -1
	for _, d := range []*durationpb.Duration{p.GetMaxGrpcTimeout(), p.GetMaxStreamDuration().GetGrpcTimeoutHeaderMax()} { //nolint:staticcheck // what control planes send
		if d != nil {
			f.MaxGRPCTimeout = r.duration(d, join(path, "max_grpc_timeout"), 0)
		}
	}
}

// targets reads where requests go.
func (r *reader) targets(p *routev3.RouteAction, path string, f *Forward) {
	switch s := p.GetClusterSpecifier().(type) {
	case *routev3.RouteAction_Cluster:
		if f.Cluster = s.Cluster; s.Cluster == "" {
			r.fail(join(path, "cluster"), "is empty")
		}
	case *routev3.RouteAction_ClusterHeader:
		if f.ClusterHeader = s.ClusterHeader; !ValidHeaderName(s.ClusterHeader) {
			r.fail(join(path, "cluster_header"), "%q is not the name of a header", s.ClusterHeader)
		}
	case *routev3.RouteAction_WeightedClusters:
		r.weighted(s.WeightedClusters, join(path, "weighted_clusters"), f)
	default:
		r.fail(path, "needs cluster, cluster_header or weighted_clusters")
	}
}

func (r *reader) weighted(p *routev3.WeightedCluster, path string, f *Forward) {
	r.only(p, path, "clusters", "total_weight")
	var total uint64
	for i, c := range p.GetClusters() {
		at := index(join(path, "clusters"), i)
		r.only(c, at, "name", "weight", "request_headers_to_add", "request_headers_to_remove", "response_headers_to_add",
			"response_headers_to_remove", "typed_per_filter_config", "host_rewrite_literal")
		if c.GetName() == "" {
			r.fail(join(at, "name"), "is missing")
		}
		total += uint64(c.GetWeight().GetValue())
		f.Weighted = append(f.Weighted, WeightedCluster{
			Name: c.GetName(), Weight: c.GetWeight().GetValue(), Host: c.GetHostRewriteLiteral(),
			Headers:   r.headerChanges(c, at),
			PerFilter: r.perFilter(c.GetTypedPerFilterConfig(), join(at, "typed_per_filter_config")),
		})
	}
	if total == 0 || total > math.MaxUint32 {
		r.fail(join(path, "clusters"), "have weights whose sum is not from 1 to %d", uint32(math.MaxUint32))
		return
	}
	f.TotalWeight = uint32(total)
}

func (r *reader) pathRewrite(p *routev3.RouteAction, path string, m *RouteMatch, out *PathRewrite) {
	if s := p.GetPrefixRewrite(); s != "" {
		if out.Prefix = &s; !strings.HasPrefix(s, "/") {
			r.fail(join(path, "prefix_rewrite"), "must begin with /")
		}
	}
	if rx := p.GetRegexRewrite(); rx != nil {
		out.Regex, out.Subst = r.regexRewrite(rx, join(path, "regex_rewrite"))
	}
	if t := p.GetPathRewritePolicy(); t != nil {
		at := join(path, "path_rewrite_policy.typed_config")
		var c rewritev3.UriTemplateRewriteConfig
		if r.unpack(t.GetTypedConfig(), &c, at) {
			rx := m.Path.Regex
			if m.Path.Kind != PathTemplate {
				rx = nil
			}
			var err error
			if out.Template, err = parseRewriteTemplate(c.GetPathTemplateRewrite(), rx); err != nil {
				r.fail(join(at, "path_template_rewrite"), "%q %v", c.GetPathTemplateRewrite(), err)
			}
		}
	}
	r.rewriteFits(out, m, path)
}

// rewriteFits refuses several rewrites, and one of a prefix that the match does
// not have.
func (r *reader) rewriteFits(out *PathRewrite, m *RouteMatch, path string) {
	n := 0
	for _, set := range []bool{out.Prefix != nil, out.Regex != nil, out.Template != nil} {
		if set {
			n++
		}
	}
	if n > 1 {
		r.fail(path, "has several rewrites of the path")
	}
	if out.Prefix != nil && m.Path.Kind == PathTemplate {
		r.fail(join(path, "prefix_rewrite"), "does not go with path_match_policy: use path_rewrite_policy")
	}
}

func (r *reader) hostRewrite(p *routev3.RouteAction, path string, out *HostRewrite) {
	switch s := p.GetHostRewriteSpecifier().(type) {
	case *routev3.RouteAction_HostRewriteLiteral:
		if out.Literal = s.HostRewriteLiteral; !validValue(s.HostRewriteLiteral) {
			r.fail(join(path, "host_rewrite_literal"), "has characters that no host may have")
		}
	case *routev3.RouteAction_AutoHostRewrite:
		out.Auto = s.AutoHostRewrite.GetValue()
	case *routev3.RouteAction_HostRewriteHeader:
		out.Header = http.CanonicalHeaderKey(s.HostRewriteHeader)
	case *routev3.RouteAction_HostRewritePathRegex:
		out.PathRegex, out.Subst = r.regexRewrite(s.HostRewritePathRegex, join(path, "host_rewrite_path_regex"))
	}
}

func (r *reader) hashPolicies(list []*routev3.RouteAction_HashPolicy, path string, f *Forward) {
	for i, p := range list {
		at := index(path, i)
		h := HashPolicy{Terminal: p.GetTerminal()}
		switch s := p.GetPolicySpecifier().(type) {
		case *routev3.RouteAction_HashPolicy_Header_:
			r.only(s.Header, join(at, "header"), "header_name")
			h.Kind, h.Name = HashHeader, http.CanonicalHeaderKey(s.Header.GetHeaderName())
		case *routev3.RouteAction_HashPolicy_Cookie_:
			r.only(s.Cookie, join(at, "cookie"), "name", "ttl", "path")
			h.Kind, h.Name, h.Path = HashCookie, s.Cookie.GetName(), s.Cookie.GetPath()
			if s.Cookie.GetTtl() != nil {
				ttl := r.duration(s.Cookie.GetTtl(), join(at, "cookie.ttl"), 0)
				h.TTL = &ttl
			}
		case *routev3.RouteAction_HashPolicy_ConnectionProperties_:
			h.Kind = HashSourceIP
			if !s.ConnectionProperties.GetSourceIp() {
				continue
			}
		case *routev3.RouteAction_HashPolicy_QueryParameter_:
			h.Kind, h.Name = HashQuery, s.QueryParameter.GetName()
		default:
			r.fail(at, "is of a kind that is not supported")
			continue
		}
		if h.Name == "" && h.Kind != HashSourceIP {
			r.fail(at, "has no name")
		}
		f.Hash = append(f.Hash, h)
	}
}

func (r *reader) retryPolicy(p *routev3.RetryPolicy, path string) *RetryPolicy {
	if p == nil {
		return nil
	}
	r.only(p, path, "retry_on", "num_retries", "per_try_timeout", "retry_host_predicate",
		"host_selection_retry_max_attempts", "retriable_status_codes", "retry_back_off", "retriable_headers",
		"retriable_request_headers")
	out := &RetryPolicy{
		Retries:      r.atLeast(p.GetNumRetries(), join(path, "num_retries"), 1, 0),
		PerTry:       r.duration(p.GetPerTryTimeout(), join(path, "per_try_timeout"), 0),
		HostAttempts: uint32(max(1, min(p.GetHostSelectionRetryMaxAttempts(), maxRetries))),
	}
	if out.Retries > maxRetries {
		r.fail(join(path, "num_retries"), "must be at most %d", maxRetries)
	}
	for word := range strings.SplitSeq(p.GetRetryOn(), ",") {
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		bit, ok := RetryWord(word)
		if !ok {
			r.fail(join(path, "retry_on"), "%q is not supported", word)
		}
		out.On |= bit
	}
	for i, c := range p.GetRetriableStatusCodes() {
		if c < 100 || c > 599 {
			r.fail(index(join(path, "retriable_status_codes"), i), "%d is not a status", c)
		}
		out.Codes = append(out.Codes, int(c&math.MaxInt16))
	}
	for i, h := range p.GetRetriableHeaders() {
		out.Headers = append(out.Headers, r.headerMatch(h, index(join(path, "retriable_headers"), i)))
	}
	for i, h := range p.GetRetriableRequestHeaders() {
		out.Requests = append(out.Requests, r.headerMatch(h, index(join(path, "retriable_request_headers"), i)))
	}
	at := join(path, "retry_back_off")
	out.Base = r.positive(p.GetRetryBackOff().GetBaseInterval(), join(at, "base_interval"), defaultRetryBase)
	out.Max = r.positive(p.GetRetryBackOff().GetMaxInterval(), join(at, "max_interval"), 10*out.Base)
	if out.Max < out.Base {
		r.fail(join(at, "max_interval"), "must not be shorter than base_interval")
	}
	for i, h := range p.GetRetryHostPredicate() {
		at := index(join(path, "retry_host_predicate"), i)
		if r.unpack(h.GetTypedConfig(), &previousv3.PreviousHostsPredicate{}, join(at, "typed_config")) {
			out.AvoidHosts = true
		}
	}
	return out
}

// RetryWord gives the reason that Envoy calls so.
func RetryWord(word string) (RetryOn, bool) {
	bit, ok := map[string]RetryOn{
		"5xx": Retry5xx, "gateway-error": RetryGateway, "reset": RetryReset,
		"reset-before-request": RetryResetBeforeRequest, "connect-failure": RetryConnectFailure,
		"retriable-4xx": RetryRetriable4xx, "refused-stream": RetryRefusedStream,
		"retriable-status-codes": RetryStatusCodes, "retriable-headers": RetryHeaders,
		"cancelled": RetryGRPCCancelled, "deadline-exceeded": RetryGRPCDeadline, "internal": RetryGRPCInternal,
		"resource-exhausted": RetryGRPCExhausted, "unavailable": RetryGRPCUnavailable,
		"http3-post-connect-failure": 0, "envoy-ratelimited": 0,
	}[word]
	return bit, ok
}
