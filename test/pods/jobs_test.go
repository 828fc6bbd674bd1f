package pods

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const jobExample = "examples/kubernetes/injected/job.yaml"

// jobEnds: a Job's pod is over when its work is, and its proxy was there from the beginning to the end.
func jobEnds(t *testing.T, w *world) {
	ns := w.labelled(t)
	node, host := redis(t, "prod")
	w.Apply(t, ns, ambassador(6380, host))
	template := w.apply(t, jobExample, "shop", ns)[0]
	template.Spec.Containers[0].Command = []string{"redis-cli", "-e", "-p", "6380", "set", "report", "written"} // and nothing of a proxy
	p := w.run(t, w.make(t, ns, "job-0", template))
	if phase := p.AwaitEnd(limit); phase != corev1.PodSucceeded {
		t.Errorf("the pod is %s", phase)
	}
	if got := node.Do("GET", "report"); got != "$7\r\nwritten\r\n" {
		t.Errorf("the work is %q", got)
	}
	if codes := p.Exits("dragoman-proxy"); len(codes) != 1 || codes[0] != 0 {
		t.Errorf("exit codes of the proxy: %v", codes)
	}
	w.phase(t, ns, "job-0", corev1.PodSucceeded)
}

// phase waits until the API server knows what became of a pod.
func (w *world) phase(t *testing.T, namespace, name string, want corev1.PodPhase) {
	t.Helper()
	redistest.Eventually(t, limit, "the API server to know", func() error {
		var pod corev1.Pod
		w.get(t, "pod/"+name, namespace, &pod)
		if pod.Status.Phase != want {
			return fmt.Errorf("it says %s", pod.Status.Phase)
		}
		return nil
	})
}

// classicJobsEnd has the control plane inject as it does in a cluster without native sidecars: the proxy is one of the containers, and the pod ends
// when the work says that it is done, with the exit code of the work.
func classicJobsEnd(t *testing.T, w *world) {
	const patch = `[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--proxy-mode=classic"}]`
	w.Kubectl(t, nil, "-n", system, "patch", "deployment/dragoman-controlplane", "--type=json", "--patch", patch)
	w.plane.Delete()
	w.start(t, w.hosts[plane])
	ns := w.labelled(t)
	node, host := redis(t, "prod")
	w.Apply(t, ns, ambassador(6380, host))
	template := w.apply(t, jobExample, "shop", ns)[0]
	w.injectsClassic(t, ns)

	for _, job := range []struct {
		name, server string
		want         corev1.PodPhase
		code         int
	}{
		{"done", "6380", corev1.PodSucceeded, 0},
		{"failed", "6381", corev1.PodFailed, 1}, // nobody listens there
	} {
		one := template.DeepCopy()
		command := one.Spec.Containers[0].Command
		command[2] = strings.Replace(command[2], "6380", job.server, 1)
		pod := w.make(t, ns, job.name, one)
		if len(pod.Spec.InitContainers) != 0 || pod.Spec.Containers[0].Name != "dragoman-proxy" {
			t.Fatalf("%s: containers %+v", job.name, pod.Spec.Containers)
		}
		p := w.run(t, pod)
		if phase := p.AwaitEnd(limit); phase != job.want {
			t.Errorf("%s: the pod is %s", job.name, phase)
		}
		for container, want := range map[string]int{"dragoman-proxy": 0, "report": job.code} {
			if codes := p.Exits(container); len(codes) != 1 || codes[0] != want {
				t.Errorf("%s: exit codes of %s: %v, want %d", job.name, container, codes, want)
			}
		}
		w.phase(t, ns, job.name, job.want)
	}
	if got := node.Do("GET", "report"); got != "$7\r\nwritten\r\n" {
		t.Errorf("the work is %q", got)
	}
}

// injectsClassic waits until the API server has found the new control plane.
func (w *world) injectsClassic(t *testing.T, namespace string) {
	t.Helper()
	const pod = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "first", "labels": {"app": "web"}}, "spec": {"serviceAccountName": "web", "restartPolicy": "Never",
		"securityContext": {"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
		"containers": [{"name": "app", "image": "app", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}}`
	redistest.Eventually(t, limit, "pods to get a proxy of the classic kind", func() error {
		objects, err := w.TryApply(namespace, pod)
		if err != nil {
			return err
		}
		defer w.Delete(t, objects[0])
		var made corev1.Pod
		w.get(t, "pod/first", namespace, &made)
		if made.Annotations["mesh.dragoman.io/injected"] != "classic" {
			return errors.New("they do not")
		}
		return nil
	})
}
