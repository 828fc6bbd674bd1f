package upstream

import "sync/atomic"

// stats counts what happened in one cluster, over all its configurations.
type stats struct {
	checks          atomic.Uint64
	checkFailures   atomic.Uint64
	ejections       atomic.Uint64
	refreshes       atomic.Uint64
	refreshFailures atomic.Uint64
	dnsFailures     atomic.Uint64
	primaryChanges  atomic.Uint64
}
