// Package standard is the one list of built-in network filters.
package standard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/filters/logs"
	"github.com/dragoman-mesh/dragoman/pkg/filters/mysql"
	"github.com/dragoman-mesh/dragoman/pkg/filters/postgres"
	"github.com/dragoman-mesh/dragoman/pkg/filters/redis"
	"github.com/dragoman-mesh/dragoman/pkg/filters/tcp"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Filters returns every built-in filter, with builders of their own.
func Filters(log *slog.Logger) *Registry {
	r := NewRegistry()
	r.Register((*resource.RedisFilter)(nil), redis.NewBuilder(log))
	r.Register((*resource.TCPFilter)(nil), tcp.NewBuilder())
	r.Register((*resource.PostgresFilter)(nil), postgres.NewBuilder(log))
	r.Register((*resource.MySQLFilter)(nil), mysql.NewBuilder(log))
	r.Register((*resource.LogsFilter)(nil), logs.NewBuilder(log, logs.Options{}))
	r.Register((*resource.HTTPManager)(nil), http.NewBuilder(log, HTTPFilters(log)))
	return r
}

// Registry finds the builder of a filter by the type of its configuration. It
// is read-only once filled.
type Registry struct {
	byType map[reflect.Type]filters.Builder
	list   []filters.Builder // in the order of registration
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry { return &Registry{byType: map[reflect.Type]filters.Builder{}} }

// Register adds a builder for configurations of cfg's type. It panics when
// there is one already: that is a mistake of the program.
func (r *Registry) Register(cfg any, b filters.Builder) {
	t := reflect.TypeOf(cfg)
	if _, dup := r.byType[t]; dup {
		panic(fmt.Sprintf("standard: two filters for %v", t))
	}
	r.byType[t] = b
	r.list = append(r.list, b)
}

// ErrUnknownFilter is returned by Build for a configuration of a type that
// nobody registered.
var ErrUnknownFilter = errors.New("unknown filter")

// Build makes a filter with the builder that is registered for cfg's type.
func (r *Registry) Build(cfg any, ctx filters.Context) (filters.Network, error) {
	b, ok := r.byType[reflect.TypeOf(cfg)]
	if !ok {
		return nil, fmt.Errorf("listener %q: %w: %T", ctx.Listener, ErrUnknownFilter, cfg)
	}
	return b.Build(cfg, ctx)
}

// Builders lists the builders in the order of registration.
func (r *Registry) Builders() []filters.Builder { return slices.Clone(r.list) }

// Drain lets the connections of all filters finish, until ctx is done.
func (r *Registry) Drain(ctx context.Context) error {
	return filters.Together(r.list, func(b filters.Builder) error {
		if d, ok := b.(filters.Drainer); ok {
			return d.Drain(ctx)
		}
		return nil
	})
}
