package pool

import (
	"math/rand/v2"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// policied is a cluster that knows how its endpoints are to be chosen.
type policied interface {
	LoadBalancing() resource.LoadBalancing
}

// Pick chooses an endpoint for a key, which matters with ring_hash and maglev
// only (nil: anyone): a healthy one that is not among tried, else one that is
// not healthy, else nil. attempts bounds the picks that the policy may make to
// avoid those tried.
func (k *Cluster) Pick(key []byte, tried []*filters.Endpoint, attempts int) *filters.Endpoint {
	c := *k.source.Load()
	t := c.Table()
	if len(t.Shards) == 1 && len(t.Shards[0].Replicas) == 0 && len(tried) == 0 {
		return t.Shards[0].Primary
	}
	if p, ok := c.(policied); ok && p.LoadBalancing().Policy == resource.LBLeastRequest {
		return k.least(t, tried, max(2, int(p.LoadBalancing().ChoiceCount)))
	}
	if t.Picker != nil {
		if key == nil {
			key = randomKey()
		}
		for range max(1, attempts) {
			i := t.Picker.Pick(key)
			if i < 0 || i >= len(t.Shards) {
				break
			}
			ep := t.Shards[i].Primary
			if ep != nil && ep.Healthy() && !slices.Contains(tried, ep) {
				return ep
			}
		}
	}
	return choose(endpoints(t, tried))
}

func randomKey() []byte {
	n := rand.Uint64()
	return []byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24), byte(n >> 32), byte(n >> 40), byte(n >> 48), byte(n >> 56)}
}

// endpoints lists those that may be chosen: healthy ones, else all, of which
// those not tried come first.
func endpoints(t *filters.Table, tried []*filters.Endpoint) []*filters.Endpoint {
	var healthy, all []*filters.Endpoint
	add := func(ep *filters.Endpoint) {
		if ep == nil || slices.Contains(tried, ep) {
			return
		}
		all = append(all, ep)
		if ep.Healthy() {
			healthy = append(healthy, ep)
		}
	}
	for i := range t.Shards {
		add(t.Shards[i].Primary)
		for _, r := range t.Shards[i].Replicas {
			add(r)
		}
	}
	switch {
	case len(healthy) > 0:
		return healthy
	case len(all) > 0:
		return all
	default:
		return tried
	}
}

// choose draws one by weight.
func choose(list []*filters.Endpoint) *filters.Endpoint {
	if len(list) == 0 {
		return nil
	}
	var total uint64
	for _, e := range list {
		total += uint64(max(e.Weight, 1))
	}
	at := rand.Uint64N(total) // load balancing, not a secret
	for _, e := range list {
		w := uint64(max(e.Weight, 1))
		if at < w {
			return e
		}
		at -= w
	}
	return list[len(list)-1]
}

// least draws some, and takes the one with the fewest requests for its weight.
func (k *Cluster) least(t *filters.Table, tried []*filters.Endpoint, choices int) *filters.Endpoint {
	list := endpoints(t, tried)
	best := choose(list)
	for range choices - 1 {
		if other := choose(list); other != best && k.active(other) < k.active(best) {
			best = other
		}
	}
	return best
}
