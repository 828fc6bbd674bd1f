package http

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// exchange is one request under way. It implements filters.Exchange, and
// belongs to the goroutine that serves the request.
type exchange struct {
	chain  *chain
	cancel context.CancelCauseFunc // from any goroutine
	start  time.Time

	original *http.Request // its context and connection, not its headers

	request  route.Request // as routes are matched, and as it came but for its path
	internal bool          // the client is one of ours
	client   string        // address without port, as far as it is to be believed
	routes   *bound
	host     *resource.VirtualHost
	route    *resource.Route
	weighted *resource.WeightedCluster
	branch   filters.Branch // of a branch: where it goes
	within   bool           // it is a branch of another one

	// of an exchange on an event loop
	loop *netloop.Loop // nil: a goroutine serves it
	why  error         // it was ended early

	// of an exchange on a goroutine
	age   *time.Timer           // nil: it may take as long as it wants
	most  time.Duration         // that age was set for
	clock atomic.Pointer[clock] // of the router, which has answered; nil: it has not, or there is no other filter

	spans        *spans // nil: none are made
	flag, detail string
	received     atomic.Int64
	begun        atomic.Bool // the response, of an exchange on a goroutine
	upstream     upstreamState
	writer       responseWriter
}

// upstreamState is what the access log tells of the cluster's side.
type upstreamState struct {
	cluster, address, protocol, failure string
	attempts                            int
	begun, answered, ended              time.Time
}

// now is the time, on a loop as it was when the loop's turn began.
func (x *exchange) now() time.Time {
	if x.loop != nil {
		return x.loop.WallTime()
	}
	return time.Now()
}

// aborter is a response that is not written by a handler, which could panic.
type aborter interface{ abort() }

// abort ends a response whose client must not take it for whole.
func (x *exchange) abort() {
	if a, ok := x.writer.ResponseWriter.(aborter); ok {
		a.abort()
		return
	}
	panic(http.ErrAbortHandler)
}

// end ends an exchange on a goroutine early, and may be called from any. Its
// handler may be held up by a client that reads nothing: a response that has
// begun, and now cannot be whole, waits for that client no longer.
func (x *exchange) end(why error) {
	x.cancel(why)
	if x.begun.Load() {
		_ = http.NewResponseController(x.writer.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) // what has no deadlines holds nobody up
	}
}

// cause says why the request was ended early; nil: it goes on.
func (p *passage) cause() error {
	if p.x.loop != nil {
		return p.x.why
	}
	return context.Cause(p.in.Context())
}

// FilterConfig implements filters.Exchange.
func (x *exchange) FilterConfig(name string) any {
	o, _ := x.override(name)
	return o.Config
}

// override finds what is said for a filter, from the most specific place on.
func (x *exchange) override(name string) (resource.FilterOverride, bool) {
	if x.weighted != nil {
		if o, ok := x.weighted.PerFilter[name]; ok {
			return o, true
		}
	}
	if x.route != nil {
		if o, ok := x.route.PerFilter[name]; ok {
			return o, true
		}
	}
	if x.host != nil {
		if o, ok := x.host.PerFilter[name]; ok {
			return o, true
		}
	}
	if x.routes != nil {
		o, ok := x.routes.table.Config().PerFilter[name]
		return o, ok
	}
	return resource.FilterOverride{}, false
}

// Reroute implements filters.Exchange.
func (x *exchange) Reroute(r *http.Request) {
	x.request.Method, x.request.Host, x.request.Header = r.Method, r.Host, r.Header
	x.request.Path, x.request.Query = r.URL.EscapedPath(), r.URL.RawQuery
	x.find()
}

// Timeout implements filters.Exchange.
func (x *exchange) Timeout() time.Duration {
	if x.route == nil || x.route.Forward == nil {
		return 0
	}
	return boundOf(x.route.Forward, x.request.Header)
}

// Explain implements filters.Exchange.
func (x *exchange) Explain(flag, detail string) {
	if flag != "" {
		x.flag = flag
	}
	x.detail = detail
}

// find looks for the route.
func (x *exchange) find() {
	x.host, x.route, x.weighted = nil, nil, nil
	x.routes = x.chain.bound()
	if x.routes == nil {
		return
	}
	x.host, x.route = x.routes.table.Find(&x.request)
	if x.route != nil && x.route.Forward != nil && len(x.route.Forward.Weighted) > 0 {
		x.weighted = draw(x.route.Forward)
	}
}

// refuse answers a request that no filter is to see.
func (x *exchange) refuse(status int, why refusal, detail string) {
	x.chain.counters.refused[why].Add(1)
	x.Explain("DPE", detail)
	h := x.writer.Header()
	h.Set("Content-Length", "0")
	if status == http.StatusBadRequest {
		h.Set("Connection", "close")
	}
	x.writer.WriteHeader(status)
}

