package kube

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
)

const chart = "../../manifests/helm"

// TestChartIsTheManifests: with its defaults, and with the values for production, the chart makes what kustomize makes of the overlays, object by
// object; but for the namespace, which is helm's to make.
func TestChartIsTheManifests(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		overlay string
		values  []string
	}{
		"defaults":           {"../../manifests/overlays/minimal", nil},
		"highly available":   {"../../manifests/overlays/highly-available", []string{"-f", chart + "/values-highly-available.yaml"}},
		"policy":             {"../../manifests/overlays/admission-policy", []string{"--set", "injector.kind=Policy"}},
		"with a pod monitor": {"testdata/pod-monitor", []string{"--set", "podMonitor.enabled=true"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := objects(t, runs(t, kubetest.Binary(t), "kubectl", "kustomize", "--load-restrictor=LoadRestrictionsNone", one.overlay))
			delete(want, "Namespace/dragoman-system")
			got := objects(t, helm(t, append([]string{"template", "dragoman", chart, "--include-crds", "--namespace", system, "--kube-version", "1.36"}, one.values...)...))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-kustomize +helm:\n%s", diff)
			}
		})
	}
}

// objects reads documents, by kind and name.
func objects(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	documents := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
	for {
		var one map[string]any
		if err := documents.Decode(&one); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if one == nil {
			continue
		}
		metadata, _ := one["metadata"].(map[string]any)
		name := fmt.Sprintf("%s/%s", one["kind"], metadata["name"])
		if found[name] != nil {
			t.Errorf("there are two %s", name)
		}
		found[name] = one
	}
}

func helm(t *testing.T, args ...string) string {
	t.Helper()
	return runs(t, tooltest.Path(t, "helm"), args...)
}

// runs runs a program to its end and returns what it prints.
func runs(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, complaint, err := tryRun(t, program, args...)
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, args, err, complaint)
	}
	return out
}

func tryRun(t *testing.T, program string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	err = cmd.Run()
	return out.String(), complaint.String(), err
}

// TestChartIsLinted, with the schema of its values: what is wrong is refused by its name.
func TestChartIsLinted(t *testing.T) {
	t.Parallel()
	if out := helm(t, "lint", "--strict", chart); strings.Contains(out, "[WARNING]") {
		t.Error(out)
	}
	for set, want := range map[string]string{
		"replicas=0":                  "/replicas",
		"replica=2":                   "replica",
		"injector.kind=Hook":          "/injector/kind",
		"injector.failurePolicy=Open": "/injector/failurePolicy",
		"proxy.mode=sidecar":          "/proxy/mode",
		"memoryLimit=900M":            "/memoryLimit",
		"podMonitor.enabled=often":    "/podMonitor/enabled",
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			_, complaint, err := tryRun(t, tooltest.Path(t, "helm"), "template", "dragoman", chart, "--kube-version", "1.36", "--set", set)
			if err == nil || !strings.Contains(complaint, want) {
				t.Errorf("error %v, and no %q in\n%s", err, want, complaint)
			}
		})
	}
}

