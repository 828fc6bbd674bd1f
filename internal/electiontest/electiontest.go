// Package electiontest watches elections: who leads, and whether anybody claims to
// who must not.
package electiontest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/election"
)

// Candidate is one who may be elected.
type Candidate interface {
	comparable
	// Name is the candidate's in the election.
	Name() string
	// State is what the candidate says of the election.
	State() (election.State, error)
}

// Leader waits until one of some candidates leads who is not the former leader.
func Leader[C Candidate](t testing.TB, limit time.Duration, among []C, former C) (found C) {
	t.Helper()
	redistest.Eventually(t, limit, "another leader", func() error {
		for _, c := range among {
			if s, err := c.State(); err == nil && s.IsLeader && c != former {
				found = c
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}

// Agree waits until candidates name the same one of them, who says so as well, and
// gives it.
func Agree[C Candidate](t testing.TB, limit time.Duration, all []C) (leader C) {
	t.Helper()
	redistest.Eventually(t, limit, "all to agree", func() error {
		names := map[string]int{}
		found := false
		for _, c := range all {
			s, err := c.State()
			if err != nil {
				return fmt.Errorf("asking %s: %w", c.Name(), err)
			}
			names[s.Name]++
			if s.IsLeader {
				leader, found = c, true
			}
		}
		if !found || names[leader.Name()] != len(all) {
			return fmt.Errorf("they name %v", names)
		}
		return nil
	})
	return leader
}

// Forgets waits until a candidate knows of no leader: one that is cut off must not
// believe an old answer.
func Forgets[C Candidate](t testing.TB, limit time.Duration, c C) {
	t.Helper()
	redistest.Eventually(t, limit, c.Name()+" to know of no leader", func() error {
		s, err := c.State()
		if err == nil && s.Name != "" {
			err = fmt.Errorf("it says %+v", s)
		}
		return err
	})
}

// Watch asks candidates all the time, and finds claims that must not be: of a term
// that is another's, or of an old term after a newer one was claimed.
type Watch struct {
	t       testing.TB
	ended   atomic.Bool
	running sync.WaitGroup

	mu      sync.Mutex
	claimed map[int64]string // by term; guarded by mu
	highest int64            // term of a claim whose answer has come; guarded by mu
}

// NewWatch watches some candidates and asks each as often as is said, until Stop.
func NewWatch[C Candidate](t testing.TB, every time.Duration, all []C) *Watch {
	w := &Watch{t: t, claimed: map[int64]string{}}
	for _, c := range all {
		w.running.Go(func() {
			tick := time.NewTicker(every)
			defer tick.Stop()
			for !w.ended.Load() {
				<-tick.C
				before := w.Term()
				if s, err := c.State(); err == nil && s.IsLeader {
					w.claim(c.Name(), s, before)
				}
			}
		})
	}
	return w
}

// claim notes one. before is the highest term that was claimed when it was asked
// for.
func (w *Watch) claim(name string, s election.State, before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Name != name {
		w.t.Errorf("%s leads, and says that %s does", name, s.Name)
	}
	if s.Token < before {
		w.t.Errorf("%s claims term %d after term %d", name, s.Token, before)
	}
	if had := w.claimed[s.Token]; had != "" && had != name {
		w.t.Errorf("%s and %s claim term %d", had, name, s.Token)
	}
	w.claimed[s.Token] = name
	w.highest = max(w.highest, s.Token)
}

// Term is the highest that was claimed.
func (w *Watch) Term() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.ended.Store(true)
	w.running.Wait()
}
