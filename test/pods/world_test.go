package pods

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/podtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// limit is generous on purpose: the tests run beside every other package's on few cores.
const limit = 2 * time.Minute

var suite = kubetest.Suite{Processes: true}

func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("6") // a number
	}
	os.Exit(suite.Main(m))
}

const (
	system = "dragoman-system"
	plane  = "dragoman-controlplane.dragoman-system.svc"
)

// world is an API server, a node, and the control plane that runs on it.
type world struct {
	*kubetest.Server
	node *podtest.Node

	mu    sync.Mutex // guards below
	hosts map[string]string
	plane *podtest.Pod
}

// newWorld builds the images, as the documentation of the manifests says it.
func newWorld(t *testing.T) *world {
	t.Helper()
	api := kubetest.Start(t, "--bind-address=0.0.0.0")
	w := &world{Server: api, node: podtest.Start(t, api), hosts: map[string]string{}}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "make", "build", "BIN="+bin)
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("make build: %v\n%s", err, out)
	}
	w.node.Build(t, "dragoman-proxy:dev", "../../manifests/Containerfile", bin, "--target=prebuilt")
	w.node.Build(t, "dragoman-controlplane:dev", "../../manifests/controlplane/Containerfile", bin, "--target=prebuilt")
	w.node.Programs(t, "redis:7", nil, "redis-cli", "redis-server", "sleep", "env")
	w.node.Programs(t, "redis:7-alpine", nil, "redis-cli", "sh", "wget")
	w.node.Programs(t, "nginx:1", map[string]string{"/etc/passwd": "nobody:x:65534:65534::/:/bin/false\n", "/etc/group": "nogroup:x:65534:\n"}, "nginx")
	return w
}

// start runs the control plane's Deployment, at an address that it had or at a new one. A relay of Services is not there: the API
// server finds the webhooks by their EndpointSlice, proxies by its name.
func (w *world) start(t *testing.T, address string) {
	t.Helper()
	var d appsv1.Deployment
	w.get(t, "deployment/dragoman-controlplane", system, &d)
	pod := w.make(t, system, fmt.Sprintf("controlplane-%d", time.Now().UnixNano()), &d.Spec.Template)
	running := w.node.Run(t, pod, address, nil)
	running.AwaitUp(limit)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.plane = running
	w.hosts[plane] = running.Address
}

// run runs a pod that the API server has.
func (w *world) run(t *testing.T, pod *corev1.Pod) *podtest.Pod {
	t.Helper()
	return w.runWith(t, pod, nil)
}

// runWith is run with names of servers and their addresses.
func (w *world) runWith(t *testing.T, pod *corev1.Pod, names map[string]string) *podtest.Pod {
	t.Helper()
	w.mu.Lock()
	hosts := maps.Clone(w.hosts)
	w.mu.Unlock()
	maps.Copy(hosts, names)
	return w.node.Run(t, pod, "", hosts)
}

// get reads an object by kubectl's name of it.
func (w *world) get(t *testing.T, name, namespace string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(w.Kubectl(t, nil, "-n", namespace, "get", name, "-o", "json")), into); err != nil {
		t.Fatal(err)
	}
}

// make makes a pod of a template, as the controllers of Deployments and Jobs do.
func (w *world) make(t *testing.T, namespace, name string, template *corev1.PodTemplateSpec) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: template.Labels, Annotations: template.Annotations},
		Spec:       template.Spec,
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = "default" // as the admission of a whole cluster does
	}
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	w.Kubectl(t, text, "-n", namespace, "create", "-f", "-")
	return w.pod(t, namespace, name)
}

// pod reads a pod as the API server has stored it, on a node.
func (w *world) pod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	node := w.Node(t, "node", "")
	binding := fmt.Sprintf(`{"apiVersion": "v1", "kind": "Binding", "metadata": {"name": %q}, "target": {"kind": "Node", "name": %q}}`, name, node.Name)
	w.Kubectl(t, []byte(binding), "create", "--raw", "/api/v1/namespaces/"+namespace+"/pods/"+name+"/binding", "-f", "-")
	pod := &corev1.Pod{}
	w.get(t, "pod/"+name, namespace, pod)
	return pod
}

// apply sends a file of the project to a namespace, whose name it has in place of the one in the file, and gives the templates of the
// workloads in it.
func (w *world) apply(t *testing.T, file, in, namespace string) (templates []*corev1.PodTemplateSpec) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	if in != "" {
		text = bytes.ReplaceAll(text, []byte("namespace: "+in), []byte("namespace: "+namespace))
		text = bytes.ReplaceAll(text, []byte("namespace="+in), []byte("namespace="+namespace))
	}
	w.Kubectl(t, withAccount(t, text), "-n", namespace, "apply", "-f", "-")
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var raw map[string]any
		if err := documents.Decode(&raw); errors.Is(err, io.EOF) {
			return templates
		} else if err != nil {
			t.Fatal(err)
		}
		if template := templateOf(t, raw); template != nil {
			templates = append(templates, template)
		}
	}
}

// withAccount gives pods that say nothing the account "default", as the admission of a whole cluster does.
func withAccount(t *testing.T, text []byte) []byte {
	t.Helper()
	var list struct {
		APIVersion string           `json:"apiVersion"`
		Kind       string           `json:"kind"`
		Items      []map[string]any `json:"items"`
	}
	list.APIVersion, list.Kind = "v1", "List"
	documents := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		var one map[string]any
		if err := documents.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if spec, ok := one["spec"].(map[string]any); ok && one["kind"] == "Pod" && spec["serviceAccountName"] == nil {
			spec["serviceAccountName"] = "default"
		}
		if one != nil {
			list.Items = append(list.Items, one)
		}
	}
	out, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func templateOf(t *testing.T, raw map[string]any) *corev1.PodTemplateSpec {
	t.Helper()
	text, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	var workload struct {
		Kind string
		Spec struct{ Template *corev1.PodTemplateSpec }
	}
	if err := json.Unmarshal(text, &workload); err != nil {
		t.Fatal(err)
	}
	return workload.Spec.Template
}

// redis is a Redis outside of the pods, with a key that says which one it is.
func redis(t *testing.T, is string) (node *redistest.Node, host string) {
	t.Helper()
	host = suite.Addresses(t, 1)[0].String()
	node = redistest.Server(t, redistest.WithAddress(host, 6379))
	node.Do("SET", "where", is)
	return node, host
}

// labelled makes a namespace whose pods get a proxy.
func (w *world) labelled(t *testing.T) string {
	t.Helper()
	return w.Namespace(t, "mesh.dragoman.io/inject", "enabled", "pod-security.kubernetes.io/enforce", "restricted")
}

// ambassador is one for Redis at an address.
func ambassador(port int, address string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
spec:
  selector: {matchLabels: {app: web}}
  protocol: redis
  listen: {port: %d}
  environments: {prod: {address: "%s:6379"}}
  defaultEnvironment: prod
`, port, address)
}

// cli runs redis-cli in the app, once.
func cli(t *testing.T, p *podtest.Pod, container string, args ...string) string {
	t.Helper()
	out, err := p.Exec(container, append([]string{"redis-cli", "-p", "6380"}, args...)...)
	if err != nil {
		t.Errorf("redis-cli %q: %v", args, err)
	}
	return strings.TrimSpace(out)
}
