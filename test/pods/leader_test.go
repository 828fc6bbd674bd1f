package pods

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// leadsToTheElected has an app's Ambassador lead to the one of three pods that these have elected: to the next when the leader's node is gone, and to the
// last when the next one is deleted.
func leadsToTheElected(t *testing.T, w *world) {
	ns := w.labelled(t)
	all := electors(t, w, ns, func(template *corev1.PodTemplateSpec) {
		template.Labels["mesh.dragoman.io/inject"] = "disabled"
		template.Spec.Containers[1].Command = []string{"redis-server", "--port", "7000", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"}
	})
	for _, e := range all {
		redistest.Eventually(t, limit, "the app of "+e.name, func() error {
			_, err := e.Exec("app", "redis-cli", "-e", "-p", "7000", "set", "where", e.name)
			return err
		})
	}
	w.apply(t, "examples/kubernetes/leader.yaml", "shop", ns)
	template := w.apply(t, "examples/kubernetes/injected/web.yaml", "shop", ns)[0]
	app := w.run(t, w.make(t, ns, "web-0", template))
	app.AwaitUp(limit)
	// Who leads may also change for no reason, where a machine is slow.
	meets := func(among []*elector) (leader *elector) {
		t.Helper()
		redistest.Eventually(t, limit, "the app to meet the leader", func() error {
			out, err := app.Exec("app", "redis-cli", "-e", "-p", "7000", "get", "where")
			if err != nil {
				return err
			}
			for _, e := range among {
				if s, err := e.State(); err == nil && s.IsLeader && e.name == strings.TrimSpace(out) {
					leader = e
					return nil
				}
			}
			return fmt.Errorf("it meets %q", out)
		})
		return leader
	}
	without := func(list []*elector, gone *elector) []*elector {
		return slices.DeleteFunc(slices.Clone(list), func(e *elector) bool { return e == gone })
	}
	first := meets(all)
	first.Lose(podtest.Loss{Sent: true, Received: true})
	rest := without(all, first)
	second := meets(rest)
	second.Delete()
	meets(without(rest, second))
}
