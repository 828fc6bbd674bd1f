package controlplane

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/trust"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
)

// Source fills the inventory and follows changes. pkg/kube has one, package
// files has the other.
//
// A source Puts and Deletes with the time at which it observed the change (the
// arrival of the watch event, the notification of the file system): convergence
// is counted from there. An object that is there and cannot be used is Put with
// Object.Err. Services come joined with their endpoints.
type Source interface {
	// Run follows until ctx is done. It returns early only with an error that
	// makes going on pointless.
	Run(ctx context.Context, into *inventory.Store) error
	// Synced is closed once everything that was there at the start is in the
	// inventory. Before that nothing is served.
	Synced() <-chan struct{}
}

// Webhooks are what an API server asks before it stores an object.
type Webhooks interface {
	http.Handler
	prometheus.Collector
}

// Platform is what a control plane runs on: Kubernetes, or files.
type Platform struct {
	Store  *inventory.Store
	Source Source
	// Status is told what became of objects. It must not block: a sink keeps the
	// newest per object and writes in its own time.
	Status engine.StatusSink
	// Reviewer says whose token of a service account it is; nil: there are none.
	Reviewer trust.Reviewer
	// Authority is where the authority of the certificate is kept.
	Authority trust.Store
	// Webhooks answer the API server; nil: there are none.
	Webhooks Webhooks
	// Tasks run beside everything else. They end first, so that another replica
	// takes over while this one drains.
	Tasks []func(ctx context.Context) error
	// Problems are what /config_dump shows of the source; nil: nothing.
	Problems func() []string
	// Reload has the source look again; nil: it always looks.
	Reload func()
}
