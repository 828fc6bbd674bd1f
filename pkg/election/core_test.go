package election

import (
	"testing"
	"time"
)

// scene is candidates, a lease and a clock, without I/O.
type scene struct {
	t     *testing.T
	now   time.Time
	lease record
}

const ttl = 10 * time.Second

func newScene(t *testing.T) *scene {
	t.Parallel()
	return &scene{t: t, now: time.Unix(1000, 0)}
}

func (s *scene) candidate(id string) *core { return &core{id: id, ttl: ttl} }

func (s *scene) after(d time.Duration) *scene {
	s.now = s.now.Add(d)
	return s
}

// round lets a candidate look and act, as Elector.attempt does.
func (s *scene) round(c *core, want action) {
	s.t.Helper()
	c.observe(s.lease, s.now)
	got := c.decide(s.now)
	if got != want {
		s.t.Fatalf("at %s %s wants to do %d, not %d", s.now.Format("05.000"), c.id, got, want)
	}
	if got != wait {
		s.lease = c.claim(got)
		s.lease.renewals = s.now.String()
		c.wrote(s.lease, s.now)
	}
}

func (s *scene) leads(c *core, want bool) {
	s.t.Helper()
	if got := c.leading(s.now); got != want {
		s.t.Errorf("at %s %s leads: %t", s.now.Format("05.000"), c.id, got)
	}
}

func (s *scene) token(want int64) {
	s.t.Helper()
	if s.lease.transitions != want {
		s.t.Errorf("token %d, want %d", s.lease.transitions, want)
	}
}

func TestTermGoesOnWhileItIsRenewed(t *testing.T) {
	s := newScene(t)
	a, b := s.candidate("a"), s.candidate("b")
	s.round(a, acquire)
	for range 20 {
		s.round(b, wait)
		s.after(2*time.Second).round(a, renew)
		s.leads(a, true)
	}
	s.token(1)
	if name, until := b.leader(s.now); name != "a" || !until.After(s.now) {
		t.Errorf("b believes in %q until %s", name, until)
	}
}

// TestFrozenLeaderClaimsNothing: its claim ends before another may begin.
func TestFrozenLeaderClaimsNothing(t *testing.T) {
	s := newScene(t)
	a, b := s.candidate("a"), s.candidate("b")
	s.round(a, acquire)
	s.round(b, wait)
	s.after(8900*time.Millisecond).leads(a, true)
	s.round(b, wait)
	s.after(200*time.Millisecond).leads(a, false)
	s.round(b, wait)
	if name, _ := a.leader(s.now); name != "" {
		t.Errorf("a believes in %q, which is itself", name)
	}
	s.after(time.Second).round(b, acquire)
	s.token(2)
	s.leads(b, true)
	s.leads(a, false)
	s.round(a, wait)
}

// TestNewcomerWaits: what it finds it has to see unchanged for the whole time,
// however old it says that it is.
func TestNewcomerWaits(t *testing.T) {
	s := newScene(t)
	s.lease = record{holder: "gone", duration: ttl, transitions: 41, renewals: "long ago"}
	a := s.candidate("a")
	s.round(a, wait)
	s.after(9*time.Second).round(a, wait)
	s.after(time.Second).round(a, acquire)
	s.token(42)
}

// TestNamesakeWaits: one that comes back under the holder's name cannot know that
// the former is gone.
func TestNamesakeWaits(t *testing.T) {
	s := newScene(t)
	s.round(s.candidate("a"), acquire)
	again := s.candidate("a")
	s.after(time.Second).round(again, wait)
	s.leads(again, false)
	s.after(ttl).round(again, acquire)
	s.token(2)
}

func TestReleasedLeaseIsTakenAtOnce(t *testing.T) {
	s := newScene(t)
	a, b := s.candidate("a"), s.candidate("b")
	s.round(a, acquire)
	s.lease.holder = ""
	s.round(b, acquire)
	s.token(2)
	s.round(a, wait)
	s.leads(a, false)
}

// TestDeletedLease: tokens rise all the same.
func TestDeletedLease(t *testing.T) {
	s := newScene(t)
	a := s.candidate("a")
	s.lease.transitions = 6
	s.round(a, acquire)
	s.token(7)
	s.lease = record{}
	s.after(time.Second).round(a, acquire)
	s.token(8)
}

// TestHolderWithoutDuration: a Lease that somebody else wrote may lack it.
func TestHolderWithoutDuration(t *testing.T) {
	s := newScene(t)
	s.lease = record{holder: "other"}
	a := s.candidate("a")
	s.round(a, wait)
	s.after(ttl).round(a, acquire)
}

// TestLostAnswer: a write that was done, and whose answer did not come, is no
// reason to claim.
func TestLostAnswer(t *testing.T) {
	s := newScene(t)
	a := s.candidate("a")
	a.observe(s.lease, s.now)
	s.lease = a.claim(a.decide(s.now))
	s.lease.renewals = "first"
	s.after(time.Second).round(a, wait)
	s.leads(a, false)
}
