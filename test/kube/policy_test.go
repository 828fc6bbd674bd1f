package kube

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestAdmissionPolicy: without a webhook the API server itself gives pods the
// same proxy, also while no control plane runs.
func TestAdmissionPolicy(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kubetest.Start(t))
	c.start(t, "controlplane-0", "")
	ns := c.Namespace(t, "mesh.dragoman.io/inject", "enabled", "pod-security.kubernetes.io/warn", "restricted")
	c.ServiceAccount(t, ns, "web")
	c.injects(t)
	pods := map[string]string{
		"bare": "", "annotated": ", annotations: {a: b, mesh.dragoman.io/proxy-image: other, mesh.dragoman.io/proxy-log-level: debug}",
		"out":      ", annotations: {mesh.dragoman.io/inject: disabled}",
		"captured": `, annotations: {mesh.dragoman.io/capture-ports: "6379:6380, 5432", mesh.dragoman.io/proxy-image: other}`,
	}
	want := map[string]*corev1.Pod{}
	for name, metadata := range pods {
		c.Apply(t, ns, webPod(name, metadata))
		want[name] = c.pod(t, ns, name)
		c.DeletePod(t, want[name])
	}
	if n := len(want["bare"].Spec.InitContainers); n != 1 {
		t.Fatalf("the webhook gave %d init containers", n)
	}

	c.unfitPods(t, ns)

	c.replicas[0].Stop()
	c.Kubectl(t, nil, "delete", "mutatingwebhookconfiguration/dragoman-injector")
	c.Kubectl(t, nil, "apply", "--warnings-as-errors", "-k", "../../manifests/overlays/admission-policy")
	redistest.Eventually(t, limit, "the policy to be in force", func() error {
		c.Apply(t, ns, webPod("first", ""))
		pod := c.pod(t, ns, "first")
		c.DeletePod(t, pod)
		if len(pod.Spec.InitContainers) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	for name, metadata := range pods {
		c.Apply(t, ns, webPod(name, metadata))
		got := c.pod(t, ns, name)
		if diff := cmp.Diff(want[name].Spec, got.Spec, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: -webhook +policy:\n%s", name, diff)
		}
		if diff := cmp.Diff(want[name].Annotations, got.Annotations); diff != "" {
			t.Errorf("%s: -webhook +policy:\n%s", name, diff)
		}
	}
	c.unfitPods(t, ns)
	// What cannot be captured is refused, by a second policy, of which it takes a moment until it is in force.
	for what, one := range map[string]struct{ pod, want string }{
		"ports": {webPod("wrong", `, annotations: {mesh.dragoman.io/capture-ports: "6379:redis"}`), `"6379:redis" is no list of ports`},
		"user": {
			strings.Replace(webPod("wrong", `, annotations: {mesh.dragoman.io/capture-ports: "6379"}`), `image: "redis:7"`, `image: "redis:7", securityContext: {runAsUser: 65532}`, 1),
			"a container runs as the user 65532",
		},
	} {
		redistest.Eventually(t, limit, what+" to be refused", func() error {
			_, err := c.TryApply(ns, one.pod)
			if err == nil {
				c.DeletePod(t, c.pod(t, ns, "wrong"))
				return errors.New("it is taken")
			}
			return meshtest.Holds(err.Error(), one.want)
		})
	}
}

// unfitPods makes pods that can have no proxy: they are made without.
func (c *cluster) unfitPods(t *testing.T, namespace string) {
	t.Helper()
	for name, spec := range map[string]string{"windows": "os: {name: windows}", "windows-node": `nodeSelector: {kubernetes.io/os: windows}`, "of-its-node": "hostNetwork: true"} {
		c.Apply(t, namespace, strings.Replace(webPod(name, ""), "spec:", "spec:\n  "+spec, 1))
		pod := c.pod(t, namespace, name)
		if len(pod.Spec.InitContainers) > 0 {
			t.Errorf("%s got a proxy", name)
		}
		c.DeletePod(t, pod)
	}
}
