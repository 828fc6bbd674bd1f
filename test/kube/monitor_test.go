package kube

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/promtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
)

const podMonitor = "../../manifests/monitoring/podmonitor.yaml"

// podMonitorsApply has the API server judge the manifests by the operator's own
// definition of its kind; a field that it does not know is an error.
func podMonitorsApply(t *testing.T, c *cluster) {
	crd := tooltest.Path(t, "examples", "prometheus-operator", "monitoring.coreos.com_podmonitors.yaml")
	c.Kubectl(t, nil, "apply", "--server-side", "-f", crd)
	c.Kubectl(t, nil, "wait", "--for=condition=Established", "--timeout=60s", "crd/podmonitors.monitoring.coreos.com")
	for _, file := range []string{podMonitor, "../../manifests/components/pod-monitor/pod-monitor.yaml"} {
		var out string
		redistest.Eventually(t, limit, "the kind to be served", func() (err error) {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			_, err = c.TryApply("", string(text))
			return err
		})
		if out = c.Kubectl(t, nil, "apply", "--dry-run=server", "--validate=strict", "-f", file); !strings.Contains(out, "podmonitor.monitoring.coreos.com/dragoman-") {
			t.Errorf("kubectl: %s", out)
		}
	}
}

// relabelings are those of the PodMonitor, as Prometheus itself spells them.
func relabelings(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(podMonitor)
	if err != nil {
		t.Fatal(err)
	}
	var monitor struct {
		Spec struct {
			Endpoints []struct{ Relabelings []map[string]any } `yaml:"podMetricsEndpoints"`
		}
	}
	if err := yaml.Unmarshal(text, &monitor); err != nil || len(monitor.Spec.Endpoints) != 1 {
		t.Fatalf("%s: %v, %+v", podMonitor, err, monitor)
	}
	capital := regexp.MustCompile("[A-Z]")
	var rules []map[string]any
	for _, r := range monitor.Spec.Endpoints[0].Relabelings {
		rule := map[string]any{}
		for name, v := range r {
			rule[capital.ReplaceAllStringFunc(name, func(s string) string { return "_" + strings.ToLower(s) })] = v
		}
		rules = append(rules, rule)
	}
	out, err := yaml.Marshal(rules)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// discovered is what Prometheus' discovery of pods tells of one at an address: a
// target for each container, with the pod's own names in labels. (Debian builds
// Prometheus without the API's client.)
func discovered(pod *corev1.Pod, ip string) string {
	labels := map[string]string{
		"__meta_kubernetes_namespace": pod.Namespace, "__meta_kubernetes_pod_name": pod.Name, "__meta_kubernetes_pod_ip": ip,
	}
	other := regexp.MustCompile("[^a-zA-Z0-9_]")
	for name, v := range pod.Annotations {
		labels["__meta_kubernetes_pod_annotation_"+other.ReplaceAllString(name, "_")] = v
	}
	var all []map[string]any
	for _, container := range append(slices.Clone(pod.Spec.Containers), pod.Spec.InitContainers...) {
		one := maps.Clone(labels)
		one["__meta_kubernetes_pod_container_name"] = container.Name
		all = append(all, map[string]any{"targets": []string{ip}, "labels": one})
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err) // it is text
	}
	return string(text)
}

// scrapedPod makes pods until one has a proxy and says where its metrics are: it
// is for each replica to notice who is to be asked, and that there is an Adapter.
func (c *cluster) scrapedPod(t *testing.T, ns string) (pod *corev1.Pod) {
	t.Helper()
	n := 0
	redistest.Eventually(t, limit, "a pod with a proxy and an address of metrics", func() error {
		name := fmt.Sprintf("web-%d", n)
		n++
		if _, err := c.TryApply(ns, webPod(name, "")); err != nil {
			return err
		}
		if pod = c.pod(t, ns, name); len(pod.Spec.InitContainers) == 1 && pod.Annotations["prometheus.io/scrape"] != "" {
			return nil
		}
		c.DeletePod(t, pod)
		return fmt.Errorf("annotations %v", pod.Annotations)
	})
	return pod
}

// adapterAt is one of metrics with a path and a source of StatsD.
func adapterAt(port, lines int, path, more string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: metrics}
spec:
  selector: {matchLabels: {app: web}}
  metrics:
    listen: {port: %d, path: %s}
    sources:
    - {name: app, statsd: {udp: %d, tcp: %d}}
