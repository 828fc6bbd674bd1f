package distribution

import (
	"cmp"
	"crypto/md5" //nolint:gosec // twemproxy places servers with it; nothing relies on its strength
	"encoding/binary"
	"math"
	"slices"
	"strconv"
)

const (
	ketamaPointsPerServer = 160
	ketamaPointsPerDigest = 4
	// ketamaHostMax is where twemproxy's buffer cuts "name-i", in bytes.
	ketamaHostMax = 272
)

// ketama is twemproxy's consistent hashing. points and owners go together.
type ketama struct {
	points []uint32 // sorted
	owners []int32
	// starts[h>>ketamaShift] is the first point that a hash h can fall on, so
	// that a pick looks at one or two points instead of searching them all.
	starts [1 << ketamaIndexBits]uint32
}

const (
	ketamaIndexBits = 10
	ketamaShift     = 32 - ketamaIndexBits
)

type ketamaPoint struct {
	value uint32
	owner int32
}

// NewKetama builds twemproxy's continuum from the live members. It uses the low
// 32 bits of a hash.
func NewKetama(members []Member) Distribution {
	if d, ok := trivial(members); ok {
		return d
	}
	points := ketamaPoints(members)
	// Stable: of two equal points twemproxy's sort leaves the one of the server
	// that is first in its order, and a lookup finds that one.
	slices.SortStableFunc(points, func(a, b ketamaPoint) int { return cmp.Compare(a.value, b.value) })
	k := &ketama{points: make([]uint32, len(points)), owners: make([]int32, len(points))}
	for i, p := range points {
		k.points[i], k.owners[i] = p.value, p.owner
	}
	k.index()
	return k
}

func (k *ketama) index() {
	i := 0
	for b := range k.starts {
		for i < len(k.points) && int(k.points[i]>>ketamaShift) < b {
			i++
		}
		k.starts[b] = uint32(i)
	}
}

func ketamaPoints(members []Member) []ketamaPoint {
	var total uint64
	for _, m := range members {
		total += m.weight()
	}
	points := make([]ketamaPoint, 0, len(members)*ketamaPointsPerServer+ketamaPointsPerServer)
	var name []byte
	for _, owner := range twemproxyOrder(members) {
		m := members[owner]
		for i := range ketamaDigests(m.weight(), total, len(members)) {
			name = append(append(name[:0], m.Name...), '-')
			name = strconv.AppendUint(name, uint64(i), 10)
			digest := md5.Sum(name[:min(len(name), ketamaHostMax)]) //nolint:gosec // see the import
			for j := range ketamaPointsPerDigest {
				value := binary.LittleEndian.Uint32(digest[4*j:])
				points = append(points, ketamaPoint{value, int32(owner)})
			}
		}
	}
	return points
}

// ketamaDigests says how many digests, of four points each, a server gets. The
// arithmetic is C's: every step is rounded to float32 (an explicit conversion
// also keeps the compiler from fusing a multiplication with an addition), but
// the constant is a double.
func ketamaDigests(weight, total uint64, live int) uint32 {
	share := float32(weight) / float32(total)
	n := float32(share * ketamaPointsPerServer)
	n = float32(n / ketamaPointsPerDigest)
	n = float32(n * float32(live))
	n = float32(float64(n) + 0.0000000001)
	return uint32(math.Floor(float64(n)))
}

func (k *ketama) Pick(hash uint64) int {
	h := uint32(hash)
	i := int(k.starts[h>>ketamaShift])
	for i < len(k.points) && k.points[i] < h {
		i++
	}
	if i == len(k.points) {
		i = 0
	}
	return int(k.owners[i])
}
