package controlplane

import (
	"context"

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

// StatusSink is told what became of objects. Kubernetes writes it into their
// status (its Lease holder does, the others pass over it), files log it.
type StatusSink interface {
	// SetStatus is called from the engine's goroutine whenever something has
	// changed, with a value that is not changed afterwards. It must not block: a
	// sink keeps the newest per object and writes in its own time, at a bounded
	// rate. After a change of leader it writes what it was told before.
	SetStatus(ref inventory.Ref, status inventory.Status)
}

// Reviewer says whose token it is: TokenReview with the audience dragoman, and
// then the expiry of the token's own claim.
type Reviewer interface {
	// Review gives ErrUnauthenticated of the inventory for a token that is not
	// good, and other errors when nobody could be asked. Positive answers may be
	// cached for a minute at most and never past Identity.Expires; negative ones
	// for seconds, within a bounded number of entries, by hash and not by token.
	Review(ctx context.Context, token string) (inventory.Identity, error)
}

// Besides, the file source reads plain Kubernetes YAML, and so it needs from
// pkg/kube the pure conversions that its informers use: of a Service with its
// EndpointSlices (and the pods behind them) into an inventory.Service, of a
// Secret, a ConfigMap, a Pod and a Namespace into theirs.
