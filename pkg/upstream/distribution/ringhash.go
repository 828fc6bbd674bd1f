package distribution

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/cespare/xxhash/v2"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
)

// Ring sizes that Envoy uses when a cluster names none, and its limit.
const (
	DefaultMinRingSize = 1024
	DefaultMaxRingSize = 8 << 20
)

// ringHash is Envoy's ring. The two slices go together.
type ringHash struct {
	points []uint64 // sorted
	owners []int32
}

type ringPoint struct {
	value uint64
	owner int32
}

// NewRingHash builds Envoy's hash ring (ring_hash_lb.cc) with xxHash64. The
// order of members matters where the ring is so small that they do not get
// whole numbers of points. It returns ErrRingSize or ErrWeights.
func NewRingHash(members []Member, minSize, maxSize uint64) (Distribution, error) {
	return newRing(members, minSize, maxSize, xxhash.Sum64)
}

// NewRingHashMurmur2 is NewRingHash for a cluster whose hash_function is
// MURMUR_HASH_2.
func NewRingHashMurmur2(members []Member, minSize, maxSize uint64) (Distribution, error) {
	return newRing(members, minSize, maxSize, keyhash.MurmurHash2)
}

func newRing(members []Member, minSize, maxSize uint64, hash keyhash.Func) (Distribution, error) {
	if minSize < 1 || minSize > maxSize || maxSize > DefaultMaxRingSize {
		return nil, fmt.Errorf("%w, not %d and %d", ErrRingSize, minSize, maxSize)
	}
	shares, least, _, err := normalize(members)
	if err != nil {
		return nil, err
	}
	if d, ok := trivial(members); ok {
		return d, nil
	}
	// The lightest member gets a whole number of points, unless that makes the
	// ring too large.
	scale := min(math.Ceil(float64(least*float64(minSize)))/least, float64(maxSize))
	points := ringPoints(members, shares, scale, hash)
	slices.SortStableFunc(points, func(a, b ringPoint) int { return cmp.Compare(a.value, b.value) })
	r := &ringHash{points: make([]uint64, len(points)), owners: make([]int32, len(points))}
	for i, p := range points {
		r.points[i], r.owners[i] = p.value, p.owner
	}
	return r, nil
}

// ringPoints gives each member points until the running total has reached the
// running sum of what is due, so that fractions carry over to the next member.
func ringPoints(members []Member, shares []float64, scale float64, hash keyhash.Func) []ringPoint {
	points := make([]ringPoint, 0, int(math.Ceil(scale))+1)
	var due float64
	var name []byte
	for owner, m := range members {
		// The conversion keeps the product from being fused into the sum, which
		// would round differently on some processors.
		due += float64(scale * shares[owner])
		name = append(append(name[:0], m.Name...), '_')
		prefix := len(name)
		for i := uint64(0); float64(len(points)) < due; i++ {
			name = strconv.AppendUint(name[:prefix], i, 10)
			points = append(points, ringPoint{hash(name), int32(owner)})
		}
	}
	return points
}

func (r *ringHash) Pick(hash uint64) int {
	i, _ := slices.BinarySearch(r.points, hash)
	if i == len(r.points) {
		i = 0
	}
	return int(r.owners[i])
}
