package mesh

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

func checkAdapter(a *Adapter, o options) Errors {
	c := &checker{options: o, obj: a}
	c.metadata(a.APIVersion, &a.Metadata)
	c.selector(a.Spec.Selector)
	c.require((a.Spec.Metrics != nil) != (a.Spec.API != nil), "spec", "needs exactly one of metrics and api", "")
	if m := a.Spec.Metrics; m != nil {
		c.metricsListen(&m.Listen)
		c.metricsSources(m)
		if m.Limits != nil {
			c.atLeastOne(m.Limits.SeriesPerSource, "spec.metrics.limits.seriesPerSource")
		}
	}
	if a.Spec.API != nil {
		c.apiAdapter(a.Spec.API, "spec.api")
	}
	if !c.services {
		c.fail("kind", "kind Adapter is not supported by this version", "only Ambassador is")
	}
	return c.errs
}

func (c *checker) metricsListen(l *MetricsListen) {
	const at = "spec.metrics.listen"
	c.require(l.Port >= 1 && l.Port <= 65535, at+".port", "a port from 1 to 65535 is needed", "")
	c.require(l.Path == "" || isURLPath(l.Path), at+".path", "must be the path of a URL", "/metrics is the default")
	if _, err := netip.ParseAddr(l.Address); l.Address != "" && err != nil {
		c.fail(at+".address", fmt.Sprintf("%q is not an IP address", clip(l.Address)), "127.0.0.1 is the default")
	}
}

func (c *checker) metricsSources(m *MetricsAdapter) {
	const at = "spec.metrics.sources"
	c.require(len(m.Sources) > 0, at, "at least one is needed",
		`as in sources: [{name: nginx, nginxStubStatus: {uri: "http://localhost/nginx_status"}}]`)
	names, places := make(map[string]bool), make(map[string]bool)
	places[fmt.Sprintf("TCP port %d", m.Listen.Port)] = true
	for i := range m.Sources {
		s := &m.Sources[i]
		here := fmt.Sprintf("%s[%d]", at, i)
		c.require(IsDNSLabel(s.Name), here+".name", fmt.Sprintf("%q is not a name", clip(s.Name)),
			"use lower-case letters, digits and -")
		c.once(names, s.Name, here+".name")
		c.metricsSource(s, here)
		if s.StatsD != nil {
			c.statsD(s.StatsD, places, here+".statsd")
		}
	}
}

func (c *checker) metricsSource(s *MetricsSource, at string) {
	kinds := count(s.NginxStubStatus != nil, s.StatsD != nil, s.Prometheus != nil, s.JSON != nil,
		s.Expvar != nil, s.Textfile != nil)
	c.require(kinds == 1, at, "must say in exactly one way where the metrics are",
		oneOf([]string{"nginxStubStatus", "statsd", "prometheus", "json", "expvar", "textfile"}))
	c.httpSource(s.NginxStubStatus, at+".nginxStubStatus")
	c.httpSource(s.Prometheus, at+".prometheus")
	c.httpSource(s.Expvar, at+".expvar")
	if s.JSON != nil {
		c.httpSource(&s.JSON.HTTPSource, at+".json")
		c.require(s.JSON.ConfigFile != "", at+".json.configFile", "is missing", "name a configuration file of json_exporter")
	}
	if s.Textfile != nil {
		c.require(strings.HasPrefix(s.Textfile.Path, "/"), at+".textfile.path", "must be the absolute path of a folder", "")
	}
}

// httpSource does not repeat the URI: it may hold what is secret.
func (c *checker) httpSource(s *HTTPSource, at string) {
	if s == nil {
		return
	}
	const example = "as in http://localhost:8080/status"
	u, err := url.Parse(s.URI)
	switch {
	case s.URI == "":
		c.fail(at+".uri", "is missing", example)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.ContainsAny(s.URI, " #"):
		c.fail(at+".uri", "must be a URL of http or https, without a fragment", example)
	case u.User != nil || strings.Contains(u.Host, "@"):
		c.fail(at+".uri", "must not hold a user name or a password", "remove what is before the @")
	}
	c.positive(s.Timeout, at+".timeout")
}

// statsD checks where lines are taken; places are those that are taken already.
func (c *checker) statsD(s *StatsDSource, places map[string]bool, at string) {
	c.require(s.UDP != 0 || s.TCP != 0 || s.Unixgram != "", at, "needs a place to listen", oneOf([]string{"udp", "tcp", "unixgram"}))
	if s.UDP != 0 {
		c.require(s.UDP <= 65535, at+".udp", "must be a port from 1 to 65535", "9125 is usual")
		c.once(places, fmt.Sprintf("UDP port %d", s.UDP), at+".udp")
	}
	if s.TCP != 0 {
		c.require(s.TCP <= 65535, at+".tcp", "must be a port from 1 to 65535", "9125 is usual")
		c.once(places, fmt.Sprintf("TCP port %d", s.TCP), at+".tcp")
	}
	if s.Unixgram != "" {
		c.require(isSocketPath(s.Unixgram), at+".unixgram", "must be absolute (or begin with @) and at most 107 bytes", "")
		c.once(places, s.Unixgram, at+".unixgram")
	}
}