// TestChartOfOddValues: a namespace whose name is a number to YAML, as its API server takes only a string; a drain that is longer than pods
// usually have to end; and a platform that chooses users.
func TestChartOfOddValues(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"123", "true", "my-" + system} {
		for _, kind := range []string{"Webhook", "Policy"} {
			made := objects(t, helm(t, "template", "dragoman", chart, "--namespace", namespace, "--kube-version", "1.36",
				"-f", chart+"/values-highly-available.yaml", "--set", "podMonitor.enabled=true,injector.kind="+kind))
			for name, one := range made {
				named(t, name, "", one, namespace)
			}
		}
	}
	for drain, want := range map[string]float64{"10s": 30, "1m30s": 110, "1500ms": 22} {
		made := objects(t, helm(t, "template", "dragoman", chart, "--kube-version", "1.36", "--set", "proxy.user=0,drainTimeout="+drain))
		pod, _, _ := unstructured.NestedMap(made["Deployment/dragoman-controlplane"], "spec", "template", "spec")
		if got := pod["terminationGracePeriodSeconds"]; got != want {
			t.Errorf("with %s to drain: %v seconds, want %v", drain, got, want)
		}
		if args := fmt.Sprint(pod["containers"]); !strings.Contains(args, "--proxy-user=0 --drain-timeout="+drain) {
			t.Errorf("the container is %s", args)
		}
	}
	for _, one := range [][3]string{{"0", "1.36", "proxy.user needs injector.kind=Webhook"}, {"65532", "1.35", "needs Kubernetes 1.36"}} {
		user, version, want := one[0], one[1], one[2]
		_, complaint, err := tryRun(t, tooltest.Path(t, "helm"), "template", "dragoman", chart, "--kube-version", version, "--set", "injector.kind=Policy,proxy.user="+user)
		if err == nil || !strings.Contains(complaint, want) {
			t.Errorf("user %s, Kubernetes %s: error %v, and no %q in\n%s", user, version, err, want, complaint)
		}
	}
}

// named looks for namespaces that are another one, or no text.
func named(t *testing.T, object, path string, value any, namespace string) {
	t.Helper()
	switch v := value.(type) {
	case map[string]any:
		for key, inner := range v {
			if key == "namespace" && inner != namespace {
				t.Errorf("%s%s: the namespace is %#v, want %q", object, path, inner, namespace)
			}
			named(t, object, path+"."+key, inner, namespace)
		}
	case []any:
		for _, inner := range v {
			if _, text := inner.(string); strings.HasSuffix(path, ".values") && !text {
				t.Errorf("%s%s: %#v is no text", object, path, inner)
			}
			named(t, object, path, inner, namespace)
		}
	}
}

// TestChartIsInstalled on an API server, in a namespace of another name: pods get their proxy. Then it is upgraded to the values for production, and
// removed.
func TestChartIsInstalled(t *testing.T) {
	t.Parallel()
	const namespace = "mesh"
	api := kubetest.Start(t)
	config := []string{"--kubeconfig", api.Kubeconfig(t, nil), "--namespace", namespace}
	release := func(command string, args ...string) {
		t.Helper()
		helm(t, slices.Concat([]string{command, "dragoman"}, args, config)...)
	}
	release("install", chart, "--create-namespace", "--set", "podMonitor.enabled=false")
	dry := helm(t, slices.Concat([]string{"template", "dragoman", chart, "--validate", "-f", chart + "/values-highly-available.yaml", "--is-upgrade"}, config)...)
	made := slices.Sorted(maps.Keys(objects(t, dry)))
	release("upgrade", chart, "-f", chart+"/values-highly-available.yaml")
	for _, name := range made {
		kind, name, _ := strings.Cut(name, "/")
		api.Kubectl(t, nil, "-n", namespace, "get", strings.ToLower(kind)+"/"+name)
	}
	if got := api.Kubectl(t, nil, "-n", namespace, "get", "deployment/dragoman-controlplane", "-o", "jsonpath={.spec.replicas}"); got != "3" {
		t.Errorf("%s replicas", got)
	}
	c := clusterOf(api, namespace)
	running := c.start(t, "controlplane-0", "")
	c.injects(t)
	ns := c.Namespace(t, "mesh.dragoman.io/inject", "enabled")
	c.ServiceAccount(t, ns, "web")
	c.Apply(t, ns, webPod("web-0", ""))
	pod := c.pod(t, ns, "web-0")
	if args := fmt.Sprint(pod.Spec.InitContainers[0].Args); !strings.Contains(args, "=dragoman-controlplane.mesh.svc:15010") {
		t.Errorf("the proxy's arguments: %s", args)
	}
	running.onlySecretsWereForbidden()
	running.Stop()
	release("uninstall")
	if out := api.Kubectl(t, nil, "get", "clusterroles,clusterrolebindings,mutatingwebhookconfigurations,validatingwebhookconfigurations,priorityclasses", "-o", "name"); strings.Contains(out, "dragoman") {
		t.Errorf("left behind:\n%s", out)
	}
}
