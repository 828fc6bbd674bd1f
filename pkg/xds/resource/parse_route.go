package resource

import (
	"math"
	"net/http"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Bounds of a route configuration.
const (
	defaultDirectBody = 4096
	maxDirectBody     = 1 << 20
)

// ParseRoutes validates a route configuration. The error is an Errors.
func ParseRoutes(p *routev3.RouteConfiguration) (*RouteConfig, error) {
	r := &reader{typeURL: RouteType, name: p.GetName()}
	if p.GetName() == "" {
		r.fail("name", "is missing")
	}
	c := r.routes(p, "")
	c.Raw = p
	return c, r.err()
}

func (r *reader) routes(p *routev3.RouteConfiguration, path string) *RouteConfig {
	// validate_clusters: a cluster that a route names must always be there.
	r.only(p, path, "name", "virtual_hosts", "response_headers_to_add", "response_headers_to_remove",
		"request_headers_to_add", "request_headers_to_remove", "most_specific_header_mutations_wins", "validate_clusters",
		"max_direct_response_body_size_bytes", "request_mirror_policies", "ignore_port_in_host_matching",
		"typed_per_filter_config", "metadata")
	c := &RouteConfig{
		Name: p.GetName(), MostSpecificWins: p.GetMostSpecificHeaderMutationsWins(),
		IgnorePort: p.GetIgnorePortInHostMatching(),
		Headers:    r.headerChanges(p, path),
		Mirrors:    r.mirrors(p.GetRequestMirrorPolicies(), join(path, "request_mirror_policies")),
		PerFilter:  r.perFilter(p.GetTypedPerFilterConfig(), join(path, "typed_per_filter_config")),
	}
	limit := r.atLeast(p.GetMaxDirectResponseBodySizeBytes(), join(path, "max_direct_response_body_size_bytes"), defaultDirectBody, 0)
	if limit > maxDirectBody {
		r.fail(join(path, "max_direct_response_body_size_bytes"), "must be at most %d", maxDirectBody)
	}
	domains := make(map[string]string)
	for i, v := range p.GetVirtualHosts() {
		at := index(join(path, "virtual_hosts"), i)
		host := r.virtualHost(v, at, int(limit))
		for j, d := range host.Domains {
			if other, twice := domains[d]; twice {
				r.fail(index(join(at, "domains"), j), "%q is a domain of virtual host %q too", d, other)
			}
			domains[d] = host.Name
		}
		c.VirtualHosts = append(c.VirtualHosts, host)
	}
	return c
}

func (r *reader) virtualHost(p *routev3.VirtualHost, path string, bodyLimit int) VirtualHost {
	r.only(p, path, "name", "domains", "routes", "require_tls", "request_headers_to_add", "request_headers_to_remove",
		"response_headers_to_add", "response_headers_to_remove", "typed_per_filter_config", "include_request_attempt_count",
		"include_attempt_count_in_response", "retry_policy", "request_mirror_policies", "metadata", "virtual_clusters")
	v := VirtualHost{
		Name: p.GetName(), AttemptCount: p.GetIncludeRequestAttemptCount(), AttemptCountBack: p.GetIncludeAttemptCountInResponse(),
		Headers:   r.headerChanges(p, path),
		Retry:     r.retryPolicy(p.GetRetryPolicy(), join(path, "retry_policy")),
		Mirrors:   r.mirrors(p.GetRequestMirrorPolicies(), join(path, "request_mirror_policies")),
		PerFilter: r.perFilter(p.GetTypedPerFilterConfig(), join(path, "typed_per_filter_config")),
	}
	if v.Name == "" {
		r.fail(join(path, "name"), "is missing")
	}
	if len(p.GetDomains()) == 0 {
		r.fail(join(path, "domains"), "is empty")
	}
	for i, d := range p.GetDomains() {
		d = strings.ToLower(d)
		if d == "" || strings.Contains(strings.TrimSuffix(strings.TrimPrefix(d, "*"), "*"), "*") || len(d) > 1 && d[0] == '*' && d[len(d)-1] == '*' {
			r.fail(index(join(path, "domains"), i), "%q must be a name, or have one * at its beginning or its end", d)
		}
		v.Domains = append(v.Domains, d)
	}
	switch p.GetRequireTls() {
	case routev3.VirtualHost_NONE:
	case routev3.VirtualHost_EXTERNAL_ONLY:
		v.RequireTLS = TLSRequiredExternal
	case routev3.VirtualHost_ALL:
		v.RequireTLS = TLSRequired
	default:
		r.fail(join(path, "require_tls"), "has the unknown value %d", p.GetRequireTls())
	}
	for i, route := range p.GetRoutes() {
		v.Routes = append(v.Routes, r.route(route, index(join(path, "routes"), i), bodyLimit))
	}
	return v
}

func (r *reader) route(p *routev3.Route, path string, bodyLimit int) Route {
	r.only(p, path, "name", "match", "route", "redirect", "direct_response", "metadata", "decorator", "typed_per_filter_config",
		"request_headers_to_add", "request_headers_to_remove", "response_headers_to_add", "response_headers_to_remove",
		"stat_prefix")
	out := Route{
		Name: p.GetName(), StatPrefix: p.GetStatPrefix(),
		Match:     r.routeMatch(p.GetMatch(), join(path, "match")),
		Headers:   r.headerChanges(p, path),
		PerFilter: r.perFilter(p.GetTypedPerFilterConfig(), join(path, "typed_per_filter_config")),
	}
	switch {
	case p.GetRoute() != nil:
		out.Forward = r.forward(p.GetRoute(), join(path, "route"), &out.Match)
	case p.GetRedirect() != nil:
		out.Redirect = r.redirect(p.GetRedirect(), join(path, "redirect"), &out.Match)
	case p.GetDirectResponse() != nil:
		out.Direct = r.directResponse(p.GetDirectResponse(), join(path, "direct_response"), bodyLimit)
	default:
		r.fail(path, "needs route, redirect or direct_response")
	}
	return out
}

// changing is a message that changes headers.
type changing interface {
	GetRequestHeadersToAdd() []*corev3.HeaderValueOption
	GetRequestHeadersToRemove() []string
	GetResponseHeadersToAdd() []*corev3.HeaderValueOption
	GetResponseHeadersToRemove() []string
}

func (r *reader) headerChanges(p changing, path string) HeaderChanges {
	return HeaderChanges{
		RequestAdd:     r.headersToAdd(p.GetRequestHeadersToAdd(), join(path, "request_headers_to_add")),
		RequestRemove:  r.headersToRemove(p.GetRequestHeadersToRemove(), join(path, "request_headers_to_remove")),
		ResponseAdd:    r.headersToAdd(p.GetResponseHeadersToAdd(), join(path, "response_headers_to_add")),
		ResponseRemove: r.headersToRemove(p.GetResponseHeadersToRemove(), join(path, "response_headers_to_remove")),
	}
}

func (r *reader) headersToAdd(list []*corev3.HeaderValueOption, path string) []HeaderChange {
	var out []HeaderChange
	for i, p := range list {
		at := index(path, i)
		r.only(p, at, "header", "append", "append_action", "keep_empty_value")
		r.only(p.GetHeader(), join(at, "header"), "key", "value", "raw_value")
		h := HeaderChange{Name: r.headerName(p.GetHeader().GetKey(), join(at, "header.key")), KeepEmpty: p.GetKeepEmptyValue()}
		value := p.GetHeader().GetValue()
		if raw := p.GetHeader().GetRawValue(); len(raw) > 0 {
			value = string(raw)
		}
		if !validValue(value) {
			r.fail(join(at, "header.value"), "has characters that no header's value may have")
		}
		h.Value = r.format(value, join(at, "header.value"))
		switch a := p.GetAppendAction(); a {
		case corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD:
			if old := p.GetAppend(); old != nil && !old.GetValue() { //nolint:staticcheck // what older control planes send
				h.Action = HeaderOverwrite
			}
		case corev3.HeaderValueOption_ADD_IF_ABSENT:
			h.Action = HeaderAddIfAbsent
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD:
			h.Action = HeaderOverwrite
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
			h.Action = HeaderOverwriteExists
		default:
			r.fail(join(at, "append_action"), "has the unknown value %d", a)
		}
		out = append(out, h)
	}
	return out
}

func (r *reader) headersToRemove(list []string, path string) []string {
	var out []string
	for i, name := range list {
		out = append(out, r.headerName(name, index(path, i)))
	}
	return out
}

// headerName refuses what is no header, and those that the framing of a message
// depends on.
func (r *reader) headerName(name, path string) string {
	switch lower := strings.ToLower(name); {
	case lower == ":path" || lower == ":authority" || lower == ":method" || lower == ":scheme" || lower == "host":
		r.fail(path, "%q cannot be changed here: use the rewrites of the route", name)
	case lower == "content-length" || lower == "transfer-encoding" || lower == "connection" || lower == "upgrade":
		r.fail(path, "%q cannot be changed: it belongs to the connection", name)
	case !ValidHeaderName(name):
		r.fail(path, "%q is not the name of a header", name)
	}
	return http.CanonicalHeaderKey(name)
}

// ValidHeaderName reports whether a text is a token, RFC 9110 section 5.6.2.
func ValidHeaderName(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

func validValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func (r *reader) format(s, path string) Format {
	f, err := ParseFormat(s)
	if err != nil {
		r.fail(path, "%v", err)
	}
	return f
}

func (r *reader) mirrors(list []*routev3.RouteAction_RequestMirrorPolicy, path string) []RouteMirror {
	var out []RouteMirror
	for i, p := range list {
		at := index(path, i)
		r.only(p, at, "cluster", "runtime_fraction", "disable_shadow_host_suffix_append")
		if p.GetCluster() == "" {
			r.fail(join(at, "cluster"), "is missing")
		}
		out = append(out, RouteMirror{
			Cluster: p.GetCluster(), KeepHost: p.GetDisableShadowHostSuffixAppend(),
			Fraction: r.runtimeFraction(p.GetRuntimeFraction(), join(at, "runtime_fraction")),
		})
	}
	return out
}

func (r *reader) runtimeFraction(p *corev3.RuntimeFractionalPercent, path string) *Fraction {
	if p == nil {
		return nil
	}
	r.only(p, path, "default_value")
	f := &Fraction{Numerator: p.GetDefaultValue().GetNumerator(), Denominator: 100}
	switch d := p.GetDefaultValue().GetDenominator(); d {
	case 0:
	case 1:
		f.Denominator = 10_000
	case 2:
		f.Denominator = 1_000_000
	default:
		r.fail(join(path, "default_value.denominator"), "has the unknown value %d", d)
	}
	return f
}

// perFilter reads what is said for filters at one level.
func (r *reader) perFilter(list map[string]*anypb.Any, path string) FilterOverrides {
	if len(list) == 0 {
		return nil
	}
	out := make(FilterOverrides, len(list))
	for name, packed := range list {
		at := path + "[" + strconv.Quote(name) + "]"
		var o FilterOverride
		var wrapped routev3.FilterConfig
		optional := false
		if packed.MessageName() == wrapped.ProtoReflect().Descriptor().FullName() && r.unpack(packed, &wrapped, at) {
			o.Disabled, o.Enabled, optional = wrapped.GetDisabled(), !wrapped.GetDisabled(), wrapped.GetIsOptional()
			if packed = wrapped.GetConfig(); packed == nil {
				out[name] = o
				continue
			}
		} else {
			o.Enabled = true
		}
		if o.Config = r.httpRouteConfig(packed, at); o.Config == nil && !optional {
			r.fail(at, "%q is not a configuration that a route can have for a filter of this proxy", packed.GetTypeUrl())
		}
		out[name] = o
	}
	return out
}

func (r *reader) directResponse(p *routev3.DirectResponseAction, path string, limit int) *DirectResponse {
	r.only(p, path, "status", "body")
	d := &DirectResponse{Status: int(p.GetStatus() & math.MaxInt32)}
	if d.Status < 200 || d.Status > 599 {
		r.fail(join(path, "status"), "must be from 200 to 599")
		d.Status = http.StatusInternalServerError
	}
	if p.GetBody() != nil {
		source := r.dataSource(p.GetBody(), join(path, "body"))
		if source.Filename != "" || source.Env != "" {
			r.fail(join(path, "body"), "must be inline")
		}
		if d.Body = source.Inline; len(d.Body) > limit {
			r.fail(join(path, "body"), "has more than %d bytes", limit)
		}
	}
	return d
}

func (r *reader) redirect(p *routev3.RedirectAction, path string, m *RouteMatch) *Redirect {
	r.only(p, path, "https_redirect", "scheme_redirect", "host_redirect", "port_redirect", "path_redirect", "prefix_rewrite",
		"regex_rewrite", "response_code", "strip_query")
	out := &Redirect{
		Scheme: p.GetSchemeRedirect(), Host: p.GetHostRedirect(), Port: p.GetPortRedirect(), Path: p.GetPathRedirect(),
		StripQuery: p.GetStripQuery(),
	}
	if p.GetHttpsRedirect() {
		out.Scheme = "https"
	}
	if out.Port > math.MaxUint16 {
		r.fail(join(path, "port_redirect"), "must be at most 65535")
	}
	for field, value := range map[string]string{"host_redirect": out.Host, "path_redirect": out.Path, "scheme_redirect": out.Scheme} {
		if !validValue(value) {
			r.fail(join(path, field), "has characters that no header's value may have")
		}
	}
	if s, ok := p.GetPathRewriteSpecifier().(*routev3.RedirectAction_PrefixRewrite); ok {
		out.Rewrite.Prefix = &s.PrefixRewrite
	}
	if rx := p.GetRegexRewrite(); rx != nil {
		out.Rewrite.Regex, out.Rewrite.Subst = r.regexRewrite(rx, join(path, "regex_rewrite"))
	}
	r.rewriteFits(&out.Rewrite, m, path)
	switch p.GetResponseCode() {
	case routev3.RedirectAction_MOVED_PERMANENTLY:
		out.Status = http.StatusMovedPermanently
	case routev3.RedirectAction_FOUND:
		out.Status = http.StatusFound
	case routev3.RedirectAction_SEE_OTHER:
		out.Status = http.StatusSeeOther
	case routev3.RedirectAction_TEMPORARY_REDIRECT:
		out.Status = http.StatusTemporaryRedirect
	case routev3.RedirectAction_PERMANENT_REDIRECT:
		out.Status = http.StatusPermanentRedirect
	default:
		r.fail(join(path, "response_code"), "has the unknown value %d", p.GetResponseCode())
	}
	return out
}