%s`, port, path, lines, lines, more)
}

// adaptersServe gives a pod its proxy and an Adapter. The pod's annotations say
// where its metrics are, and by them a real Prometheus finds them, once. The
// Adapter changes while the proxy runs, and what its sources have counted stays;
// a pod that is not selected any more has no metrics.
func adaptersServe(t *testing.T, c *cluster) {
	c.injects(t)
	ns, port, lines := c.Namespace(t, "mesh.dragoman.io/inject", "enabled"), redistest.Port(t), redistest.Port(t)
	c.ServiceAccount(t, ns, "web")
	c.Apply(t, ns, adapterAt(port, lines, "/numbers", ""))
	c.conditionsOf(t, "adapters", ns, "metrics", "Accepted=True/Accepted", "Programmed=Unknown/NoProxies")
	pod := c.scrapedPod(t, ns)
	for name, want := range map[string]string{"scrape": "true", "port": strconv.Itoa(port), "path": "/numbers"} {
		if got := pod.Annotations["prometheus.io/"+name]; got != want {
			t.Errorf("annotation prometheus.io/%s: %q, want %q", name, got, want)
		}
	}
	proxy := c.runInjected(t, pod, &pod.Spec.InitContainers[0])
	proxy.Ready("LIVE")
	c.conditionsOf(t, "adapters", ns, "metrics", "Accepted=True/Accepted", "ResolvedRefs=True/ResolvedRefs", "Programmed=True/Programmed: 1 of 1")
	sendStatsD(t, lines, "logins:3|c\n")
	c.Apply(t, ns, webPod("alone", ", annotations: {mesh.dragoman.io/inject: disabled, prometheus.io/scrape: 'true', prometheus.io/port: '1'}"))
	found(t, fmt.Sprintf("http://127.0.0.1:%d/numbers", port), pod, c.pod(t, ns, "alone"))

	page := func(path string) string {
		_, body := meshtest.Get(nettest.Client, "http://"+local(port)+path, "")
		return "\n" + body
	}
	c.Apply(t, ns, adapterAt(port, lines, "/metrics", `    - {name: more, prometheus: {uri: "http://`+proxy.Admin+`/metrics"}}`+"\n"))
	proxy.Eventually("the Adapter's change", func() error {
		return meshtest.Holds(page("/metrics"), "\nlogins 3\n", `adapter_source_up{source="app"} 1`, `adapter_source_up{source="more"} 1`)
	})
	c.conditionsOf(t, "adapters", ns, "metrics", "Programmed=True/Programmed: 1 of 1")
	c.Label(t, pod, "app", "other")
	proxy.Eventually("the port to be closed", func() error {
		if conn, err := net.Dial("tcp", local(port)); err == nil {
			conn.Close()
			return fmt.Errorf("it is open")
		}
		return nil
	})
	c.Label(t, pod, "app", "web")
	proxy.Eventually("the port to be open again", func() error { return meshtest.Holds(page("/metrics"), `adapter_source_up{source="app"} 1`) })
}

// found makes sure that a Prometheus to which pods are told has one target.
func found(t *testing.T, target string, pods ...*corev1.Pod) {
	t.Helper()
	dir := t.TempDir()
	for _, pod := range pods {
		if err := os.WriteFile(filepath.Join(dir, pod.Name+".json"), []byte(discovered(pod, "127.0.0.1")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	prometheus := promtest.Start(t, fmt.Sprintf(`global: {scrape_interval: 1s}
scrape_configs:
- job_name: pods
  file_sd_configs: [{files: [%q]}]
  relabel_configs:
%s`, dir+"/*.json", "  "+strings.ReplaceAll(strings.TrimSpace(relabelings(t)), "\n", "\n  ")))
	first := pods[0]
	redistest.Eventually(t, limit, "Prometheus to have the metrics", func() error {
		targets, err := prometheus.Targets()
		if err != nil {
			return err
		}
		if len(targets) != 1 || targets[0].ScrapeURL != target || targets[0].Labels["pod"] != first.Name || targets[0].Labels["namespace"] != first.Namespace {
			return fmt.Errorf("targets: %+v", targets)
		}
		samples, err := prometheus.Query(fmt.Sprintf("logins{pod=%q} == 3", first.Name))
		if err == nil && len(samples) != 1 {
			err = fmt.Errorf("samples %v, target %+v", samples, targets[0])
		}
		return err
	})
}

func sendStatsD(t *testing.T, port int, line string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", local(port), 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(line)); err != nil {
		t.Fatal(err)
	}
}
