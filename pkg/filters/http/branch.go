package http

import (
	"net/http"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// branchPicks is how many endpoints are looked at for one that no other branch
// has.
const branchPicks = 5

// Cluster implements filters.Brancher.
func (x *exchange) Cluster(name string) (filters.Cluster, bool) {
	if x.routes == nil {
		return nil, false
	}
	if name == "" && x.route != nil && x.route.Forward != nil {
		name = x.route.Forward.Cluster
	}
	return x.routes.clusters.Cluster(name)
}

// Explanation implements filters.Brancher.
func (x *exchange) Explanation() (flag, detail string) { return x.flag, x.detail }

// Branch implements filters.Brancher.
func (x *exchange) Branch(w http.ResponseWriter, r *http.Request, to filters.Branch) (http.ResponseWriter, *http.Request) {
	b := &exchange{
		chain: x.chain, start: x.start, original: x.original, internal: x.internal, client: x.client,
		routes: x.routes, host: x.host, route: x.route, branch: to, within: true, spans: x.spans.branch(),
		request: route.Request{
			Method: r.Method, Scheme: x.request.Scheme, Host: r.Host, Header: r.Header, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery,
		},
	}
	if x.route != nil && x.route.Forward != nil {
		b.route = branchRoute(x.route, &to)
	}
	b.writer = responseWriter{ResponseWriter: w, x: b}
	return &b.writer, r.WithContext(b.context(r.Context()))
}

// branchRoute is the route to a branch's cluster.
func branchRoute(of *resource.Route, to *filters.Branch) *resource.Route {
	r, f := *of, *of.Forward
	r.Forward = &f
	f.Weighted, f.Mirrors, f.Upgrades = nil, nil, nil
	if to.Cluster != "" {
		f.Cluster, f.ClusterHeader = to.Cluster, ""
	}
	if to.Timeout > 0 {
		f.Timeout = to.Timeout
	}
	return &r
}
