package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

func checkAdapter(a *Adapter, o options) Errors {
	c := &checker{options: o, obj: a}
	c.metadata(a.APIVersion, &a.Metadata)
	c.selector(a.Spec.Selector)
	c.require((a.Spec.Metrics != nil) != (a.Spec.API != nil), "spec", "needs exactly one of metrics and api", "")
	if a.Spec.Metrics != nil {
		c.metrics(a.Spec.Metrics, "spec.metrics")
	}
	if a.Spec.API != nil {
		c.apiAdapter(a.Spec.API, "spec.api")
		if !c.services {
			c.fail("spec.api", "is not supported by this version", "only metrics is")
		}
	}
	return c.errs
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
