package http

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// RouterBuilder makes routers: the last filter of a chain, which does what the
// request's route says. It keeps the connections to clusters.
type RouterBuilder struct {
	log     *slog.Logger
	pools   *pool.Pools
	loops   *loopWorkers
	metrics *upstreamMetrics
}

// NewRouterBuilder returns a builder without connections.
func NewRouterBuilder(log *slog.Logger) *RouterBuilder {
	return &RouterBuilder{log: log, pools: pool.New(), loops: &loopWorkers{}, metrics: newUpstreamMetrics()}
}

// BuildHTTP implements filters.HTTPBuilder for a *resource.RouterFilter.
func (b *RouterBuilder) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	conf, ok := cfg.(*resource.RouterFilter)
	if !ok {
		return nil, fmt.Errorf("building a router for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	log := ctx.Log
	if log == nil {
		log = b.log
	}
	return &router{conf: conf, pools: b.pools, loops: b.loops, log: log}, nil
}

// Drain implements filters.Drainer: idle connections are closed.
func (b *RouterBuilder) Drain(context.Context) error {
	b.pools.Close()
	b.loops.close()
	return nil
}

// Describe implements prometheus.Collector.
func (b *RouterBuilder) Describe(ch chan<- *prometheus.Desc) { b.metrics.describe(ch) }

// Collect implements prometheus.Collector.
func (b *RouterBuilder) Collect(ch chan<- prometheus.Metric) { b.metrics.collect(ch, b.pools.All()) }

// router does what a request's route says.
type router struct {
	conf  *resource.RouterFilter
	pools *pool.Pools
	loops *loopWorkers
	log   *slog.Logger
}

// Close implements filters.HTTP.
func (*router) Close() {}

// Handler implements filters.HTTP. Nothing comes after a router.
func (rt *router) Handler(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, ok := filters.ExchangeOf(r.Context()).(*exchange)
		if !ok {
			w.WriteHeader(http.StatusInternalServerError) // not beneath a connection manager
			return
		}
		rt.serve(w, r, x)
	})
}

func (rt *router) serve(w http.ResponseWriter, r *http.Request, x *exchange) {
	if !rt.answers(w, x) {
		rt.forward(w, r, x)
	}
}

// answers gives the answers that need no cluster; false: the request goes to one.
func (rt *router) answers(w http.ResponseWriter, x *exchange) bool {
	switch {
	case x.route == nil:
		x.answer(w, http.StatusNotFound, "NR", "route_not_found", nil)
	case x.host.RequireTLS == resource.TLSRequired && x.request.Scheme != "https",
		x.host.RequireTLS == resource.TLSRequiredExternal && x.request.Scheme != "https" && !x.internal:
		secure := resource.Redirect{Scheme: "https"}
		w.Header().Set("Location", route.Location(&secure, &x.route.Match.Path, &x.request))
		x.answer(w, http.StatusMovedPermanently, "", "direct_response", nil)
	case x.route.Redirect != nil:
		w.Header().Set("Location", route.Location(x.route.Redirect, &x.route.Match.Path, &x.request))
		x.answer(w, x.route.Redirect.Status, "", "direct_response", nil)
	case x.route.Direct != nil:
		if d := x.route.Direct; len(d.Body) > 0 && w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "text/plain")
		}
		x.answer(w, x.route.Direct.Status, "", "direct_response", x.route.Direct.Body)
	default:
		return false
	}
	return true
}

// answer is a response of the proxy's own. gRPC clients get it as a status.
func (x *exchange) answer(w http.ResponseWriter, status int, flag, detail string, body []byte) {
	x.Explain(flag, detail)
	h := w.Header()
	if route.IsGRPC(x.request.Header) && (status < 200 || status >= 300) {
		h.Set("Content-Type", "application/grpc")
		h.Set("Grpc-Status", strconv.Itoa(grpcStatus(status)))
		h.Set("Grpc-Message", detail)
		w.WriteHeader(http.StatusOK)
		return
	}
	if bodyAllowed(status) {
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if len(body) > 0 && bodyAllowed(status) {
		_, _ = w.Write(body) // a client that is gone needs no answer
	}
}

// fail answers with a short text, as Envoy does.
func (x *exchange) fail(w http.ResponseWriter, status int, flag, detail, text string) {
	if x.writer.status != 0 {
		x.Explain(flag, detail)
		x.abort() // too late for an answer
		return
	}
	if text != "" {
		w.Header().Set("Content-Type", "text/plain")
	}
	x.answer(w, status, flag, detail, []byte(text))
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// grpcStatus is gRPC's mapping of what HTTP says.
func grpcStatus(status int) int {
	switch status {
	case http.StatusBadRequest:
		return 13 // INTERNAL
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return 14 // UNAVAILABLE
	case http.StatusGatewayTimeout: // of a route, not of a server that is no gRPC server
		return 4 // DEADLINE_EXCEEDED
	default:
		return 2 // UNKNOWN
	}
}

// draw chooses one of several clusters.
func draw(f *resource.Forward) *resource.WeightedCluster {
	at := rand.Uint32N(f.TotalWeight) // load balancing, not a secret
	for i := range f.Weighted {
		if w := &f.Weighted[i]; at < w.Weight {
			return w
		}
		at -= f.Weighted[i].Weight
	}
	return &f.Weighted[len(f.Weighted)-1]
}
