package http_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// engine is what serves the requests of a connection that goes to a cluster. Both
// must behave the same.
type engine string

const (
	loops      engine = "loops"
	goroutines engine = "goroutines"
)

// overEngines runs a test over both.
func overEngines(t *testing.T, test func(t *testing.T, e engine)) {
	t.Helper()
	t.Parallel()
	for _, e := range []engine{loops, goroutines} {
		t.Run(string(e), func(t *testing.T) {
			t.Parallel()
			test(t, e)
		})
	}
}

// proxy is a listener with a router in front of some clusters. A chain of more
// than a router is served by goroutines.
func (e engine) proxy(t *testing.T, conf *resource.HTTPManager, clusters ...*resource.Cluster) *host {
	t.Helper()
	return proxy(t, e.chain(conf), clusters...)
}

// chain is a configuration that the engine serves.
func (e engine) chain(conf *resource.HTTPManager) *resource.HTTPManager {
	if e == loops {
		return conf
	}
	pass := resource.HTTPFilter{Name: "pass", Config: &answer{
		func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) },
	}}
	c := *conf
	c.Filters = slices.Insert(slices.Clone(conf.Filters), 0, pass)
	return &c
}

// before is a proxy in front of an app.
func (e engine) before(t *testing.T, serve http.HandlerFunc) *host {
	t.Helper()
	return e.proxy(t, routing(toCluster(t, "")), clusterOf("c", app(t, serve)))
}
