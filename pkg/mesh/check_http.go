package mesh

import (
	"fmt"
	"slices"
	"strings"
)

// http checks what belongs to protocol http alone.
func (c *checker) http(s *AmbassadorSpec) {
	if s.Protocol != ProtocolHTTP {
		c.require(s.HTTP == nil || s.Protocol == "", "spec.http", fmt.Sprintf("does not go with protocol %s", s.Protocol), "remove it")
		return
	}
	c.require(s.Redis == nil, "spec.redis", "does not go with protocol http", "remove it")
	c.require(s.TCP == nil, "spec.tcp", "does not go with protocol http", "use spec.http")
	c.byteLimits(s.Limits, s.Protocol)
	h := s.HTTP
	if h == nil {
		return
	}
	c.httpSpec(h, "spec.http")
}

// httpSpec checks how requests are sent on.
func (c *checker) httpSpec(h *HTTPSpec, at string) {
	c.positive(h.ConnectTimeout, at+".connectTimeout")
	c.require(h.Host == "" || h.Host == "-" || !strings.ContainsAny(h.Host, " /?#@\\,"), at+".host", fmt.Sprintf("%q is not a host", clip(h.Host)), "")
	c.httpRetries(h.Retries, at+".retries")
	c.checks(h.HealthCheck, h.OutlierDetection, h.RequestLimit, at)
	if h.HealthCheck != nil {
		c.require(!h.HealthCheck.ProbeRole, at+".healthCheck.probeRole", "does not go with protocol http", "remove it")
		c.httpCheck(h.HealthCheck.HTTP, at+".healthCheck.http")
	}
	for i := range h.Routes {
		c.httpRoute(&h.Routes[i], fmt.Sprintf("%s.routes[%d]", at, i))
	}
}

func (c *checker) httpCheck(h *HTTPCheck, at string) {
	if h == nil {
		return
	}
	c.require((h.Path == "") != (h.GRPCService == nil), at, "needs exactly one of path and grpcService", "")
	c.require(h.Path == "" || h.Path[0] == '/' && !strings.ContainsAny(h.Path, " #"), at+".path", fmt.Sprintf("%q is not a path", clip(h.Path)), "it begins with /")
	c.require(h.Statuses == nil || h.Path != "", at+".statuses", "go with path", "")
	for i, status := range h.Statuses {
		c.require(status >= 100 && status <= 599, fmt.Sprintf("%s.statuses[%d]", at, i), "is not a status", "")
	}
}

func (c *checker) httpRetries(r *HTTPRetries, at string) {
	if r == nil {
		return
	}
	c.atLeastOne(r.Attempts, at+".attempts")
	c.require(r.Attempts == nil || *r.Attempts <= 100, at+".attempts", "must be at most 100", "")
	c.positive(r.PerTryTimeout, at+".perTryTimeout")
	c.require(len(r.Statuses) == 0 || slices.Contains(r.On, "retriable-status-codes"), at+".statuses",
		"mean something with retriable-status-codes only", "add it to on")
	for i, status := range r.Statuses {
		c.require(status >= 100 && status <= 599, fmt.Sprintf("%s.statuses[%d]", at, i), "is not a status", "")
	}
}

func (c *checker) httpRoute(r *HTTPRoute, at string) {
	c.require((r.Path == "") != (r.Prefix == ""), at, "needs exactly one of path and prefix", "")
	for field, path := range map[string]string{".path": r.Path, ".prefix": r.Prefix, ".rewrite": r.Rewrite} {
		c.require(path == "" || path[0] == '/' && !strings.ContainsAny(path, " ?#"), at+field,
			fmt.Sprintf("%q is not a path without a query", clip(path)), "it begins with /")
	}
	for i, m := range r.Methods {
		c.require(m != "" && strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == "", fmt.Sprintf("%s.methods[%d]", at, i),
			fmt.Sprintf("%q is not a method", clip(m)), "as in POST")
	}
	c.httpRetries(r.Retries, at+".retries")
	c.gather(r, at)
	if r.Status == 0 {
		return
	}
	c.require(r.Status >= 200 && r.Status <= 599, at+".status", "must be from 200 to 599", "")
	c.require(r.Rewrite == "" && r.Timeout == nil && r.Retries == nil && r.Gather == nil, at+".status",
		"is the whole answer", "remove rewrite, timeout, retries and gather")
}
