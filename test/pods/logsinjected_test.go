package pods

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// nginxLogsInjected has the proxy that a pod gets ship what nginx writes: it has nginx' volume, to read only, and remembers across its own end what it has
// shipped. What nginx writes meanwhile comes after it.
func nginxLogsInjected(t *testing.T, w *world) {
	ns := w.labelled(t)
	w.apply(t, "examples/kubernetes/logs/injected.yaml", "shop", ns)
	pod := w.pod(t, ns, "nginx-logs-injected")
	if got := mountsAt(pod, "/var/log/nginx"); got != "logs, to read only" {
		t.Fatalf("the proxy has at /var/log/nginx %s", got)
	}
	p := w.run(t, pod)
	p.AwaitUp(limit)
	nginxIsRead(t, p, "nginx-logs-injected", "dragoman-proxy", ns)
	if _, err := p.Exec("dragoman-proxy", "/proxy", "status"); err != nil {
		t.Errorf("the proxy is not well: %v", err)
	}

	p.Signal("dragoman-proxy", syscall.SIGTERM)
	for i := range 3 {
		if err := visit(fmt.Sprintf("http://%s:8080/meanwhile-%d", p.Address, i)); err != nil {
			t.Fatal(err)
		}
	}
	redistest.Eventually(t, limit, "what nginx wrote meanwhile", func() error {
		if n := len(p.Exits("dragoman-proxy")); n != 1 {
			return fmt.Errorf("the proxy has ended %d times", n)
		}
		log := p.Logs("dragoman-proxy")
		for i := range 3 {
			if strings.Count(log, fmt.Sprintf(`"/meanwhile-%d"`, i)) == 0 {
				return errors.New("some of it is missing")
			}
		}
		return nil
	})
	if n := strings.Count(p.Logs("dragoman-proxy"), `"/"`); n == 0 {
		t.Error("there is no record of the first requests")
	}
}

// mountsAt says what a pod's proxy has at a place.
func mountsAt(pod *corev1.Pod, place string) string {
	for _, c := range pod.Spec.InitContainers {
		for _, m := range c.VolumeMounts {
			if c.Name == "dragoman-proxy" && m.MountPath == place && m.ReadOnly {
				return m.Name + ", to read only"
			}
			if c.Name == "dragoman-proxy" && m.MountPath == place {
				return m.Name
			}
		}
	}
	return "nothing"
}
