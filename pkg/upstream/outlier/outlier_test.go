package outlier_test

import (
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/outlier"
)

func policy() *outlier.Policy {
	return &outlier.Policy{
		ConnectFailures: 1, Failures: 3,
		Base: time.Second, Max: 3 * time.Second, Forget: time.Minute, Window: 10 * time.Second,
	}
}

func TestConnectFailureEndsWithAProbe(t *testing.T) {
	t.Parallel()
	var s outlier.State
	now := time.Unix(1000, 0)
	if !s.Failure(outlier.Connect, now, policy()) {
		t.Fatal("first failed connect is not too many")
	}
	s.Eject(outlier.Connect, now, policy())
	if c, ok := s.Ejected(); !ok || c != outlier.Connect {
		t.Fatalf("Ejected() = %v, %v", c, ok)
	}
	if s.Failure(outlier.Connect, now, policy()) {
		t.Error("an ejected endpoint is ejected again")
	}
	if !s.Probed(now) {
		t.Error("a probe does not restore")
	}
	if s.Probed(now) {
		t.Error("restored twice")
	}
}

func TestRequestFailuresCountInARow(t *testing.T) {
	t.Parallel()
	var s outlier.State
	p := policy()
	now := time.Unix(1000, 0)
	for range 2 {
		if s.Failure(outlier.Request, now, p) {
			t.Fatal("ejected too early")
		}
	}
	s.Success()
	for i, want := range []bool{false, false, true} {
		if got := s.Failure(outlier.Request, now, p); got != want {
			t.Fatalf("failure %d after a success: too many = %v, want %v", i+1, got, want)
		}
	}
}

func TestRareFailuresAreNotInARow(t *testing.T) {
	t.Parallel()
	var s outlier.State
	p := policy()
	now := time.Unix(1000, 0)
	for i := range 10 {
		if s.Failure(outlier.Request, now, p) {
			t.Fatalf("ejected by failure %d of rare ones", i+1)
		}
		now = now.Add(p.Window + 1)
	}
}

func TestHoldGrowsAndIsForgotten(t *testing.T) {
	t.Parallel()
	var s outlier.State
	p := policy()
	now := time.Unix(1000, 0)
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
		s.Eject(outlier.Request, now, p)
		if got := s.Until().Sub(now); got != want {
			t.Errorf("ejection %d lasts %v, want %v", i+1, got, want)
		}
		if s.Probed(now.Add(want - 1)) {
			t.Errorf("ejection %d ended early", i+1)
		}
		now = now.Add(want)
		if !s.Probed(now) {
			t.Errorf("ejection %d does not end", i+1)
		}
	}
	now = now.Add(p.Forget)
	s.Eject(outlier.Request, now, p)
	if got := s.Until().Sub(now); got != p.Base {
		t.Errorf("after a minute without failure an ejection lasts %v, want %v", got, p.Base)
	}
}

func TestHoldConnect(t *testing.T) {
	t.Parallel()
	var s outlier.State
	p := policy()
	p.HoldConnect = true
	now := time.Unix(1000, 0)
	s.Eject(outlier.Connect, now, p)
	if s.Probed(now) {
		t.Error("restored before the hold is over")
	}
	if !s.Probed(now.Add(p.Base)) {
		t.Error("not restored after the hold")
	}
	if !s.Until().IsZero() {
		t.Errorf("Until() = %v when not ejected", s.Until())
	}
}
