package statsd

import (
	"hash/maphash"
	"testing"
)

// TestSetAfterClockWasSetBack: members are forgotten in their time all the same.
func TestSetAfterClockWasSetBack(t *testing.T) {
	t.Parallel()
	const step, hour = 60e9, 3600e9
	s, seed := newSet(step, hour), maphash.MakeSeed()
	s.add(seed, []byte("a"), hour)
	s.add(seed, []byte("b"), 0) // an hour earlier
	if got := s.count(0); got != 2 {
		t.Errorf("%v members, want 2", got)
	}
	s.add(seed, []byte("c"), 3*step)
	if got := s.count(3 * step); got != 1 {
		t.Errorf("%v members after three steps, want 1", got)
	}
}
