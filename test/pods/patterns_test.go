package pods

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// twemproxysPod runs the Pod that is known from twemproxy's image, as it is.
func twemproxysPod(t *testing.T, w *world) {
	ns := w.Namespace(t)
	_, host := redis(t, "one")
	w.apply(t, "manifests/redis-ambassador.yaml", "", ns)
	p := w.runWith(t, w.pod(t, ns, "ambassador-example"), map[string]string{"redis-st-0.redis-svc": host})
	p.AwaitUp(limit)
	// Nothing makes a plain container wait for another one.
	reaches(t, p, "redis-client", "one")
	if got := cli(t, p, "redis-client", "set", "a", "b"); got != "OK" {
		t.Errorf("set: %s", got)
	}
}

// reaches waits until a client in a pod finds itself at a Redis.
func reaches(t *testing.T, p *podtest.Pod, container, where string) {
	t.Helper()
	redistest.Eventually(t, limit, "the client to be in "+where, func() error {
		out, err := p.Exec(container, "redis-cli", "-e", "-p", "6380", "get", "where")
		if err == nil && strings.TrimSpace(out) != where {
			err = errors.New(out)
		}
		return err
	})
}

// threeEnvironments runs the same Pod in each, and then moves one of them from the first to the last while it runs.
func threeEnvironments(t *testing.T, w *world) {
	ns := w.Namespace(t)
	hosts := map[string]string{}
	for name, is := range map[string]string{
		"redis.dev.svc": "dev", "redis.test.svc": "test", "redis-0.redis.prod.svc": "prod", "redis-1.redis.prod.svc": "prod",
	} {
		_, hosts[name] = redis(t, is)
	}
	w.apply(t, "manifests/redis-standalone.yaml", "", ns)
	one := w.pod(t, ns, "web")
	var last *podtest.Pod
	for _, environment := range []string{"prod", "test", "dev"} {
		pod := &corev1.Pod{Spec: *one.Spec.DeepCopy()}
		pod.Spec.NodeName = ""
		template := &corev1.PodTemplateSpec{Spec: pod.Spec}
		template.Labels = map[string]string{"app": "web", "mesh.dragoman.io/environment": environment}
		last = w.runWith(t, w.make(t, ns, "web-"+environment, template), hosts)
		last.AwaitUp(limit)
		if got := cli(t, last, "app", "get", "where"); got != environment {
			t.Errorf("in %s the app is in %q", environment, got)
		}
	}
	last.Relabel("mesh.dragoman.io/environment", "prod")
	reaches(t, last, "app", "prod")
}

// nginxMetrics has Prometheus scrape nginx through its adapter, by the example and by one that is injected.
func nginxMetrics(t *testing.T, w *world) {
	ns := w.labelled(t)
	w.apply(t, "examples/kubernetes/nginx-metrics/nginx.yaml", "shop", ns)
	classic := w.pod(t, ns, "nginx")
	w.Apply(t, ns, `apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: nginx}
spec:
  selector: {matchLabels: {metrics: injected}}
  metrics:
    listen: {port: 9113}
    sources: [{name: nginx, nginxStubStatus: {uri: "http://127.0.0.1:8080/nginx_status"}}]
`)
	bare := &corev1.PodTemplateSpec{Spec: *classic.Spec.DeepCopy()}
	bare.Labels = map[string]string{"metrics": "injected"}
	bare.Spec.InitContainers, bare.Spec.NodeName = nil, ""
	bare.Spec.Containers = bare.Spec.Containers[:1]
	bare.Spec.Volumes = bare.Spec.Volumes[:2]
	injected := w.make(t, ns, "injected", bare)
	if got := injected.Annotations["prometheus.io/port"]; got != "9113" {
		t.Errorf("the annotation prometheus.io/port is %q", got)
	}
	var targets []string
	for _, pod := range []*corev1.Pod{classic, injected} {
		p := w.run(t, pod)
		p.AwaitUp(limit)
		targets = append(targets, p.Address+":9113")
	}
	scraped(t, targets)
}

// scraped waits until a Prometheus has nginx' metrics of some addresses.
func scraped(t *testing.T, targets []string) {
	t.Helper()
	dir, address := t.TempDir(), fmt.Sprintf("127.0.0.1:%d", redistest.Port(t))
	text := fmt.Sprintf("global: {scrape_interval: 1s}\nscrape_configs: [{job_name: nginx, static_configs: [{targets: [%s]}]}]\n", strings.Join(targets, ", "))
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	redistest.Run(t, "prometheus", "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address)
	for _, target := range targets {
		query := fmt.Sprintf(`nginx_up{instance="%[1]s"} == 1 and on() nginx_connections_active{instance="%[1]s"} >= 0`, target)
		redistest.Eventually(t, limit, "Prometheus to have the metrics of "+target, func() error {
			var answer struct{ Data struct{ Result []any } }
			if err := ask(http.DefaultClient, "http://"+address+"/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
				return err
			}
			if len(answer.Data.Result) != 1 {
				return fmt.Errorf("%d series", len(answer.Data.Result))
			}
			return nil
		})
	}
}

// capturesPorts: an app that insists on a server far away comes to its Ambassador.
func capturesPorts(t *testing.T, w *world) {
	// An init container with NET_ADMIN is forbidden by all standards but the privileged one.
	ns := w.Namespace(t, "mesh.dragoman.io/inject", "enabled")
	_, far := redis(t, "far away")
	_, host := redis(t, "prod")
	w.Apply(t, ns, ambassador(6380, host))
	template := w.apply(t, "examples/kubernetes/injected/web.yaml", "shop", ns)[0]
	template.Annotations["mesh.dragoman.io/capture-ports"] = "6379:6380"
	p := w.run(t, w.make(t, ns, "web-0", template))
	p.AwaitUp(limit)
	out, err := p.Exec("app", "redis-cli", "-e", "-h", far, "-p", "6379", "get", "where")
	if err != nil || strings.TrimSpace(out) != "prod" {
		t.Errorf("the app is in %q, %v", out, err)
	}
	if codes := p.Exits("dragoman-capture"); len(codes) != 1 || codes[0] != 0 {
		t.Errorf("exit codes of the init container: %v", codes)
	}
}

// ask reads a JSON document.
func ask(client *http.Client, from string, into any) error {
	resp, err := client.Get(from)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return json.NewDecoder(resp.Body).Decode(into)
}
