package tcp

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// policied is a cluster that knows how its endpoints are to be chosen.
type policied interface {
	LoadBalancing() resource.LoadBalancing
}

// entry is an endpoint with what the balancer knows of it.
type entry struct {
	endpoint *filters.Endpoint
	open     *atomic.Int64 // connections of this filter
	failed   *atomic.Bool  // the last connect failed
}

// balancer chooses an endpoint for a connection. It may be used by all loops.
// Round robin and random are the table's own picker; what needs to know of
// connections, and what to do when the first choice will not do, is here.
type balancer struct {
	// read-only after construction
	leastRequest bool
	choices      int // endpoints drawn by least_request

	view atomic.Pointer[view]

	mu sync.Mutex // guards making a view
}

// view is a table as the balancer uses it: immutable.
type view struct {
	table   *filters.Table
	entries []entry
}

func newBalancer(c filters.Cluster) *balancer {
	b := &balancer{choices: 2}
	if p, ok := c.(policied); ok {
		lb := p.LoadBalancing()
		b.leastRequest = lb.Policy == resource.LBLeastRequest
		b.choices = max(int(lb.ChoiceCount), b.choices)
	}
	return b
}

// pick chooses an endpoint that is not among tried: a healthy one, or any when
// none is healthy; nil when nothing is left.
func (b *balancer) pick(t *filters.Table, tried []*filters.Endpoint) *entry {
	v := b.current(t)
	for _, onlyHealthy := range []bool{true, false} {
		list := make([]*entry, 0, len(v.entries))
		for i := range v.entries {
			e := &v.entries[i]
			if (e.endpoint.Healthy() || !onlyHealthy) && !e.full(t) && !slices.Contains(tried, e.endpoint) {
				list = append(list, e)
			}
		}
		if len(list) > 0 {
			return b.choose(t, list)
		}
	}
	return nil
}

// full says that the endpoint has as many connections as it may have.
func (e *entry) full(t *filters.Table) bool {
	return t.Options != nil && t.Options.MaxConnections > 0 && e.open.Load() >= int64(t.Options.MaxConnections)
}

func (b *balancer) choose(t *filters.Table, list []*entry) *entry {
	if !b.leastRequest && t.Picker != nil {
		if i := t.Picker.Pick(nil); i >= 0 && i < len(t.Shards) {
			at := slices.IndexFunc(list, func(e *entry) bool { return e.endpoint == t.Shards[i].Primary })
			if at >= 0 {
				return list[at]
			}
		}
	}
	total := uint64(0)
	for _, e := range list {
		total += weight(e)
	}
	best := at(list, rand.Uint64N(total)) // load balancing, not a secret
	if !b.leastRequest {
		return best
	}
	for range b.choices - 1 {
		e := at(list, rand.Uint64N(total)) // load balancing, not a secret
		if e.before(best) {
			best = e
		}
	}
	return best
}

// before reports whether least_request takes e rather than best: one that refuses
// connections has few of them, and comes after all others.
func (e *entry) before(best *entry) bool {
	if refused := e.endpoint.RefusedLately(); refused != best.endpoint.RefusedLately() {
		return !refused
	}
	return e.open.Load() < best.open.Load()
}

// at finds the endpoint at a point of the line on which each takes its weight.
func at(list []*entry, point uint64) *entry {
	for _, e := range list {
		w := weight(e)
		if point < w {
			return e
		}
		point -= w
	}
	return list[len(list)-1]
}

func weight(e *entry) uint64 { return uint64(max(e.endpoint.Weight, 1)) }

// find returns the entry of the endpoint at the same address, spoken to in the
// same way; nil when the table has none.
func (b *balancer) find(t *filters.Table, old *filters.Endpoint) *entry {
	v := b.current(t)
	for i := range v.entries {
		e := v.entries[i].endpoint
		if e == old || e.Network == old.Network && e.Address == old.Address && (e.TLS == nil) == (old.TLS == nil) {
			return &v.entries[i]
		}
	}
	return nil
}

// current returns the view of a table. Endpoints that an earlier one had keep
// their counts.
func (b *balancer) current(t *filters.Table) *view {
	if v := b.view.Load(); v != nil && v.table == t {
		return v
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	old := b.view.Load()
	if old != nil && (old.table == t || old.table.Version > t.Version) {
		return old
	}
	known := map[*filters.Endpoint]entry{}
	if old != nil {
		for _, e := range old.entries {
			known[e.endpoint] = e
		}
	}
	v := &view{table: t}
	add := func(ep *filters.Endpoint) {
		e, ok := known[ep]
		if !ok {
			e = entry{endpoint: ep, open: new(atomic.Int64), failed: new(atomic.Bool)}
		}
		v.entries = append(v.entries, e)
	}
	for i := range t.Shards {
		if p := t.Shards[i].Primary; p != nil {
			add(p)
		}
		for _, r := range t.Shards[i].Replicas {
			add(r)
		}
	}
	b.view.Store(v)
	return v
}
