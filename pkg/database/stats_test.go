package database

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestKindsOfErrorsAreBounded: a server may make up as many codes as it likes.
func TestKindsOfErrorsAreBounded(t *testing.T) {
	t.Parallel()
	var s Stats
	for i := range maxErrorKinds + 10 {
		s.Failed(ErrorKind{fmt.Sprint(i), "HY"})
	}
	s.Failed(ErrorKind{"0", "HY"}) // which is known
	got := map[ErrorKind]uint64{}
	s.addErrors(got)
	if len(got) != maxErrorKinds+1 || got[ErrorKind{OtherError, OtherError}] != 10 || got[ErrorKind{"0", "HY"}] != 2 {
		t.Errorf("%d kinds are counted, %d others, %d of the first", len(got), got[ErrorKind{OtherError, OtherError}], got[ErrorKind{"0", "HY"}])
	}
}

// TestCountersArePerLoop: the same listener and loop get the same ones, and all of
// a listener's are found.
func TestCountersArePerLoop(t *testing.T) {
	t.Parallel()
	var p PerLoop[int]
	one, again, other := p.Of("a", nil), p.Of("a", nil), p.Of("b", nil)
	if one != again || one == other {
		t.Error("counters are mixed up")
	}
	*one, *other = 1, 2
	got := map[string]int{}
	for listener, all := range p.ByListener() {
		for _, n := range all {
			got[listener] += *n
		}
	}
	if diff := cmp.Diff(map[string]int{"a": 1, "b": 2}, got); diff != "" {
		t.Error(diff)
	}
}
