package upstream

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// balance is how a cluster's load-balancing policy maps keys to shards.
type balance struct {
	spec resource.LoadBalancing
	hash keyhash.Func // nil with policies that hash nothing
}

// newBalance refuses what no distribution can be built from.
func newBalance(spec resource.LoadBalancing) (*balance, error) {
	b := &balance{spec: spec}
	if !b.byKey() {
		return b, nil
	}
	if spec.Policy != resource.LBTwemRandom {
		hash, ok := keyhash.Lookup(spec.Hash)
		if !ok {
			return nil, fmt.Errorf("unknown hash %q", spec.Hash)
		}
		b.hash = hash
	}
	_, err := b.distribution([]distribution.Member{{Name: "a"}, {Name: "b"}})
	return b, err
}

// byKey says whether shards are chosen by key, so that each has keys of its own.
func (b *balance) byKey() bool {
	switch b.spec.Policy {
	case resource.LBKetama, resource.LBModula, resource.LBTwemRandom, resource.LBRingHash, resource.LBMaglev:
		return true
	default:
		return false
	}
}

// likeTwemproxy says whether the names that are hashed are twemproxy's.
func (b *balance) likeTwemproxy() bool {
	switch b.spec.Policy {
	case resource.LBKetama, resource.LBModula, resource.LBTwemRandom:
		return true
	default:
		return false
	}
}

func (b *balance) distribution(members []distribution.Member) (distribution.Distribution, error) {
	switch b.spec.Policy {
	case resource.LBKetama:
		return distribution.NewKetama(members), nil
	case resource.LBModula:
		return distribution.NewModula(members), nil
	case resource.LBTwemRandom:
		return distribution.NewRandom(members, rand.Uint64), nil
	case resource.LBRingHash:
		if b.spec.RingFunction == resource.RingMurmur2 {
			return distribution.NewRingHashMurmur2(members, b.spec.MinRing, b.spec.MaxRing)
		}
		return distribution.NewRingHash(members, b.spec.MinRing, b.spec.MaxRing)
	case resource.LBMaglev:
		return distribution.NewMaglev(members, b.spec.TableSize)
	default:
		return nil, fmt.Errorf("policy %q distributes nothing", b.spec.Policy)
	}
}

// keyed picks by key among the shards that are live.
type keyed struct {
	hash         keyhash.Func // nil: the distribution is random
	distribution distribution.Distribution
	live         []int // indexes into the table's shards, as the distribution counts them
}

// Pick implements filters.Picker.
func (k *keyed) Pick(key []byte) int {
	var h uint64
	if k.hash != nil {
		h = k.hash(key)
	}
	i := k.distribution.Pick(h)
	if i < 0 {
		return -1
	}
	return k.live[i]
}

// keyed builds the picker over the live shards.
func (b *balance) keyed(shards []shardSpec, live []int) (*keyed, error) {
	members := make([]distribution.Member, len(live))
	for i, at := range live {
		members[i] = distribution.Member{Name: shards[at].hashKey, Weight: shards[at].weight}
	}
	d, err := b.distribution(members)
	if err != nil {
		return nil, err
	}
	return &keyed{hash: b.hash, distribution: d, live: live}, nil
}

// rotating picks shards in turn, by weight, whatever the key: of the first
// priority that has a healthy one. With nothing healthy it goes on in turn, so
// that a mistaken verdict does not take everything away.
type rotating struct {
	shards []filters.Shard
	levels [][]int // per priority, the order of a turn
	random bool
	next   atomic.Uint64
}

// maxTurn bounds the length of a turn; beyond it weights are ignored.
const maxTurn = 1 << 12

func newRotating(specs []shardSpec, shards []filters.Shard, random bool) *rotating {
	byPriority := make(map[uint32][]int)
	var priorities []uint32
	for i := range specs {
		p := specs[i].priority()
		if _, ok := byPriority[p]; !ok {
			priorities = append(priorities, p)
		}
		byPriority[p] = append(byPriority[p], i)
	}
	slices.Sort(priorities)
	r := &rotating{shards: shards, random: random}
	for _, p := range priorities {
		r.levels = append(r.levels, turn(specs, byPriority[p]))
	}
	return r
}

func (s *shardSpec) priority() uint32 {
	if len(s.targets) == 0 {
		return 0
	}
	return s.targets[0].priority
}

// turn spreads the shards over a turn, each as often as it weighs (the smooth
// weighted round robin of nginx).
func turn(specs []shardSpec, members []int) []int {
	var total uint64
	for _, i := range members {
		total += uint64(max(specs[i].weight, 1))
	}
	if total == uint64(len(members)) || total > maxTurn {
		return members
	}
	order := make([]int, 0, total)
	current := make([]int64, len(members))
	for range total {
		best := 0
		for j, i := range members {
			current[j] += int64(max(specs[i].weight, 1))
			if current[j] > current[best] {
				best = j
			}
		}
		current[best] -= int64(total)
		order = append(order, members[best])
	}
	return order
}

// Pick implements filters.Picker.
func (r *rotating) Pick([]byte) int {
	n := r.next.Add(1) - 1
	if r.random {
		n = rand.Uint64()
	}
	for _, level := range r.levels {
		start := int(n % uint64(len(level)))
		for i := range level {
			at := level[(start+i)%len(level)]
			if p := r.shards[at].Primary; p != nil && p.Healthy() {
				return at
			}
		}
	}
	if len(r.levels) == 0 {
		return -1
	}
	return r.levels[0][n%uint64(len(r.levels[0]))]
}
