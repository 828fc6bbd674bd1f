package statsd

import (
	"hash/maphash"
	"math"
	"math/bits"
	"slices"
)

// Sets count up to exactMembers distinct members exactly, by their hashes; more
// are estimated by HyperLogLog (Flajolet, Fusy, Gandouet, Meunier 2007) with
// 2^registerBits registers, whose standard error is 1.04/sqrt(4096) = 1.6%. So
// a set takes 8 KiB at most, and twice that with its predecessor.
const (
	exactMembers = 512
	registerBits = 12
	registers    = 1 << registerBits
)

// distinct counts distinct members.
type distinct struct {
	hashes []uint64 // sorted; nil when there are registers
	ranks  []uint8  // nil while there are few
}

func (d *distinct) add(hash uint64) {
	if d.ranks != nil {
		d.rank(hash)
		return
	}
	i, found := slices.BinarySearch(d.hashes, hash)
	if found {
		return
	}
	if len(d.hashes) == exactMembers {
		d.ranks = make([]uint8, registers)
		for _, h := range d.hashes {
			d.rank(h)
		}
		d.hashes = nil
		d.rank(hash)
		return
	}
	d.hashes = slices.Insert(d.hashes, i, hash)
}

// rank notes how rare the hash is, which says how many there must have been.
func (d *distinct) rank(hash uint64) {
	r := uint8(bits.LeadingZeros64(hash<<registerBits|1<<(registerBits-1)) + 1)
	i := hash >> (64 - registerBits)
	d.ranks[i] = max(d.ranks[i], r)
}

// merge adds the members of another.
func (d *distinct) merge(other *distinct) {
	for _, h := range other.hashes {
		d.add(h)
	}
	if other.ranks == nil {
		return
	}
	if d.ranks == nil {
		d.ranks = make([]uint8, registers)
		for _, h := range d.hashes {
			d.rank(h)
		}
		d.hashes = nil
	}
	for i, r := range other.ranks {
		d.ranks[i] = max(d.ranks[i], r)
	}
}

func (d *distinct) count() float64 {
	if d.ranks == nil {
		return float64(len(d.hashes))
	}
	const m = float64(registers)
	sum, empty := 0.0, 0
	for _, r := range d.ranks {
		sum += math.Ldexp(1, -int(r))
		if r == 0 {
			empty++
		}
	}
	const alpha = 0.7213 / (1 + 1.079/m)
	estimate := alpha * m * m / sum
	if estimate <= 2.5*m && empty > 0 {
		estimate = m * math.Log(m/float64(empty)) // few for so many registers
	}
	return math.Round(estimate)
}

// set is the distinct members of the last while: those of the current step and
// of the one before, so that between one step and two are covered.
type set struct {
	step     int64 // ns
	until    int64 // end of the current step
	now, old distinct
}

func newSet(step, now int64) *set { return &set{step: step, until: now + step} }

func (s *set) rotate(now int64) {
	if now <= s.until {
		return
	}
	behind := 1 + (now-s.until-1)/s.step
	s.old, s.now = s.now, distinct{}
	if behind > 1 {
		s.old = distinct{}
	}
	s.until += behind * s.step
}

func (s *set) add(seed maphash.Seed, member []byte, now int64) {
	s.rotate(now)
	s.now.add(maphash.Bytes(seed, member))
}

func (s *set) count(now int64) float64 {
	s.rotate(now)
	if s.old.ranks == nil && len(s.old.hashes) == 0 {
		return s.now.count()
	}
	var both distinct
	both.merge(&s.old)
	both.merge(&s.now)
	return both.count()
}
