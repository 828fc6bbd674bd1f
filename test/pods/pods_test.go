package pods

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestPods is a new user's way, with a watch: from kubectl apply to the first command through an injected pod. Everything else happens in the cluster
// that is there then.
func TestPods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.RunEndpointSliceController(t)
	_, host := redis(t, "prod")

	began := time.Now()
	w.Kubectl(t, nil, "apply", "-k", "../../manifests/overlays/highly-available")
	w.start(t, "")
	ns := w.Namespace(t)
	w.Kubectl(t, nil, "label", "namespace", ns, "mesh.dragoman.io/inject=enabled")
	w.injects(t)
	w.Kubectl(t, []byte(ambassador(6380, host)), "-n", ns, "apply", "-f", "-")
	template := w.apply(t, "examples/kubernetes/injected/web.yaml", "shop", ns)[0]
	pod := w.make(t, ns, "web-0", template)
	web := w.run(t, pod)
	web.AwaitUp(limit)
	// The app starts when its ports are there: there is nothing to wait for, and no try may fail.
	if got := cli(t, web, "app", "set", "a", "b"); got != "OK" {
		t.Errorf("the first command: %s", got)
	}
	t.Logf("from kubectl apply to the first command through an injected pod: %v", time.Since(began).Round(10*time.Millisecond))

	t.Run("group", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *world){
			"KeepsItsLimits":    func(t *testing.T, _ *world) { keepsItsLimits(t, web, pod) },
			"Drains":            drains,
			"JobEnds":           jobEnds,
			"TwemproxysPod":     twemproxysPod,
			"ThreeEnvironments": threeEnvironments,
			"NginxMetrics":      nginxMetrics,
			"NginxLogs":         nginxLogs,
			"NginxLogsInjected": nginxLogsInjected,
			"FromSource":        fromSource,
			"LeaderElection":    leaderElection,
			"LeadsToTheElected": leadsToTheElected,
			"CapturesPorts":     capturesPorts,
			"WorkQueues":        workQueues,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, w)
			})
		}
	})
	t.Run("ComesBackFromDisk", func(t *testing.T) { comesBackFromDisk(t, w, web) }) //nolint:paralleltest // it takes the control plane away
	t.Run("ClassicJobsEnd", func(t *testing.T) { classicJobsEnd(t, w) })            //nolint:paralleltest // it changes the control plane
}

// injects waits until the API server asks the control plane about pods.
func (w *world) injects(t *testing.T) {
	t.Helper()
	redistest.Eventually(t, limit, "the webhooks to be trusted and found", func() error {
		var configuration struct {
			Webhooks []struct{ ClientConfig struct{ CABundle []byte } }
		}
		w.get(t, "mutatingwebhookconfiguration/dragoman-injector", "", &configuration)
		if len(configuration.Webhooks[0].ClientConfig.CABundle) == 0 {
			return errors.New("there is no caBundle")
		}
		// A wrong one is refused by who answers.
		_, err := w.TryApply("default", wrongAdapter)
		if err == nil || !strings.Contains(err.Error(), "validate.mesh.dragoman.io") {
			return fmt.Errorf("it was not asked: %w", err)
		}
		return nil
	})
}

// wrongAdapter is refused by the webhook, and by no schema.
const wrongAdapter = `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: wrong}
spec:
  api:
    listen: {port: 8081}
    upstream: {address: "127.0.0.1:8080"}
    routes: [{match: {path: "/orders/{id}"}, request: {path: "/soap/{order}"}}]
`

