package kube

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// manifestsApply has the API server look at every manifest and example, as
// kubectl sends them, in namespaces that warn of pods which are not restricted. A
// warning is an error.
func manifestsApply(t *testing.T, c *cluster) {
	shop(t, c)
	// What is there has been applied by server-side apply in part, of which kubectl
	// warns.
	out := c.Kubectl(t, nil, "apply", "--dry-run=server", "-k", "../../manifests/overlays/minimal") +
		c.Kubectl(t, nil, "apply", "--dry-run=server", "-k", "../../manifests/overlays/highly-available") +
		c.Kubectl(t, nil, "apply", "--dry-run=server", "--warnings-as-errors", "--recursive", "-f", "../../examples/kubernetes")
	for _, want := range []string{
		"customresourcedefinition.apiextensions.k8s.io/ambassadors.mesh.dragoman.io",
		"customresourcedefinition.apiextensions.k8s.io/adapters.mesh.dragoman.io", "namespace/dragoman-system",
		"serviceaccount/dragoman-controlplane", "clusterrole.rbac.authorization.k8s.io/dragoman-controlplane",
		"deployment.apps/dragoman-controlplane", "service/dragoman-controlplane",
		"mutatingwebhookconfiguration.admissionregistration.k8s.io/dragoman-injector",
		"validatingwebhookconfiguration.admissionregistration.k8s.io/dragoman-validator",
		"poddisruptionbudget.policy/dragoman-controlplane", "networkpolicy.networking.k8s.io/dragoman-controlplane",
		"priorityclass.scheduling.k8s.io/dragoman-controlplane",
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
// Ambassador beside it: in prod, where all is TLS, and in dev.
func exampleRuns(t *testing.T, c *cluster) {
	const service, label = "dragoman-controlplane.dragoman-system.svc", "mesh.dragoman.io/environment"
	shop(t, c)
	primaries := examplesWorld(t, c)
	document, err := os.ReadFile("../../examples/kubernetes/redis.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(t, "", string(document))
	pod := c.web(t, "shop", "web-0", label, "prod")
	t.Cleanup(func() {
		c.DeletePod(t, pod)
		c.Kubectl(t, nil, "-n", "shop", "delete", "ambassador/cache", "configmap/company-ca", "rolebinding/dragoman-secrets")
	})

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
	c.conditions(t, "shop", "cache", "Accepted=True", "Programmed=True/Programmed: 1 of 1")
	running.Ready("LIVE")
	if probe := proxy.StartupProbe.Exec.Command; len(probe) == 0 || probe[0] != "/proxy" {
		t.Errorf("the startup probe is %q", probe)
	} else {
		says(t, "proxy", append(probe[1:], "--admin-address", running.Admin)...)
	}
	if c.replicas[0].proxies()["shop/web-0"].ID != "web-0.shop" {
		t.Error("the control plane does not know the proxy by its pod")
	}
	client := redistest.Dial(t, local(6379))
	running.Eventually("both shards to take writes", func() error {
		for i := range 64 {
			if got := client.Do("SET", key(i), "value"); got != "+OK\r\n" {
				return fmt.Errorf("SET: %q", got)
			}
		}
		return nil
	})
	for i, node := range primaries {
		if node.Calls("set") == 0 {
			t.Errorf("shard %d has got nothing", i+1)
		}
	}
	c.Label(t, pod, label, "dev")
	running.Eventually("the client to be in dev", func() error {
		return meshtest.Holds(client.Do("GET", "where"), bulk("dev"))
	})
}

// examplesWorld is what the example's environments dev and prod refer to. It
// gives the primaries of prod.
func examplesWorld(t *testing.T, c *cluster) []*redistest.Node {
	t.Helper()
	_, dev := world(t, "dev")
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: %s, annotations: {mesh.dragoman.io/allow-from: shop}}\nspec: {ports: [{name: main, port: 6379}]}\n"
	c.Apply(t, "", "apiVersion: v1\nkind: Namespace\nmetadata: {name: data}\n")
	c.Apply(t, "data", fmt.Sprintf(service, "redis-s2"))
	for _, name := range []string{"redis", "redis-s1", "redis-s1-replicas"} {
		c.Apply(t, "shop", fmt.Sprintf(service, name))
	}
	c.EndpointSlice(t, "shop", "redis", 6379, dev)

	hosts := suite.Addresses(t, 3)
	pki := redistest.NewPKI(t)
	pki.ServerCertFile, pki.ServerKeyFile = pki.Issue("prod", "redis-s1.shop.svc", "redis-s1-replicas.shop.svc", "redis-s2.data.svc",
		hosts[0].String(), hosts[1].String(), hosts[2].String())
	start := func(i int, o ...redistest.Option) *redistest.Node {
		o = append(o, redistest.WithAddress(hosts[i].String(), 6379), redistest.WithTLS(pki), redistest.WithUser("web", "open-sesame", "~* &* +@all"))
		return redistest.Server(t, o...)
	}
	first, second := start(0), start(2)
	start(1, redistest.WithReplicaOf(first))
	c.EndpointSlice(t, "shop", "redis-s1", 6379, hosts[0].String())
	c.EndpointSlice(t, "shop", "redis-s1-replicas", 6379, hosts[1].String())
	c.EndpointSlice(t, "data", "redis-s2", 6379, hosts[2].String())
	c.Secret(t, "shop", "redis-prod", map[string]string{"username": "web", "password": "open-sesame"})
	c.Kubectl(t, nil, "-n", "shop", "create", "configmap", "company-ca", "--from-file", "ca.crt="+pki.CAFile)
	c.Kubectl(t, nil, "-n", "shop", "create", "rolebinding", "dragoman-secrets", "--clusterrole", "dragoman-secrets",
		"--serviceaccount", system+":dragoman-controlplane")
	return []*redistest.Node{first, second}
}
