package pods

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/electiontest"
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
	watch := electiontest.NewWatch(t, 20*time.Millisecond, all)
	defer watch.Stop()

	leader := electiontest.Leader(t, limit, all, nil)
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
		t.Logf("the network of %s is %s", leader.name, network.is)
		network.breaks(leader, true)
		electiontest.Leader(t, limit, all, leader)
		electiontest.Forgets(t, limit, leader)
		network.breaks(leader, false)
		leader = electiontest.Agree(t, limit, all)
	}

	leader.Signal("elector", syscall.SIGSTOP)
	electiontest.Leader(t, limit, all, leader)
	leader.Signal("elector", syscall.SIGCONT)
	leader = electiontest.Agree(t, limit, all)

	// It is started again, and may lead again, by the same name.
	leader.Signal("elector", syscall.SIGKILL)
	redistest.Eventually(t, limit, leader.name+" to be started again", func() error {
		if n := len(leader.Exits("elector")); n != 1 {
			return fmt.Errorf("it has ended %d times", n)
		}
		_, err := leader.State()
		return err
	})
	electiontest.Agree(t, limit, all)
	// The tokens are those that everybody can see.
	var lease coordinationv1.Lease
	claimed := watch.Term()
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

// Name implements electiontest.Candidate.
func (e *elector) Name() string { return e.name }

// State implements electiontest.Candidate. It asks as the app in the pod does.
func (e *elector) State() (s election.State, err error) {
	err = ask(e.Client(), "http://127.0.0.1:4040", &s)
	return s, err
}
