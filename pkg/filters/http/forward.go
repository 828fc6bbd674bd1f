package http

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// passage is a request on its way to a cluster.
type passage struct {
	rt      *router
	x       *exchange
	w       http.ResponseWriter
	in      *http.Request // as the filters left it
	route   *resource.Forward
	retry   *resource.RetryPolicy
	pool    *pool.Cluster
	out     *http.Request // for the engine of goroutines
	host    string        // but for that of the endpoint
	path    string        // as it goes upstream
	query   string
	target  string // of the request line
	key     []byte // for the load balancing
	upgrade string // the protocol that the client asks for; "": none
	body    *replay
	keeper  keeper // of the body; nil: there is none
	tried   []*filters.Endpoint
	clock   *clock
}

// keeper knows whether a request's body could be sent once more.
type keeper interface{ replayable() bool }

// forward sends a request to the cluster of its route.
func (rt *router) forward(w http.ResponseWriter, r *http.Request, x *exchange) {
	p := &passage{rt: rt, x: x, w: w, in: r, route: x.route.Forward}
	if !p.enter() {
		return
	}
	defer p.pool.Leave()
	p.makeRequest()
	p.wrapBody()
	p.startClock()
	defer p.stopClock()
	if p.body != nil {
		defer p.body.close()
	}
	mirrors := p.mirrors()
	p.attempts()
	for _, m := range mirrors {
		m.send()
	}
}

// giveUpBody ends the wait for a body whose request is over.
func (p *passage) giveUpBody() {
	if p.cause() != context.Canceled { //nolint:errorlint // the bare value: the request has ended
		_ = http.NewResponseController(p.w).SetReadDeadline(time.Unix(1, 0)) // what has no deadlines has timeouts of its own
	}
}

// enter has the request's cluster take it; false when it was answered. Who has
// entered leaves the pool.
func (p *passage) enter() bool {
	x := p.x
	cluster, ok := p.cluster()
	if !ok {
		x.answer(p.w, p.route.NotFound, "NC", "cluster_not_found", nil)
		return false
	}
	p.pool = p.rt.pools.Cluster(cluster)
	x.upstream.cluster = cluster.Name()
	if p.retry = p.route.Retry; p.retry == nil {
		p.retry = x.host.Retry
	}
	if !p.prepare() {
		return false
	}
	if err := p.pool.Enter(); err != nil {
		x.fail(p.w, http.StatusServiceUnavailable, "UO", "overflow", "upstream connect error or disconnect/reset before headers. reset reason: overflow")
		return false
	}
	return true
}

// cluster finds where the request goes.
func (p *passage) cluster() (filters.Cluster, bool) {
	name := p.route.Cluster
	switch {
	case p.x.weighted != nil:
		name = p.x.weighted.Name
	case p.route.ClusterHeader != "":
		name = p.in.Header.Get(p.route.ClusterHeader)
	}
	return p.x.routes.clusters.Cluster(name)
}

// prepare makes the request that goes upstream; false when it was answered.
func (p *passage) prepare() bool {
	r, x := p.in, p.x
	p.upgrade = upgradeOf(r)
	if p.upgrade != "" && !p.mayUpgrade() {
		x.answer(p.w, http.StatusForbidden, "", "upgrade_failed", nil)
		return false
	}
	expect := r.Header["Expect"]
	RemoveHopByHop(r.Header)
	if p.upgrade != "" {
		r.Header["Connection"], r.Header["Upgrade"] = []string{"Upgrade"}, []string{p.upgrade}
	}
	if x.chain.conf.Expect100 && expect != nil {
		r.Header["Expect"] = expect
	}
	p.hash()
	p.setHost()
	p.setTarget()
	x.changeRequest(r.Header)
	if !p.rt.conf.SuppressHeaders && p.route.Timeout > 0 {
		r.Header["X-Envoy-Expected-Rq-Timeout-Ms"] = []string{strconv.FormatInt(p.route.Timeout.Milliseconds(), 10)}
	}
	return true
}

// makeRequest is what the engine of goroutines sends.
func (p *passage) makeRequest() {
	r := p.in
	p.out = &http.Request{
		Method: r.Method, Header: r.Header, Host: p.host, ContentLength: r.ContentLength, Trailer: r.Trailer,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		URL: &url.URL{Scheme: "http", Host: p.host, Opaque: p.path, RawQuery: p.query},
	}
	if strings.HasPrefix(p.path, "//") {
		plain, err := url.PathUnescape(p.path)
		if err == nil {
			p.out.URL.Opaque, p.out.URL.Path, p.out.URL.RawPath = "", plain, p.path
		}
	}
}

