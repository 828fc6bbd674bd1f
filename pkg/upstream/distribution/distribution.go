// Package distribution places hashed keys on the members of a cluster: ketama,
// modula and random as twemproxy does, ring hash and Maglev as Envoy does, so
// that data written through either is found again. A distribution is immutable
// and safe for concurrent use; a change of members means a new one.
//
// Where the rules that are easily missed live:
//   - the order of twemproxy's servers: twemproxyOrder, in this file;
//   - the name that is hashed: MemberName, in this file;
//   - float32 arithmetic and the number of live servers: ketama.go;
//   - a pool of one server is never hashed: single, in this file. It has no
//     effect of its own, since with one member every hash leads there;
//   - the empty key counts as hash 0: in the hashes of package keyhash;
//   - auto_eject_hosts: construct with the live members only. When none is
//     live, twemproxy goes on with the last distribution it had, and so should
//     the caller: a distribution without members picks nothing.
package distribution

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
)

// Member is one target of a distribution.
type Member struct {
	// Name is what gets hashed: see MemberName for twemproxy; for Envoy the
	// endpoint metadata envoy.lb.hash_key, else "ip:port".
	Name string
	// Weight is the member's relative share; 0 counts as 1.
	Weight uint32
}

// weight of a member, at least 1: both peers refuse zero.
func (m Member) weight() uint64 { return uint64(max(m.Weight, 1)) }

// Distribution maps hashes to members.
type Distribution interface {
	// Pick returns an index into the members that the distribution was built
	// from, in their original order; -1 when there are none. It does not
	// allocate.
	Pick(hash uint64) int
}

// Errors of the constructors.
var (
	ErrRingSize  = errors.New("ring size: want 1 <= minimum <= maximum <= 8388608")
	ErrTableSize = errors.New("table size of Maglev: want a prime number of at most 5000011")
	ErrWeights   = errors.New("weights add up to more than 4294967295")
)

// MemberName returns the name that twemproxy hashes for a server: the given
// name if there is one; else "host:port", without the port when that is 11211
// (libmemcached left it out); for a unix socket its path and a colon, which is
// where nutcracker cuts "/path:weight".
func MemberName(given, host string, port uint16) string {
	const memcached = 11211
	switch {
	case given != "":
		return given
	case len(host) > 0 && host[0] == '/':
		return host + ":"
	case port == memcached:
		return host
	default:
		return host + ":" + strconv.Itoa(int(port))
	}
}

// single is a distribution over at most one member.
type single int

func (s single) Pick(uint64) int { return int(s) - 1 }

// trivial covers the cases that need no hashing: no member, one member.
func trivial(members []Member) (Distribution, bool) {
	if len(members) > 1 {
		return nil, false
	}
	return single(len(members)), true
}

// twemproxyOrder returns the members' indices in the order in which twemproxy
// keeps its servers: by length of the name, then by its bytes.
func twemproxyOrder(members []Member) []int {
	order := make([]int, len(members))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := members[a].Name, members[b].Name
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	return order
}

// normalize returns every member's share of the whole as Envoy computes it, and
// the least and the greatest share.
func normalize(members []Member) (shares []float64, least, greatest float64, err error) {
	const limit = 1<<32 - 1 // Envoy's
	var sum uint64
	for _, m := range members {
		if sum += m.weight(); sum > limit {
			return nil, 0, 0, ErrWeights
		}
	}
	least = 1
	shares = make([]float64, len(members))
	for i, m := range members {
		shares[i] = float64(m.weight()) / float64(sum)
		least = min(least, shares[i])
		greatest = max(greatest, shares[i])
	}
	return shares, least, greatest, nil
}
