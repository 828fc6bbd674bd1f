package distribution

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
)

// Maglev table sizes: Envoy's default and its limit.
const (
	DefaultMaglevTableSize = 65537
	MaxMaglevTableSize     = 5000011
)

// maglev is Envoy's Maglev table; each place holds a member's index.
type maglev struct {
	table []int32
}

// maglevEntry is a member while the table is built.
type maglevEntry struct {
	name         string
	owner        int32
	offset, skip uint64
	next         uint64 // place in the member's permutation
	share, due   float64
}

// NewMaglev builds Envoy's Maglev table (maglev_lb.cc). The order of members
// does not matter. It returns ErrTableSize or ErrWeights.
func NewMaglev(members []Member, tableSize uint64) (Distribution, error) {
	if tableSize > MaxMaglevTableSize || !prime(tableSize) {
		return nil, fmt.Errorf("%w, not %d", ErrTableSize, tableSize)
	}
	shares, _, greatest, err := normalize(members)
	if err != nil {
		return nil, err
	}
	if d, ok := trivial(members); ok {
		return d, nil
	}
	entries := make([]maglevEntry, len(members))
	for i, m := range members {
		key := []byte(m.Name)
		entries[i] = maglevEntry{
			name:   m.Name,
			owner:  int32(i),
			offset: keyhash.SeededXXHash64(key, 0) % tableSize,
			skip:   keyhash.SeededXXHash64(key, 1)%(tableSize-1) + 1,
			share:  shares[i],
		}
	}
	slices.SortStableFunc(entries, func(a, b maglevEntry) int { return cmp.Compare(a.name, b.name) })
	return &maglev{table: fillMaglev(entries, greatest, tableSize)}, nil
}

// fillMaglev lets the entries take turns until the table is full. In each turn
// an entry takes the next free place of its permutation; an entry of half the
// greatest weight has every second turn, and so on.
func fillMaglev(entries []maglevEntry, greatest float64, size uint64) []int32 {
	const free = -1
	table := slices.Repeat([]int32{free}, int(size))
	left := size
	for turn := 1.0; left > 0; turn++ {
		for i := range entries {
			e := &entries[i]
			if left == 0 || turn*e.share < e.due {
				continue
			}
			e.due += greatest
			place := e.place(size)
			for table[place] != free {
				e.next++
				place = e.place(size)
			}
			table[place] = e.owner
			e.next++
			left--
		}
	}
	return table
}

func (e *maglevEntry) place(size uint64) uint64 { return (e.offset + e.skip*e.next) % size }

func (m *maglev) Pick(hash uint64) int {
	return int(m.table[hash%uint64(len(m.table))])
}

func prime(n uint64) bool {
	if n < 2 {
		return false
	}
	for d := uint64(2); d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}