// keepsItsLimits looks at the proxy's process: it is what the pod says.
func keepsItsLimits(t *testing.T, web *podtest.Pod, pod *corev1.Pod) {
	proxy := pod.Spec.InitContainers[0]
	if proxy.Name != "dragoman-proxy" {
		t.Fatalf("the first init container is %s", proxy.Name)
	}
	status, err := os.ReadFile("/proc/" + web.Pid(proxy.Name) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Uid:\t65532\t65532", "Gid:\t65532\t65532", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	mounts, err := os.ReadFile("/proc/" + web.Pid(proxy.Name) + "/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		fields := strings.Fields(line)
		if writable := strings.HasPrefix(fields[3], "rw"); writable && (fields[1] == "/" || fields[1] == "/var/run/secrets/dragoman") {
			t.Errorf("the proxy may write to %s", fields[1])
		}
	}
	out, err := web.Exec("app", "env")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "DRAGOMAN_CACHE_HOST=127.0.0.1\n") || !strings.Contains(out, "DRAGOMAN_CACHE_PORT=6380\n") {
		t.Errorf("the app's variables:\n%s", out)
	}
}

// drains tells a proxy to end while the app is at work: no command fails before the app is gone.
func drains(t *testing.T, w *world) {
	ns := w.labelled(t)
	node, host := redis(t, "prod")
	w.Apply(t, ns, ambassador(6380, host))
	template := w.apply(t, "examples/kubernetes/injected/web.yaml", "shop", ns)[0]
	template.Spec.Containers[0].Command = []string{"redis-server", "--port", "7000", "--save", ""} // which ends when it is told to, unlike sleep
	p := w.run(t, w.make(t, ns, "web-0", template))
	p.AwaitUp(limit)

	const commands = 60
	result := make(chan error, 1)
	go func() {
		out, err := p.Exec("app", "redis-cli", "-p", "6380", "-r", fmt.Sprint(commands), "-i", "0.02", "incr", "n")
		if n := strings.Count(out, "\n"); err == nil && n != commands {
			err = fmt.Errorf("%d answers: %s", n, out)
		}
		result <- err
	}()
	redistest.Eventually(t, limit, "the app to be at work", func() error {
		if node.Do("GET", "n") == "$-1\r\n" {
			return errors.New("it is not")
		}
		return nil
	})
	p.Signal("dragoman-proxy", syscall.SIGTERM)
	if err := <-result; err != nil {
		t.Errorf("while the proxy drains: %v", err)
	}
	redistest.Eventually(t, limit, "the proxy to end and to be started again", func() error {
		if n := p.Exits("dragoman-proxy"); len(n) != 1 || n[0] != 0 {
			return fmt.Errorf("exit codes %v", n)
		}
		_, err := p.Exec("app", "redis-cli", "-e", "-p", "6380", "get", "where")
		return err
	})
	// As kubectl delete ends it: the app first, then its proxy, which has nobody to wait for.
	p.Delete()
	if codes := p.Exits("dragoman-proxy"); len(codes) != 2 || codes[1] != 0 {
		t.Errorf("exit codes of the proxy: %v", codes)
	}
}

// comesBackFromDisk kills the proxy, with and without a control plane: it starts with the last configuration that it had.
func comesBackFromDisk(t *testing.T, w *world, web *podtest.Pod) {
	answers := func(exits int) {
		t.Helper()
		redistest.Eventually(t, limit, "the app to reach Redis again", func() error {
			if n := len(web.Exits("dragoman-proxy")); n != exits {
				return fmt.Errorf("the proxy has ended %d times", n)
			}
			out, err := web.Exec("app", "redis-cli", "-e", "-p", "6380", "get", "a")
			if err == nil && strings.TrimSpace(out) != "b" {
				err = errors.New(out)
			}
			return err
		})
	}
	web.Signal("dragoman-proxy", syscall.SIGKILL)
	answers(1)
	w.plane.Delete()
	web.Signal("dragoman-proxy", syscall.SIGKILL)
	answers(2)
	if log := web.Logs("dragoman-proxy"); !strings.Contains(log, "starting from the set on disk") {
		t.Errorf("the proxy says nothing of its disk:\n%s", log)
	}
	w.start(t, w.hosts[plane])
	redistest.Eventually(t, limit, "the proxy to have its control plane again", func() error {
		_, err := web.Exec("dragoman-proxy", "/proxy", "status")
		return err
	})
}