// setTarget rewrites the path. It is that of the client's request, byte for byte,
// unless a filter has given the request another URL.
func (p *passage) setTarget() {
	x := p.x
	path, query := x.request.Path, x.request.Query
	if p.in.URL != x.original.URL {
		path, query = p.in.URL.EscapedPath(), p.in.URL.RawQuery
	}
	path = route.Rewrite(&p.route.Path, &x.route.Match.Path, path)
	if path != x.request.Path && !p.rt.conf.SuppressHeaders {
		p.in.Header["X-Envoy-Original-Path"] = []string{withQuery(x.request.Path, x.request.Query)}
	}
	if at := strings.IndexByte(path, '?'); at >= 0 { // of a regular expression's substitution
		path, query = path[:at], path[at+1:]
	}
	p.path, p.query, p.target = path, query, withQuery(path, query)
}

// setHost works out what goes upstream as the host; that of the endpoint is set
// when there is one.
func (p *passage) setHost() {
	x, o := p.x, &p.route.Host
	host := p.in.Host
	switch {
	case x.weighted != nil && x.weighted.Host != "":
		host = x.weighted.Host
	case o.Literal != "":
		host = o.Literal
	case o.Header != "":
		if v := p.in.Header.Get(o.Header); v != "" {
			host = v
		}
	case o.PathRegex != nil:
		host = o.PathRegex.ReplaceAllString(x.request.Path, o.Subst)
	}
	if host != p.in.Host {
		p.noteHost()
	}
	p.host = host
}

func (p *passage) noteHost() {
	if p.route.ForwardedHost {
		h := p.in.Header
		h["X-Forwarded-Host"] = append(h["X-Forwarded-Host"], p.in.Host)
	}
}

// removeNominated takes out what a client's Connection names as meant for this
// connection only, RFC 9110 section 7.6.1, and those names. It comes before anything
// is added to the request: that is not the client's to take out.
func removeNominated(h http.Header) {
	if h["Connection"] == nil {
		return
	}
	var kept []string
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			switch name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name {
			case "Upgrade", "Te":
				kept = append(kept, name)
			default:
				delete(h, name)
			}
		}
	}
	delete(h, "Connection")
	if kept != nil {
		h["Connection"] = kept
	}
}

// RemoveHopByHop takes out what concerns one connection only, RFC 9110 section
// 7.6.1. "TE: trailers" stays: gRPC depends on it.
func RemoveHopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "Te" {
				delete(h, name)
			}
		}
	}
	if te, ok := h["Te"]; ok {
		if len(te) == 1 && strings.Contains(strings.ToLower(te[0]), "trailers") {
			h["Te"] = []string{"trailers"}
		} else {
			delete(h, "Te")
		}
	}
	for _, name := range [...]string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Content-Length", "Trailer", "Expect"} {
		delete(h, name)
	}
}

// upgradeOf gives the protocol that a client wants to go over to. h2c is not heeded:
// its client goes on with HTTP/1.1.
func upgradeOf(r *http.Request) string {
	if r.ProtoMajor != 1 || r.ProtoMinor == 0 || len(r.Header["Upgrade"]) != 1 {
		return ""
	}
	for _, list := range r.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(name), "upgrade") && !strings.EqualFold(r.Header["Upgrade"][0], "h2c") {
				return r.Header["Upgrade"][0]
			}
		}
	}
	return ""
}

func (p *passage) mayUpgrade() bool {
	name := strings.ToLower(p.upgrade)
	if allowed, said := p.route.Upgrades[name]; said {
		return allowed
	}
	return p.x.chain.conf.Upgrades[name]
}

// hash works out the key that decides on the endpoint.
func (p *passage) hash() {
	for i := range p.route.Hash {
		h := &p.route.Hash[i]
		v := p.hashed(h)
		if v == "" {
			continue
		}
		p.key = append(p.key, v...)
		p.key = append(p.key, 0)
		if h.Terminal {
			return
		}
	}
}

func (p *passage) hashed(h *resource.HashPolicy) string {
	switch h.Kind {
	case resource.HashHeader:
		return strings.Join(p.in.Header[h.Name], ",")
	case resource.HashQuery:
		v, _ := p.x.request.QueryValue(h.Name)
		return v
	case resource.HashCookie:
		if c, err := p.in.Cookie(h.Name); err == nil {
			return c.Value
		}
		if h.TTL == nil {
			return ""
		}
		c := http.Cookie{Name: h.Name, Value: strings.ReplaceAll(newID(), "-", ""), Path: h.Path, HttpOnly: true} //nolint:gosec // of an endpoint, no secret; Secure would keep it from plain clients
		c.MaxAge = int(*h.TTL / time.Second)
		p.w.Header().Add("Set-Cookie", c.String())
		return c.Value
	default:
		return p.x.client
	}
}
