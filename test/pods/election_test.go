package pods

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/election"
)

// leaderElection runs three pods of the example. Leaders are partitioned from the API server, all of the way and one way, by rules in the network
// namespace of their pod; then one loses its cable, the next is frozen, and the last is killed. There is a leader again each time, and never do two claim
// one term, nor one an old term after a newer one was claimed.
func leaderElection(t *testing.T, w *world) {
	ns := w.Namespace(t)
	all := electors(t, w, ns, func(*corev1.PodTemplateSpec) {})
	watch := &electionWatch{t: t, claimed: map[int64]string{}}
	for _, e := range all {
		watch.follow(e)
	}
	defer watch.stop()

	leader := leads(t, all, nil)
	for _, network := range []struct {
		is     string
		breaks func(e *elector, on bool)
	}{
		{"lost both ways", loses(podtest.Loss{Sent: true, Received: true})},
		// What it last wrote has arrived, and it never hears of that.
		{"lost towards the leader", loses(podtest.Loss{Received: true})},
		{"lost from the leader", loses(podtest.Loss{Sent: true})},
		{"unplugged", func(e *elector, on bool) { e.Cut(on) }},
	} {
		network.breaks(leader, true)
		leads(t, all, leader)
		// One that hears nothing names nobody when its time is over: the app in its pod must not believe an old answer.
		redistest.Eventually(t, limit, leader.name+", whose network is "+network.is+", to know of no leader", func() error {
			if s, err := leader.state(); err != nil || s.Name != "" {
				return fmt.Errorf("%+v, %w", s, err)
			}
			return nil
		})
		network.breaks(leader, false)
		leader = agree(t, all)
	}

	leader.Signal("elector", syscall.SIGSTOP)
	leads(t, all, leader)
	leader.Signal("elector", syscall.SIGCONT)
	leader = agree(t, all)

	// It is started again, and may lead again, by the same name.
	leader.Signal("elector", syscall.SIGKILL)
	redistest.Eventually(t, limit, leader.name+" to be started again", func() error {
		if n := len(leader.Exits("elector")); n != 1 {
			return fmt.Errorf("it has ended %d times", n)
		}
		_, err := leader.state()
		return err
	})
	agree(t, all)
	// The tokens are those that everybody can see.
	var lease coordinationv1.Lease
	claimed := watch.token()
	w.get(t, "lease/elect-master", ns, &lease)
	if got := int64(*lease.Spec.LeaseTransitions); got < claimed || claimed < 6 {
		t.Errorf("the Lease is in term %d, and %d was claimed", got, claimed)
	}
}

// electors runs three pods of the example, in which a test has changed something.
func electors(t *testing.T, w *world, namespace string, change func(*corev1.PodTemplateSpec)) (all []*elector) {
	t.Helper()
	template := w.apply(t, "examples/kubernetes/election/elect.yaml", "shop", namespace)[0]
	args := template.Spec.Containers[0].Args
	if i := slices.Index(args, "--ttl=10s"); i >= 0 {
		args[i] = "--ttl=4s" // there are many terms in a test
	}
	change(template)
	for i := range 3 {
		name := fmt.Sprintf("elect-%d", i)
		p := w.run(t, w.make(t, namespace, name, template))
		p.AwaitUp(limit)
		all = append(all, &elector{Pod: p, name: name})
	}
	return all
}

func loses(what podtest.Loss) func(e *elector, on bool) {
	return func(e *elector, on bool) {
		if on {
			e.Lose(what)
			return
		}
		e.Lose(podtest.Loss{})
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

// agree waits until all know the same leader, and gives it.
func agree(t *testing.T, all []*elector) (leader *elector) {
	t.Helper()
	redistest.Eventually(t, limit, "all to agree", func() error {
		names := map[string]int{}
		for _, e := range all {
			s, err := e.state()
			if err != nil {
				return err
			}
			names[s.Name]++
			if s.IsLeader {
				leader = e
			}
		}
		if leader == nil || names[leader.name] != len(all) {
			return fmt.Errorf("they name %v", names)
		}
		return nil
	})
	return leader
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
			before := w.token()
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

// token is the highest that was claimed.
func (w *electionWatch) token() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.highest
}

func (w *electionWatch) stop() {
	w.ended.Store(true)
	w.running.Wait()
}