func (c *checker) apiAdapter(a *APIAdapter, at string) {
	c.listen(&a.Listen, at+".listen")
	c.server(&Server{Address: a.Upstream.Address, Service: a.Upstream.Service}, at+".upstream")
	c.require(len(a.Routes) > 0, at+".routes", "at least one is needed", `as in routes: [{match: {path: "/v2/orders/{id}"}}]`)
	for i := range a.Routes {
		c.apiRoute(&a.Routes[i], fmt.Sprintf("%s.routes[%d]", at, i))
	}
}

func (c *checker) apiRoute(r *APIRoute, at string) {
	m := &r.Match
	c.require(m.Method == "" || strings.Trim(m.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "", at+".match.method",
		fmt.Sprintf("%q is not a method", clip(m.Method)), "as in POST")
	known := c.template(m.Path, at+".match.path")
	seen := make(map[string]bool, len(m.Headers))
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		here := join(at+".match.headers", name)
		c.require(isHeaderName(name), here, "is not the name of a header", "")
		c.once(seen, strings.ToLower(name), here)
	}
	if q := r.Request; q != nil {
		if q.Path != "" {
			for _, name := range c.template(q.Path, at+".request.path") {
				c.require(slices.Contains(known, name), at+".request.path",
					fmt.Sprintf("{%s} is not in match.path", clip(name)), didYouMean(name, known))
			}
		}
		c.body(q.Body, at+".request.body")
	}
	if r.Response != nil {
		c.body(r.Response.Body, at+".response.body")
	}
}

// template checks a path with {names}, which it returns.
func (c *checker) template(path, at string) (names []string) {
	if !isURLPath(path) {
		c.fail(at, "must be the path of a URL", `as in "/v2/orders/{id}"`)
		return nil
	}
	for segment := range strings.SplitSeq(path[1:], "/") {
		if !strings.ContainsAny(segment, "{}") {
			continue
		}
		name, ok := strings.CutPrefix(segment, "{")
		name, closed := strings.CutSuffix(name, "}")
		if !ok || !closed || !isIdentifier(name) {
			c.fail(at, fmt.Sprintf("%q is not a name in braces", clip(segment)),
				"a {name} is a whole segment, of letters, digits and _")
			continue
		}
		c.require(!slices.Contains(names, name), at, fmt.Sprintf("{%s} is there twice", clip(name)), "give one of them another name")
		names = append(names, name)
	}
	return names
}

func (c *checker) body(b *BodyTransform, at string) {
	if b == nil {
		return
	}
	c.require(b.From != "", at+".from", "is missing", oneOf(b.From.Values()))
	c.require(b.To != "", at+".to", "is missing", oneOf(b.To.Values()))
	if b.Map != nil {
		c.bodyMap(b.Map, at+".map")
	}
}

func (c *checker) bodyMap(m *BodyMap, at string) {
	taken := make(map[string]bool, len(m.Move))
	for _, from := range slices.Sorted(maps.Keys(m.Move)) {
		here, to := join(at+".move", from), m.Move[from]
		c.fieldPath(from, here)
		c.fieldPath(to, here)
		c.require(strings.Count(from, "[]") == strings.Count(to, "[]"), here,
			"has [] on one side only", "each element of a list goes to one of another")
		c.once(taken, to, here)
	}
	for _, fields := range []struct {
		name  string
		paths []string
	}{{"default", slices.Sorted(maps.Keys(m.Default))}, {"constant", slices.Sorted(maps.Keys(m.Constant))}, {"coerce", slices.Sorted(maps.Keys(m.Coerce))}} {
		for _, path := range fields.paths {
			c.fieldPath(path, join(at+"."+fields.name, path))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(m.Coerce)) {
		c.require(m.Coerce[path] != "", join(at+".coerce", path), "is missing", oneOf(ValueType("").Values()))
	}
	for i, path := range m.Drop {
		c.fieldPath(path, fmt.Sprintf("%s.drop[%d]", at, i))
	}
	for i, path := range m.List {
		c.fieldPath(path, fmt.Sprintf("%s.list[%d]", at, i))
	}
}

// fieldPath checks names with dots between them, of which lists end in [].
func (c *checker) fieldPath(path, at string) {
	for name := range strings.SplitSeq(path, ".") {
		name = strings.TrimSuffix(name, "[]")
		if name == "" || strings.ContainsAny(name, "[] \t\r\n\x00") {
			c.fail(at, fmt.Sprintf("%q is not the path of a field", clip(path)), `as in "order.items[].sku"`)
			return
		}
	}
}

func isURLPath(s string) bool { return strings.HasPrefix(s, "/") && !strings.ContainsAny(s, " ?#") }

// isIdentifier reports whether s is a name as most languages have them.
func isIdentifier(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && r != '_'
	})
}

// isHeaderName reports whether s is a token of RFC 9110.
func isHeaderName(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}
