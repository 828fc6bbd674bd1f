package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
	"github.com/dragoman-mesh/dragoman/pkg/schema"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
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
	if a.GRPC != nil {
		c.apiGRPC(a, at)
		return
	}
	if l := a.Limits; l != nil {
		c.require(l.BodyBytes == nil || *l.BodyBytes >= 1<<10 && *l.BodyBytes <= 64<<20, at+".limits.bodyBytes", "must be from 1Ki to 64Mi", "")
		c.positive(l.BodyTimeout, at+".limits.bodyTimeout")
	}
	c.apiVersions(a.Versions, at+".versions")
	c.require(len(a.Routes) > 0 || a.Versions != nil, at+".routes", "at least one is needed", `as in routes: [{match: {path: "/v2/orders/{id}"}}]`)
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
		c.schema(q.Schema, at+".request.schema")
		q.FileSchema = c.schemaFile(q.Schema, q.SchemaFile, at+".request.schemaFile")
		c.body(q.Body, known, at+".request.body")
		c.require(q.Schema == nil && q.SchemaFile == "" || q.Body == nil || q.Body.From != BodyNone, at+".request.schema", "there is no body that it could be for", "")
	}
	if r.Response != nil {
		c.apiResponse(r.Response, known, at+".response")
	}
	c.require(r.Timeout == nil || *r.Timeout >= 0, at+".timeout", "must not be negative", "")
}

func (c *checker) apiResponse(r *APIResponse, known []string, at string) {
	c.fields(r.Headers, known, true, at+".headers")
	for _, old := range slices.Sorted(maps.Keys(r.Status)) {
		here := join(at+".status", old)
		c.require(isStatusPattern(old), here, "is not a status that has a body", `as in "404" or "5xx"`)
		c.require(r.Status[old] >= 200 && r.Status[old] <= 599 && r.Status[old] != 204 && r.Status[old] != 304, here,
			"must become a status from 200 to 599 that has a body", "")
	}
	for _, code := range slices.Sorted(maps.Keys(r.Faults)) {
		here := join(at+".faults", code)
		c.require(code != "" && !strings.ContainsAny(code, " \t\r\n"), here, "is not the code of a fault", "")
		c.require(r.Faults[code] >= 400 && r.Faults[code] <= 599, here, "must become a status from 400 to 599", "")
	}
	c.require(len(r.Faults) == 0 || r.Body != nil && r.Body.From == BodySOAP, at+".faults", "are those of SOAP, and body.from is another format", "remove them")
	c.schema(r.Schema, at+".schema")
	r.FileSchema = c.schemaFile(r.Schema, r.SchemaFile, at+".schemaFile")
	c.body(r.Body, known, at+".body")
	c.body(r.Error, known, at+".error")
	for field, b := range map[string]*BodyTransform{".body": r.Body, ".error": r.Error} {
		c.require(b == nil || b.From != BodyNone, at+field+".from", "none is for requests", "")
	}
	c.require(r.Error == nil || !r.Error.AsIs, at+".error.asIs", "is said in body", "remove it")
}

// isStatusPattern takes "404" and "5xx", of statuses that have a body.
func isStatusPattern(s string) bool {
	if len(s) != 3 || s[0] < '2' || s[0] > '5' || s == "204" || s == "304" {
		return false
	}
	return s[1:] == "xx" || strings.Trim(s, "0123456789") == ""
}

func (c *checker) schema(s *JSONSchema, at string) {
	if s == nil || s.Text == "" {
		return
	}
	if _, err := schema.Compile(s.Text); err != nil {
		c.fail(at, err.Error(), "")
	}
}

// body checks a transform: what the engine refuses is refused here.
func (c *checker) body(b *BodyTransform, known []string, at string) {
	if b == nil {
		return
	}
	formats := b.From.Values()
	c.require(b.From != "", at+".from", "is missing", oneOf(formats))
	c.require(b.To != "", at+".to", "is missing", oneOf(formats[1:]))
	c.require(b.To != BodyNone, at+".to", "none is no format", oneOf(formats[1:]))
	for _, path := range slices.Sorted(maps.Keys(b.Values)) {
		c.text(b.Values[path], known, join(at+".values", path))
	}
	c.bodyOptions(b, at)
	if b.From == "" || b.To == "" || b.To == BodyNone {
		return
	}
	_, err := transform.Compile(b.Spec(0))
	for _, e := range flatten(err) {
		field, reason := engineField(e)
		c.fail(at+field, reason, "")
	}
}

// bodyOptions refuses options of formats that neither side has.
func (c *checker) bodyOptions(b *BodyTransform, at string) {
	for _, o := range []struct {
		name  string
		there bool
		of    []BodyFormat
	}{
		{"xml", b.XML != nil, []BodyFormat{BodyXML, BodySOAP}},
		{"soap", b.SOAP != nil, []BodyFormat{BodySOAP}},
		{"form", b.Form != nil, []BodyFormat{BodyForm}},
		{"multipart", b.Multipart != nil, []BodyFormat{BodyMultipart}},
		{"csv", b.CSV != nil, []BodyFormat{BodyCSV}},
		{"msgpack", b.MsgPack != nil, []BodyFormat{BodyMsgPack}},
	} {
		c.require(!o.there || slices.Contains(o.of, b.From) || slices.Contains(o.of, b.To), at+"."+o.name,
			"neither from nor to is "+o.name, "remove it")
	}
}

// flatten takes joined errors apart, also those that are within others, and gives
// the text of each.
func flatten(err error) []string {
	switch e := err.(type) { //nolint:errorlint // the error itself is taken apart
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		var all []string
		for _, inner := range e.Unwrap() {
			all = append(all, flatten(inner)...)
		}
		return all
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		around, ok := "", false
		if inner != nil {
			around, ok = strings.CutSuffix(err.Error(), inner.Error())
		}
		if !ok {
			return []string{err.Error()}
		}
		all := flatten(inner)
		for i := range all {
			all[i] = around + all[i]
		}
		return all
	default:
		return []string{err.Error()}
	}
}

// engineField takes the field of a transform out of an error of the engine, "map:
// move.a.b: reason".
func engineField(text string) (field, reason string) {
	top, rest, ok := strings.Cut(text, ": ")
	if !ok {
		return "", text
	}
	switch top {
	case "from", "to", "jq":
		return "." + top, rest
	case "given":
		path, reason, _ := strings.Cut(rest, ": ")
		return join(".values", path), reason
	case "map":
		return mapField(".map", rest)
	default:
		return "", text
	}
}

func mapField(at, text string) (field, reason string) {
	inner, rest, ok := strings.Cut(text, ": ")
	if !ok {
		return at, text
	}
	kind, key, keyed := strings.Cut(inner, ".")
	switch kind {
	case "each":
		return mapField(join(at+".each", key), rest)
	case "move", "default", "constant", "coerce":
		if keyed {
			return join(at+"."+kind, key), rest
		}
	}
	if strings.HasPrefix(kind, "drop[") || strings.HasPrefix(kind, "list[") {
		return at + "." + inner, rest
	}
	return at, text
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
			fmt.Sprintf("{%s} is not in match.path", clip(v.Text)), DidYouMean(v.Text, known))
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
