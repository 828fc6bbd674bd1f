package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
)

func (c *checker) apiAdapter(a *APIAdapter, at string) {
	c.listen(&a.Listen, at+".listen")
	c.server(&Server{Address: a.Upstream.Address, Service: a.Upstream.Service}, at+".upstream")
	c.upstreamTLS(a.Upstream.TLS, at+".upstream.tls")
	c.databaseTLS(a.Upstream.TLS, ProtocolHTTP, at+".upstream.tls")
	if a.HTTP != nil {
		c.httpSpec(a.HTTP, at+".http")
		c.require(len(a.HTTP.Routes) == 0, at+".http.routes", "are not for adapters", "write "+at+".routes")
	}
	c.require(len(a.Routes) > 0, at+".routes", "at least one is needed", `as in routes: [{match: {path: "/v2/orders/{id}"}}]`)
	for i := range a.Routes {
		c.apiRoute(&a.Routes[i], fmt.Sprintf("%s.routes[%d]", at, i))
	}
}

func (c *checker) apiRoute(r *APIRoute, at string) {
	m := &r.Match
	c.method(m.Method, at+".match.method")
	known := c.template(m.Path, at+".match.path")
	seen := make(map[string]bool, len(m.Headers))
	for _, name := range slices.Sorted(maps.Keys(m.Headers)) {
		here := join(at+".match.headers", name)
		c.require(isHeaderName(name), here, "is not the name of a header", "")
		c.once(seen, strings.ToLower(name), here)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Query)) {
		c.require(name != "", join(at+".match.query", name), "is not the name of a parameter", "")
	}
	if q := r.Request; q != nil {
		c.method(q.Method, at+".request.method")
		if q.Path != "" {
			c.require(isURLPath(q.Path), at+".request.path", "must be the path of a URL", `as in "/v2/orders/{id}"`)
			c.text(q.Path, known, at+".request.path")
		}
		c.fields(q.Query, known, false, at+".request.query")
		c.fields(q.Headers, known, true, at+".request.headers")
		c.body(q.Body, at+".request.body")
	}
	if r.Response != nil {
		c.fields(r.Response.Headers, known, true, at+".response.headers")
		c.body(r.Response.Body, at+".response.body")
	}
}

func (c *checker) method(m, at string) {
	c.require(strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == "", at, fmt.Sprintf("%q is not a method", clip(m)), "as in POST")
	c.require(m != "CONNECT", at, "CONNECT is no request that can be changed", "")
}

// template checks a path with {names}, which it returns.
func (c *checker) template(path, at string) (names []string) {
	t, err := placeholder.ParseTemplate(path)
	if err != nil {
		c.fail(at, err.Error(), "")
		return nil
	}
	return t.Names
}

// text checks one with values in it, of which those of the path are known.
func (c *checker) text(s string, known []string, at string) {
	t, err := placeholder.Parse(s)
	if err != nil {
		c.fail(at, err.Error(), "")
		return
	}
	for _, v := range t.Values() {
		c.require(v.Kind != placeholder.Path || slices.Contains(known, v.Text), at,
			fmt.Sprintf("{%s} is not in match.path", clip(v.Text)), didYouMean(v.Text, known))
	}
	c.require(!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }), at,
		"has control characters", "")
}

// framing are headers that a message's length and connection depend on.
var framing = []string{"content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive", "proxy-connection", "expect"}

// fields checks what becomes of headers or of parameters.
func (c *checker) fields(f *APIFields, known []string, headers bool, at string) {
	if f == nil {
		return
	}
	name := func(name, at string) {
		if !headers {
			c.require(name != "", at, "is not the name of a parameter", "")
			return
		}
		c.require(isHeaderName(name), at, fmt.Sprintf("%q is not the name of a header", clip(name)), "")
		c.require(!slices.Contains(framing, strings.ToLower(name)), at, "belongs to the connection, and cannot be changed", "")
		c.require(!strings.EqualFold(name, "host"), at, "cannot be changed here", "spec.api.http.host says it")
	}
	for i, n := range f.Remove {
		if n != "*" {
			name(n, fmt.Sprintf("%s.remove[%d]", at, i))
		}
	}
	for _, old := range slices.Sorted(maps.Keys(f.Rename)) {
		name(old, join(at+".rename", old))
		name(f.Rename[old], join(at+".rename", old))
	}
	for _, list := range []struct {
		at     string
		values map[string]string
	}{{at + ".set", f.Set}, {at + ".add", f.Add}} {
		for _, n := range slices.Sorted(maps.Keys(list.values)) {
			name(n, join(list.at, n))
			c.text(list.values[n], known, join(list.at, n))
		}
	}
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
