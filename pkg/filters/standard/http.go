package standard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/bodies"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/gather"
	"github.com/dragoman-mesh/dragoman/pkg/filters/grpcjson"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/filters/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/filters/transform"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// HTTPFilters returns every built-in HTTP filter, with builders of their own.
func HTTPFilters(log *slog.Logger) *HTTPRegistry {
	r := NewHTTPRegistry()
	r.Register((*resource.RouterFilter)(nil), http.NewRouterBuilder(log))
	r.Register((*resource.MetricsFilter)(nil), metrics.NewBuilder(log))
	r.Register((*resource.TransformFilter)(nil), transform.NewBuilder())
	r.Register((*resource.GatherFilter)(nil), gather.NewBuilder())
	r.Register((*resource.GRPCJSONFilter)(nil), grpcjson.NewBuilder(log, bodies.NewBudget(grpcjson.BudgetBytes)))
	return r
}

// HTTPRegistry finds the builder of an HTTP filter by the type of its
// configuration. It is read-only once filled. It implements filters.HTTPChain.
type HTTPRegistry struct {
	byType map[reflect.Type]filters.HTTPBuilder
	list   []filters.HTTPBuilder // in the order of registration
}

// NewHTTPRegistry returns an empty registry.
func NewHTTPRegistry() *HTTPRegistry {
	return &HTTPRegistry{byType: map[reflect.Type]filters.HTTPBuilder{}}
}

// Register adds a builder for configurations of cfg's type. It panics when
// there is one already: that is a mistake of the program.
func (r *HTTPRegistry) Register(cfg any, b filters.HTTPBuilder) {
	t := reflect.TypeOf(cfg)
	if _, dup := r.byType[t]; dup {
		panic(fmt.Sprintf("standard: two HTTP filters for %v", t))
	}
	r.byType[t] = b
	r.list = append(r.list, b)
}

// BuildHTTP makes a filter with the builder that is registered for cfg's type.
func (r *HTTPRegistry) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	b, ok := r.byType[reflect.TypeOf(cfg)]
	if !ok {
		return nil, fmt.Errorf("HTTP filter %q: %w: %T", ctx.Filter, ErrUnknownFilter, cfg)
	}
	return b.BuildHTTP(cfg, ctx)
}

// Describe implements prometheus.Collector for all of them.
func (r *HTTPRegistry) Describe(ch chan<- *prometheus.Desc) {
	for _, b := range r.list {
		b.Describe(ch)
	}
}

// Collect implements prometheus.Collector for all of them.
func (r *HTTPRegistry) Collect(ch chan<- prometheus.Metric) {
	for _, b := range r.list {
		b.Collect(ch)
	}
}

// Drain lets those that can be drained finish, until ctx is done.
func (r *HTTPRegistry) Drain(ctx context.Context) error {
	var errs []error
	for _, b := range r.list {
		if d, ok := b.(filters.Drainer); ok {
			errs = append(errs, d.Drain(ctx))
		}
	}
	return errors.Join(errs...)
}
