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
