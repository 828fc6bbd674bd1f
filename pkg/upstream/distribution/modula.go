package distribution

import "sort"

// modula is twemproxy's hash modulo the sum of the weights. Instead of a list
// with each server as often as it weighs, it keeps the running sums.
type modula struct {
	ends   []uint64 // ends[i] is one past the last place of owners[i]
	owners []int32
}

// NewModula builds twemproxy's modula from the live members. It uses the low 32
// bits of a hash.
func NewModula(members []Member) Distribution {
	if d, ok := trivial(members); ok {
		return d
	}
	m := &modula{}
	var total uint64
	for _, owner := range twemproxyOrder(members) {
		total += members[owner].weight()
		m.ends = append(m.ends, total)
		m.owners = append(m.owners, int32(owner))
	}
	return m
}

func (m *modula) Pick(hash uint64) int {
	place := uint64(uint32(hash)) % m.ends[len(m.ends)-1]
	i := sort.Search(len(m.ends), func(i int) bool { return place < m.ends[i] })
	return int(m.owners[i])
}

// random is twemproxy's: every server with the same chance, whatever its weight.
type random struct {
	members uint64
	source  func() uint64
}

// NewRandom spreads requests at random over the live members, without regard to
// weights and hashes. The source must be safe for concurrent use if the
// distribution is used concurrently; math/rand/v2's Uint64 is.
func NewRandom(members []Member, source func() uint64) Distribution {
	if d, ok := trivial(members); ok {
		return d
	}
	return &random{members: uint64(len(members)), source: source}
}

func (r *random) Pick(uint64) int { return int(r.source() % r.members) }
