// Package filters holds the contracts between listeners, filters and clusters.
//
// A filter is one folder under pkg/filters and one line in
// pkg/filters/standard. It is a state machine without I/O: its connections are
// [netloop.Driver]s, and what it may know of clusters is [Cluster].
package filters

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// Network is a terminal network filter, configured for one listener. It is
// read-only after Build and shared by all loops.
//
// Who does what: the listener accepts and closes refused connections; the
// filter answers, closes its own connections and logs what it refuses.
type Network interface {
	// Accept returns the driver of a new downstream connection. It runs on the
	// connection's loop.
	Accept(c *netloop.Conn) netloop.Driver

	// Retire says that this filter's time is over. Its connections move to
	// r.Next, or end, as r says. It returns at once; r.Done is called, on any
	// goroutine, when the last connection has left.
	Retire(r Retirement)
}

// Starter is a Network that works by itself, on an internal listener. Nothing of
// its work is to be felt before it is started.
type Starter interface {
	// Start is called once, after the listener was committed, and only where it
	// takes nobody's place; else the one before is retired with it as its Next, and
	// starts it. It returns at once.
	Start()
}

// Mover is a Network whose connections keep to one endpoint each.
type Mover interface {
	// EndpointsMoved says that a cluster has other endpoints than before.
	// Connections to those that are gone may go on for deadline at most.
	EndpointsMoved(deadline time.Duration)
}

// Retirement tells a filter how its connections are to leave.
type Retirement struct {
	// Next took this filter's place on the same listener; nil when the
	// listener is gone.
	Next Network
	// Cut ends all connections at once, also those that could move; otherwise
	// they may go on until a boundary of their protocol, for Deadline at most.
	Cut      bool
	Deadline time.Duration
	Done     func()
}

// Context is what a filter may use while it is built and afterwards.
type Context struct {
	Listener    string // name of the listener resource
	Filter      string // of an HTTP filter: its name in the chain
	Environment string // the environment that was chosen, if any
	Zone        string // where this proxy runs, for zone affinity
	// DrainDeadline bounds what connections may go on for whose endpoint is not the
	// right one any more.
	DrainDeadline time.Duration
	Clusters      ClusterSource
	Secrets       SecretSource
	Routes        RouteSource            // by RDS; nil: there are none
	Metrics       prometheus.Gatherer    // of the process; nil: there are none to be had
	Loops         func() []*netloop.Loop // all loops of the process
	Tracer        trace.Tracer           // nil: nobody collects spans
	Log           *slog.Logger
}

// Builder makes network filters of one kind. It outlives the filters and so
// keeps what must survive a change of configuration: counters and pools.
// It exports them as Prometheus metrics.
type Builder interface {
	prometheus.Collector
	// Build makes a filter from its validated configuration, one of the filter
	// structs of pkg/xds/resource. An error refuses the whole snapshot.
	Build(cfg any, ctx Context) (Network, error)
}

// ClusterSource finds running clusters by resource name.
type ClusterSource interface {
	Cluster(name string) (Cluster, bool)
}

// SecretSource reads generic secrets by SDS resource name, "name/key" where one
// has several values. The value may change while the process runs: read it each
// time it is used.
type SecretSource interface {
	Secret(name string) (string, error)
}

// SecretRefetcher is a SecretSource that can be asked to get a secret anew, from
// whoever has it. Refetch does not wait: another value is there when it has come.
type SecretRefetcher interface {
	SecretSource
	Refetch(name string)
}

// RouteSource finds route configurations by RDS resource name. They may change
// while the process runs, and so they are looked up for each request.
type RouteSource interface {
	Routes(name string) (Routes, bool)
}

// Routes is a route configuration with the clusters that its names mean.
type Routes struct {
	Config   any // a *resource.RouteConfig of pkg/xds/resource
	Clusters ClusterSource
}

// Drainer is a Builder whose connections can be asked to finish, at shutdown.
type Drainer interface {
	Drain(ctx context.Context) error
}
