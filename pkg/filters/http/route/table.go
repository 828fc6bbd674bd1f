// Package route finds the route of a request in a route configuration, and says
// what the route makes of its path. It does no I/O.
package route

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Request is what a route is chosen by.
type Request struct {
	Method    string
	Scheme    string
	Host      string // with its port, if any
	Path      string // without the query
	Query     string // without the question mark
	Header    http.Header
	parsed    url.Values
	parsedSet bool
}

// Table is a route configuration, ready to be searched. It is read-only.
type Table struct {
	config   *resource.RouteConfig
	exact    map[string]*resource.VirtualHost
	suffixes []wildcard // "*.example.com", longest first
	prefixes []wildcard // "example.*", longest first
	rest     *resource.VirtualHost
}

type wildcard struct {
	text string
	host *resource.VirtualHost
}

// New makes a table of a configuration.
func New(c *resource.RouteConfig) *Table {
	t := &Table{config: c, exact: map[string]*resource.VirtualHost{}}
	for i := range c.VirtualHosts {
		v := &c.VirtualHosts[i]
		for _, d := range v.Domains {
			switch {
			case d == "*":
				t.rest = v
			case strings.HasPrefix(d, "*"):
				t.suffixes = append(t.suffixes, wildcard{d[1:], v})
			case strings.HasSuffix(d, "*"):
				t.prefixes = append(t.prefixes, wildcard{d[:len(d)-1], v})
			default:
				t.exact[d] = v
			}
		}
	}
	longest := func(a, b wildcard) int { return len(b.text) - len(a.text) }
	slices.SortStableFunc(t.suffixes, longest)
	slices.SortStableFunc(t.prefixes, longest)
	return t
}

// Config returns what the table was made of.
func (t *Table) Config() *resource.RouteConfig { return t.config }

// Find gives the virtual host of a request and its first route that matches;
// nil where there is none.
func (t *Table) Find(r *Request) (*resource.VirtualHost, *resource.Route) {
	v := t.host(r.Host)
	if v == nil {
		return nil, nil
	}
	for i := range v.Routes {
		if matches(&v.Routes[i].Match, r) {
			return v, &v.Routes[i]
		}
	}
	return v, nil
}

// host is Envoy's order: exact, suffix, prefix, any.
func (t *Table) host(name string) *resource.VirtualHost {
	if len(t.exact)+len(t.suffixes)+len(t.prefixes) == 0 {
		return t.rest
	}
	name = strings.ToLower(name)
	if t.config.IgnorePort {
		name = WithoutPort(name)
	}
	if v, ok := t.exact[name]; ok {
		return v
	}
	for _, w := range t.suffixes {
		if len(name) > len(w.text) && strings.HasSuffix(name, w.text) {
			return w.host
		}
	}
	for _, w := range t.prefixes {
		if len(name) > len(w.text) && strings.HasPrefix(name, w.text) {
			return w.host
		}
	}
	return t.rest
}

// WithoutPort drops the port of a host.
func WithoutPort(host string) string {
	at := strings.LastIndexByte(host, ':')
	if at < 0 || strings.HasSuffix(host, "]") || strings.IndexByte(host, ':') != at && !strings.HasPrefix(host, "[") {
		return host
	}
	return host[:at]
}

func matches(m *resource.RouteMatch, r *Request) bool {
	if !matchPath(&m.Path, r.Path) {
		return false
	}
	if m.GRPC && !IsGRPC(r.Header) {
		return false
	}
	for i := range m.Headers {
		if !MatchHeader(&m.Headers[i], r) {
			return false
		}
	}
	for i := range m.Query {
		if !matchQuery(&m.Query[i], r) {
			return false
		}
	}
	return m.Fraction == nil || Drawn(m.Fraction)
}

// Drawn draws whether a request is in a fraction.
func Drawn(f *resource.Fraction) bool {
	return f == nil || rand.Uint32N(f.Denominator) < f.Numerator // load balancing, not a secret
}

// IsGRPC reports whether a message is gRPC's.
func IsGRPC(h http.Header) bool {
	t := h.Get("Content-Type")
	return t == "application/grpc" || strings.HasPrefix(t, "application/grpc+") || strings.HasPrefix(t, "application/grpc;")
}

func matchPath(m *resource.PathMatch, path string) bool {
	switch m.Kind {
	case resource.PathExact:
		return path == m.Value || m.IgnoreCase && strings.EqualFold(path, m.Value)
	case resource.PathPrefix:
		return hasPrefix(path, m.Value, m.IgnoreCase)
	case resource.PathSegments:
		return hasPrefix(path, m.Value, m.IgnoreCase) && (len(path) == len(m.Value) || path[len(m.Value)] == '/')
	default:
		return m.Regex.MatchString(path)
	}
}

func hasPrefix(s, prefix string, fold bool) bool {
	if strings.HasPrefix(s, prefix) {
		return true
	}
	return fold && len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// MatchHeader says whether a header matches.
func MatchHeader(m *resource.HeaderMatch, r *Request) bool {
	value, ok := r.value(m.Name)
	if !ok {
		if m.Kind == resource.HeaderPresent {
			return m.Absent != m.Invert
		}
		if !m.MissingIsEmpty {
			return false // an inverted match of what is not there fails too, as in Envoy
		}
	}
	var found bool
	switch m.Kind {
	case resource.HeaderPresent:
		found = !m.Absent
	case resource.HeaderRange:
		n, err := strconv.ParseInt(value, 10, 64)
		found = err == nil && n >= m.Low && n < m.High
	default:
		found = matchString(&m.String, value)
	}
	return found != m.Invert
}

func (r *Request) value(name string) (string, bool) {
	switch name {
	case ":method":
		return r.Method, true
	case ":authority":
		return r.Host, true
	case ":scheme":
		return r.Scheme, true
	case ":path":
		if r.Query != "" {
			return r.Path + "?" + r.Query, true
		}
		return r.Path, true
	}
	values := r.Header[name]
	switch len(values) {
	case 0:
		return "", false
	case 1:
		return values[0], true
	default:
		return strings.Join(values, ","), true
	}
}

func matchString(m *resource.StringMatch, s string) bool {
	if m.Kind == resource.StringRegex {
		return m.Regex.MatchString(s)
	}
	if m.IgnoreCase {
		s = strings.ToLower(s)
	}
	switch m.Kind {
	case resource.StringPrefix:
		return strings.HasPrefix(s, m.Value)
	case resource.StringSuffix:
		return strings.HasSuffix(s, m.Value)
	case resource.StringContains:
		return strings.Contains(s, m.Value)
	default:
		return s == m.Value
	}
}

func matchQuery(m *resource.QueryMatch, r *Request) bool {
	v, ok := r.QueryValue(m.Name)
	return ok && (m.Present || matchString(&m.String, v))
}

// QueryValue gives the first value of a query parameter.
func (r *Request) QueryValue(name string) (string, bool) {
	if !r.parsedSet {
		r.parsed, _ = url.ParseQuery(r.Query) // what is malformed is not there
		r.parsedSet = true
	}
	values := r.parsed[name]
	if len(values) == 0 {
		return "", false
	}
	return values[0], true
}
