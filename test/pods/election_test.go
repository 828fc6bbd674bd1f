package pods

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/election"
)

// leaderElection runs three pods of the example. The leader is cut off from the network, the next is frozen, the third is killed: there is a
// leader again each time, and never do two claim one term, nor one an old term after a newer one was claimed.
func leaderElection(t *testing.T, w *world) {
	ns := w.Namespace(t)
	template := w.apply(t, "examples/kubernetes/election/elect.yaml", "shop", ns)[0]
	var all []*elector
	for i := range 3 {
		name := fmt.Sprintf("elect-%d", i)
		p := w.run(t, w.make(t, ns, name, template))
		p.AwaitUp(limit)
		all = append(all, &elector{Pod: p, name: name})
	}
	watch := &electionWatch{t: t, claimed: map[int64]string{}}
	for _, e := range all {
		watch.follow(e)
	}
	defer watch.stop()

	first := leads(t, all, nil)
	first.Cut(true)
	second := leads(t, all, first)
	// One that hears nothing names nobody when its time is over: the app in its pod must not believe an old answer.
	redistest.Eventually(t, limit, first.name+" to know of no leader", func() error {
		if s, err := first.state(); err != nil || s.Name != "" {
			return fmt.Errorf("%+v, %w", s, err)
		}
		return nil
	})
	first.Cut(false)
	follows(t, first, second.name)

	second.Signal("elector", syscall.SIGSTOP)
	third := leads(t, all, second)
	second.Signal("elector", syscall.SIGCONT)
	follows(t, second, third.name)

	// It is started again, and may lead again, by the same name.
	third.Signal("elector", syscall.SIGKILL)
	redistest.Eventually(t, limit, third.name+" to be started again", func() error {
		if n := len(third.Exits("elector")); n != 1 {
			return fmt.Errorf("it has ended %d times", n)
		}
		_, err := third.state()
		return err
	})
	last := leads(t, all, nil)
	for _, e := range all {
		follows(t, e, last.name)
	}
}

// elector is one pod of the election.
type elector struct {
	*podtest.Pod
	name string
}

// state asks as the app in the pod does.
func (e *elector) state() (s election.State, err error) {
	err = ask(e.Client(), "http://127.0.0.1:4040", &s)
	return s, err
}

// leads waits until one leads that is not the former leader.
func leads(t *testing.T, all []*elector, former *elector) (found *elector) {
	t.Helper()
	redistest.Eventually(t, limit, "another leader", func() error {
		for _, e := range all {
			if e == former {
				continue
			}
			if s, err := e.state(); err == nil && s.IsLeader {
				found = e
				return nil
			}
		}
		return errors.New("there is none")
	})
	return found
}

// follows waits until one knows who leads.
func follows(t *testing.T, e *elector, leader string) {
	t.Helper()
	redistest.Eventually(t, limit, e.name+" to follow "+leader, func() error {
		if s, err := e.state(); err != nil || s.Name != leader {
			return fmt.Errorf("it says %+v, %w", s, err)
		}
		return nil
	})
}

// electionWatch asks all pods all the time, and finds claims that must not be.
type electionWatch struct {
	t       *testing.T
	ended   atomic.Bool
	running sync.WaitGroup

	mu      sync.Mutex // guards below
	claimed map[int64]string
	highest int64 // term of a claim whose answer has come
}

func (w *electionWatch) follow(e *elector) {
	w.running.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for !w.ended.Load() {
			<-tick.C
			w.mu.Lock()
			before := w.highest
			w.mu.Unlock()
			if s, err := e.state(); err == nil && s.IsLeader {
				w.claim(e.name, s, before)
			}
		}
	})
}

// claim notes one. before is the highest term that was claimed when it was asked for.
func (w *electionWatch) claim(name string, s election.State, before int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.Token < before {
		w.t.Errorf("%s claims term %d after term %d", name, s.Token, before)
	}
	if had := w.claimed[s.Token]; had != "" && had != name {
		w.t.Errorf("%s and %s claim term %d", had, name, s.Token)
	}
	w.claimed[s.Token] = name
	w.highest = max(w.highest, s.Token)
}

func (w *electionWatch) stop() {
	w.ended.Store(true)
	w.running.Wait()
}
