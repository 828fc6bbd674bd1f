// Package transform is the HTTP filter of API adapters: it changes requests on
// their way to an app, and its responses, as the route of the request says.
package transform

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Builder makes filters.
type Builder struct{}

// NewBuilder returns a builder.
func NewBuilder() *Builder { return &Builder{} }

// BuildHTTP implements filters.HTTPBuilder for a *resource.TransformFilter.
func (*Builder) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	if _, ok := cfg.(*resource.TransformFilter); !ok {
		return nil, fmt.Errorf("building a transform filter for listener %q: configuration is a %T", ctx.Listener, cfg)
	}
	return &filter{name: ctx.Filter}, nil
}

// Describe implements prometheus.Collector.
func (*Builder) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (*Builder) Collect(chan<- prometheus.Metric) {}

// filter is one listener's.
type filter struct {
	// read-only after construction
	name string // in the chain, by which routes configure it
}

// Close implements filters.HTTP.
func (*filter) Close() {}

// Handler implements filters.HTTP.
func (f *filter) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := filters.ExchangeOf(r.Context())
		conf, ok := x.FilterConfig(f.name).(*resource.TransformRoute)
		switch {
		case !ok:
			next.ServeHTTP(w, r)
		case conf.Problem != nil:
			refuse(w, r, conf.Problem)
		default:
			serve(w, r, conf, next)
		}
	})
}

// serve has next answer the request as the route changes it.
func serve(w http.ResponseWriter, r *http.Request, conf *resource.TransformRoute, next http.Handler) {
	v := newValues(r, conf.Path)
	if conf.Response != nil {
		w = &responseWriter{ResponseWriter: w, conf: conf.Response, values: v}
	}
	if conf.Request != nil {
		changed, err := changeRequest(r, conf.Request, v)
		if err != nil {
			refuse(w, r, &resource.TransformProblem{Status: http.StatusBadRequest, Detail: err.Error()})
			return
		}
		r = changed
	}
	next.ServeHTTP(w, r)
}
