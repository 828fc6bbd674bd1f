// Package pool keeps the connections to clusters that speak HTTP: it chooses
// endpoints, dials, keeps idle connections, and holds to the circuit breakers.
package pool

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// Errors of a pool. All are from before anything was sent.
var (
	ErrOverflow = errors.New("circuit breaker is open")
	errClosed   = errors.New("pool is closed")
)

// ConnectError says that an endpoint could not be connected to.
type ConnectError struct {
	Endpoint string
	Err      error
	Timeout  bool
}

// Error implements error.
func (e *ConnectError) Error() string { return fmt.Sprintf("connecting to %s: %v", e.Endpoint, e.Err) }

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// Pools are the connections to all clusters, by their names. They outlive the
// filters that use them.
type Pools struct {
	mu       sync.Mutex
	clusters map[string]*Cluster // guarded by mu
}

// New returns pools without connections.
func New() *Pools { return &Pools{clusters: map[string]*Cluster{}} }

// Cluster returns the connections to a cluster, whose endpoints are those of c
// from now on.
func (p *Pools) Cluster(c filters.Cluster) *Cluster {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.clusters[c.Name()]
	if !ok {
		k = &Cluster{name: c.Name(), hosts: map[*filters.Endpoint]*host{}}
		p.clusters[c.Name()] = k
	}
	k.source.Store(&c)
	return k
}

// Close closes idle connections; those in use are closed when given back.
func (p *Pools) Close() {
	for _, k := range p.All() {
		k.close()
	}
}

// All lists the clusters.
func (p *Pools) All() []*Cluster {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := make([]*Cluster, 0, len(p.clusters))
	for _, k := range p.clusters {
		list = append(list, k)
	}
	return list
}

// Counters are what a cluster has counted.
type Counters struct {
	Requests, Retries, RetriesRefused, Connects, ConnectFailures, Overflows, Resets, Timeouts atomic.Uint64
	Classes                                                                                   [6]atomic.Uint64 // of status, by its first digit
	Active, Open, Pending, Retrying                                                           atomic.Int64
}

// Cluster is the connections to one cluster.
type Cluster struct {
	Counters
	name   string
	source atomic.Pointer[filters.Cluster]

	mu      sync.Mutex // guards below
	hosts   map[*filters.Endpoint]*host
	waiting []*Wait // for a connection to be given back or closed
	onFull  []func()
	sweeper *time.Timer
	closed  bool
}

// Name returns the cluster's name.
func (k *Cluster) Name() string { return k.name }

func (k *Cluster) options() *filters.UpstreamOptions { return (*k.source.Load()).Table().Options }

// Enter counts a request in; ErrOverflow when there are as many as may be. A
// request that entered leaves by Leave.
func (k *Cluster) Enter() error {
	n := k.Active.Add(1)
	o := k.options()
	if o != nil && o.HTTP.MaxRequests > 0 && n > int64(o.HTTP.MaxRequests) {
		k.Active.Add(-1)
		k.Overflows.Add(1)
		return ErrOverflow
	}
	k.Requests.Add(1)
	return nil
}

// Leave counts a request out.
func (k *Cluster) Leave() { k.Active.Add(-1) }

// defaultRetries and minimum are the budget of a cluster that names none.
const (
	defaultRetryShare   = 0.2
	defaultRetryMinimum = 3
)

// MayRetry counts a retry in if the budget allows it; DoneRetry counts it out.
func (k *Cluster) MayRetry() bool {
	n := k.Retrying.Add(1)
	var h filters.HTTPUpstream
	if o := k.options(); o != nil {
		h = o.HTTP
	}
	limit := int64(h.MaxRetries)
	if limit == 0 || h.RetryBudget > 0 {
		share, least := h.RetryBudget, int64(h.RetryMinimum)
		if share == 0 {
			share, least = defaultRetryShare, defaultRetryMinimum
		}
		limit = max(least, int64(share*float64(k.Active.Load())))
	}
	if n > limit {
		k.Retrying.Add(-1)
		k.RetriesRefused.Add(1)
		return false
	}
	k.Retries.Add(1)
	return true
}

// DoneRetry ends what MayRetry has allowed.
func (k *Cluster) DoneRetry() { k.Retrying.Add(-1) }

func (k *Cluster) host(ep *filters.Endpoint) *host {
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.hosts[ep]
	if !ok {
		h = &host{cluster: k, endpoint: ep}
		k.hosts[ep] = h
	}
	return h
}

// active is how many requests an endpoint has.
func (k *Cluster) active(ep *filters.Endpoint) int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h, ok := k.hosts[ep]; ok {
		return h.active.Load()
	}
	return 0
}

// sweepEvery is how long an idle connection may outlive its time, or that of
// its endpoint.
const sweepEvery = 5 * time.Second

// sweepLater has idle connections looked at, once for any number of calls.
func (k *Cluster) sweepLater() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sweeper == nil && !k.closed {
		k.sweeper = time.AfterFunc(sweepEvery, k.sweep)
	}
}

// sweep closes idle connections that are too old, or whose endpoint is gone.
func (k *Cluster) sweep() {
	now := time.Now()
	known := k.Known()
	k.mu.Lock()
	k.sweeper = nil
	hosts := make([]*host, 0, len(k.hosts))
	for _, h := range k.hosts {
		hosts = append(hosts, h)
	}
	k.mu.Unlock()
	again := false
	for _, h := range hosts {
		if h.sweep(now, known[h.endpoint]) {
			again = true
		} else if !known[h.endpoint] {
			k.forget(h)
		}
	}
	if again {
		k.sweepLater()
	}
}

func (k *Cluster) forget(h *host) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if h.active.Load() == 0 {
		delete(k.hosts, h.endpoint)
	}
}

func (k *Cluster) close() {
	k.mu.Lock()
	k.closed = true
	if k.sweeper != nil {
		k.sweeper.Stop()
	}
	hosts := make([]*host, 0, len(k.hosts))
	for _, h := range k.hosts {
		hosts = append(hosts, h)
	}
	k.mu.Unlock()
	for _, h := range hosts {
		h.sweep(time.Now(), false)
	}
}