// admit makes a request what filters may rely on; false when it was answered.
func (x *exchange) admit(r *http.Request) bool {
	m := x.chain.conf
	x.request = route.Request{Method: r.Method, Scheme: "http", Host: r.Host, Header: r.Header}
	if r.TLS != nil {
		x.request.Scheme = "https"
	}
	if r.Method == http.MethodConnect {
		x.refuse(http.StatusMethodNotAllowed, refusedConnect, "connect_not_supported")
		return false
	}
	if n := fields(r.Header); m.Limits.HeaderCount > 0 && n > m.Limits.HeaderCount {
		x.refuse(http.StatusRequestHeaderFieldsTooLarge, refusedLarge, "too_many_headers")
		return false
	}
	if !x.admitHost(r) || !x.admitPath(r) || !x.admitHeaders(r) {
		return false
	}
	removeNominated(r.Header)
	x.identify(r)
	return true
}

func fields(h http.Header) int {
	n := 0
	for _, values := range h {
		n += len(values)
	}
	return n
}

// admitHost checks the host, and takes out of it what is not wanted.
func (x *exchange) admitHost(r *http.Request) bool {
	m := x.chain.conf
	if r.Host == "" && r.ProtoMajor == 1 && r.ProtoMinor == 0 && m.HTTP1.DefaultHost10 != "" {
		r.Host = m.HTTP1.DefaultHost10
	}
	if r.ProtoMajor == 1 && r.ProtoMinor == 0 && !m.HTTP1.Accept10 {
		x.writer.Header().Set("Connection", "close")
		x.refuse(http.StatusUpgradeRequired, refusedVersion, "low_version")
		return false
	}
	if r.Host == "" || strings.ContainsAny(r.Host, " \t/\\@?#,") {
		x.refuse(http.StatusBadRequest, refusedHost, "invalid_host")
		return false
	}
	if m.Path.StripDot {
		if host := route.WithoutPort(r.Host); strings.HasSuffix(host, ".") {
			r.Host = strings.TrimSuffix(host, ".") + r.Host[len(host):]
		}
	}
	switch m.Path.StripPort {
	case resource.PortAny:
		r.Host = route.WithoutPort(r.Host)
	case resource.PortMatching:
		if local := localPort(r); local != "" && strings.HasSuffix(r.Host, ":"+local) {
			r.Host = route.WithoutPort(r.Host)
		}
	}
	x.request.Host = r.Host
	return true
}

// admitPath makes paths the same that mean the same.
func (x *exchange) admitPath(r *http.Request) bool {
	target := r.RequestURI
	if r.URL.IsAbs() || target == "" || target[0] != '/' {
		target = r.URL.RequestURI() // absolute form, or HTTP/2
	}
	if r.RequestURI == "*" && r.Method == http.MethodOptions {
		x.request.Path = "*"
		return true
	}
	path, query, _ := strings.Cut(target, "?")
	if path == "" || path[0] != '/' || strings.IndexByte(target, '#') >= 0 {
		x.refuse(http.StatusBadRequest, refusedPath, "invalid_path")
		return false
	}
	clean, redirect, err := route.Normalize(&x.chain.conf.Path, path)
	if err != nil {
		x.refuse(http.StatusBadRequest, refusedPath, "path_normalization_failed")
		return false
	}
	x.request.Path, x.request.Query = clean, query
	if redirect {
		x.writer.Header().Set("Location", withQuery(pathOnly(clean), query))
		x.Explain("", "path_normalization_redirect")
		x.writer.WriteHeader(http.StatusTemporaryRedirect)
		return false
	}
	if clean != path {
		return x.setPath(r, clean)
	}
	return true
}

// pathOnly is a reference to a path of the same host: "//a" would be another one
// (RFC 3986 section 4.2), and to browsers "/\a" is the same.
func pathOnly(path string) string {
	if strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		return "/." + path
	}
	return path
}

// setPath changes the path that filters see.
func (x *exchange) setPath(r *http.Request, path string) bool {
	plain, err := url.PathUnescape(path)
	if err != nil {
		x.refuse(http.StatusBadRequest, refusedPath, "path_normalization_failed")
		return false
	}
	u := *r.URL
	u.Path, u.RawPath = plain, path
	r.URL, r.RequestURI = &u, withQuery(path, x.request.Query)
	return true
}

func withQuery(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// admitHeaders heeds what is said of names with underscores.
func (x *exchange) admitHeaders(r *http.Request) bool {
	o := &x.chain.conf.Headers
	if !o.UnderscoreRefused && !o.UnderscoreDropped {
		return true
	}
	for name := range r.Header {
		if strings.IndexByte(name, '_') < 0 {
			continue
		}
		if o.UnderscoreRefused {
			x.refuse(http.StatusBadRequest, refusedHeader, "unexpected_underscore")
			return false
		}
		delete(r.Header, name)
	}
	return true
}

// context returns the request's context, with the exchange in it.
func (x *exchange) context(parent context.Context) context.Context {
	ctx, cancel := context.WithCancelCause(filters.WithExchange(parent, x))
	x.cancel = cancel
	return ctx
}
