package kube

import (
	"os"
	"strings"
	"testing"
)

// manifestsApply has the API server look at every manifest and example, as
// kubectl sends them, in namespaces that warn of pods which are not restricted. A
// warning is an error.
func manifestsApply(t *testing.T, c *cluster) {
	shop(t, c)
	out := c.Kubectl(t, nil, "apply", "--dry-run=server", "--warnings-as-errors", "--recursive",
		"-f", "../../manifests/crds", "-f", "../../manifests/controlplane", "-f", "../../examples/kubernetes")
	for _, want := range []string{
		"customresourcedefinition.apiextensions.k8s.io/ambassadors.mesh.dragoman.io", "namespace/dragoman-system",
		"serviceaccount/dragoman-controlplane", "clusterrole.rbac.authorization.k8s.io/dragoman-controlplane",
		"deployment.apps/dragoman-controlplane", "service/dragoman-controlplane",
		"deployment.apps/web", "ambassador.mesh.dragoman.io/cache", "ambassador.mesh.dragoman.io/smtp",
	} {
		if !strings.Contains(out, want+" ") {
			t.Errorf("kubectl says nothing of %s:\n%s", want, out)
		}
	}
	for _, file := range []string{"../../manifests/controlplane/workload.yaml", "../../examples/kubernetes/sidecar/web.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if image, ok := strings.CutPrefix(strings.TrimSpace(line), "image: "); ok && strings.Contains(image, "/") {
				t.Errorf("%s: the image %s names a registry", file, image)
			}
		}
	}
}

// shop is the namespace of the examples.
func shop(t *testing.T, c *cluster) {
	t.Helper()
	c.Apply(t, "", `apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {pod-security.kubernetes.io/warn: restricted}
`)
}

// exampleRuns runs the proxy of the example with its own arguments, and the
// Ambassador beside it.
func exampleRuns(t *testing.T, c *cluster) {
	shop(t, c)
	document, err := os.ReadFile("../../examples/kubernetes/redis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(t, "", string(document))
	_, host := world(t, "dev")
	c.Service(t, "shop", "redis", 6379)
	c.EndpointSlice(t, "shop", "redis", 6379, host)
	pod := c.web(t, "shop", "web-0", "mesh.dragoman.io/environment", "dev")

	const service = "dragoman-controlplane.dragoman-system.svc"
	proxy := containerOf(t, "../../examples/kubernetes/sidecar/web.yaml", "proxy")
	args := proxy.args(map[string]string{
		service + ":15010":                 c.replicas[0].address,
		"/var/run/secrets/dragoman/ca.crt": c.ca(t, "shop"),
		"/var/run/secrets/dragoman/token":  c.TokenFile(t, pod),
		"/var/lib/dragoman":                t.TempDir(),
	})
	// The certificate has the name that the example calls.
	args = append(args, "--control-plane-name", service)
	running := run(t, "proxy", proxy.env(pod.Name, pod.Namespace), args)
	running.ready("LIVE")
	startApp(t, 6379, "dev")
	if probe := proxy.StartupProbe.Exec.Command; len(probe) == 0 || probe[0] != "/proxy" {
		t.Errorf("the startup probe is %q", probe)
	} else {
		says(t, "proxy", append(probe[1:], "--admin-address", running.admin)...)
	}
	if c.replicas[0].proxies()["shop/web-0"].ID != "web-0.shop" {
		t.Error("the control plane does not know the proxy by its pod")
	}
}
