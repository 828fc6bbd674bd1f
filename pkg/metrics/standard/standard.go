// Package standard is the one list of kinds of sources.
package standard

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/csv"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/expvar"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/graphite"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/influx"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/jolokia"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/keyvalue"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/mysql"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/nginx"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/postgres"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/prom"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/redis"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/textfile"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/xml"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Kinds returns every kind of source. A kind is a package beneath pkg/metrics
// with a function New that takes its configuration, a struct of pkg/xds/resource,
// and a metrics.Env.
func Kinds() *Registry {
	r := &Registry{byType: make(map[reflect.Type]constructor)}
	Register(r, csv.New)
	Register(r, expvar.New)
	Register(r, graphite.New)
	Register(r, influx.New)
	Register(r, jolokia.New)
	Register(r, json.New)
	Register(r, keyvalue.New)
	Register(r, mysql.New)
	Register(r, nginx.New)
	Register(r, postgres.New)
	Register(r, prom.New)
	Register(r, redis.New)
	Register(r, statsd.New)
	Register(r, textfile.New)
	Register(r, xml.New)
	return r
}

type constructor func(cfg resource.MetricsKind, env metrics.Env) (metrics.Source, error)

// Registry finds the constructor of a source by the type of its configuration.
// It is read-only once filled.
type Registry struct {
	byType map[reflect.Type]constructor
}

// Register adds a kind. It panics when it is there already: that is a mistake of
// the program.
func Register[C resource.MetricsKind, S metrics.Source](r *Registry, open func(cfg C, env metrics.Env) (S, error)) {
	t := reflect.TypeFor[C]()
	if _, dup := r.byType[t]; dup {
		panic(fmt.Sprintf("standard: two sources for %v", t))
	}
	r.byType[t] = func(cfg resource.MetricsKind, env metrics.Env) (metrics.Source, error) {
		s, err := open(cfg.(C), env)
		if err != nil {
			return nil, err // not a nil S in an interface
		}
		return s, nil
	}
}

// ErrUnknownKind is returned by Open for a configuration of a type that nobody
// registered.
var ErrUnknownKind = errors.New("this version has no such source")

// Open makes a source. It binds what the source listens on, and asks nobody.
func (r *Registry) Open(cfg resource.MetricsKind, env metrics.Env) (metrics.Source, error) {
	open, ok := r.byType[reflect.TypeOf(cfg)]
	if !ok {
		return nil, fmt.Errorf("%w: %T", ErrUnknownKind, cfg)
	}
	return open(cfg, env)
}
