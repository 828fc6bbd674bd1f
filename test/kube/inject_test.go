package kube

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// webPod is one as an app's owner writes it, with what else its metadata has.
func webPod(name, metadata string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: web}%s}
spec:
  serviceAccountName: web
  containers:
  - {name: app, image: "redis:7"}
`, name, metadata)
}

// pod reads a pod as the API server has stored it.
func (c *cluster) pod(t *testing.T, namespace, name string) *corev1.Pod {
	t.Helper()
	p := &corev1.Pod{}
	if err := c.read("/api/v1/namespaces/"+namespace+"/pods/"+name, p); err != nil {
		t.Fatal(err)
	}
	return p
}

// injects makes sure that the API server is told what to trust of the webhooks,
// and so asks them.
func (c *cluster) injects(t *testing.T) {
	t.Helper()
	redistest.Eventually(t, limit, "the API server to trust the webhooks", func() error {
		for _, path := range []string{
			"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/dragoman-injector",
			"/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/dragoman-validator",
		} {
			var configuration struct {
				Webhooks []struct{ ClientConfig struct{ CABundle []byte } }
			}
			if err := c.read(path, &configuration); err != nil {
				return err
			}
			for _, w := range configuration.Webhooks {
				if !strings.Contains(string(w.ClientConfig.CABundle), "BEGIN CERTIFICATE") {
					return fmt.Errorf("%s has no caBundle", path)
				}
			}
		}
		return nil
	})
}

// getsProxy makes pods until one gets a proxy: which replicas answer and what is
// to be trusted of them is for the API server to notice.
func (c *cluster) getsProxy(t *testing.T, namespace, name string) {
	t.Helper()
	n := 0
	redistest.Eventually(t, limit, "a pod to get a proxy", func() error {
		n++
		one := fmt.Sprintf("%s-%d", name, n)
		if _, err := c.TryApply(namespace, webPod(one, "")); err != nil {
			return err
		}
		pod := c.pod(t, namespace, one)
		defer c.DeletePod(t, pod)
		if len(pod.Spec.InitContainers) == 0 {
			return errors.New("it has none")
		}
		return nil
	})
}

// podsGetTheirProxy labels a namespace: the pods that are made in it have a
// proxy, which runs with what the pod says, and the app reaches Redis through it.
func podsGetTheirProxy(t *testing.T, c *cluster) {
	c.injects(t)
	ns, port := c.Namespace(t, "mesh.dragoman.io/inject", "enabled", "pod-security.kubernetes.io/enforce", "restricted"), redistest.Port(t)
	_, address := world(t, "one")
	c.Service(t, ns, "redis", 6379)
	c.EndpointSlice(t, ns, "redis", 6379, address)
	c.ServiceAccount(t, ns, "web")
	c.Apply(t, ns, ambassador("cache", port, "dev: {service: {name: redis, port: 6379}}"))
	// The standard is that of the namespace: the app keeps it, and so must the proxy.
	restricted := strings.Replace(webPod("web-0", `, annotations: {mesh.dragoman.io/proxy-hints: enabled, mesh.dragoman.io/proxy-log-level: debug}`),
		`image: "redis:7"}`, `image: "redis:7", securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, capabilities: {drop: [ALL]}, seccompProfile: {type: RuntimeDefault}}}`, 1)
	c.Kubectl(t, []byte(restricted), "-n", ns, "apply", "--warnings-as-errors", "-f", "-")
	pod := c.pod(t, ns, "web-0")
	if len(pod.Spec.InitContainers) != 1 || pod.Spec.InitContainers[0].Name != "dragoman-proxy" {
		t.Fatalf("init containers: %+v", pod.Spec.InitContainers)
	}
	proxy := pod.Spec.InitContainers[0]
	if proxy.RestartPolicy == nil || *proxy.RestartPolicy != corev1.ContainerRestartPolicyAlways {
		t.Error("the proxy does not stay")
	}
	if got := fmt.Sprint(pod.Spec.Containers[0].Env); !strings.Contains(got, fmt.Sprintf("DRAGOMAN_CACHE_PORT %d", port)) {
		t.Errorf("variables of the app: %s", got)
	}

	running := c.runInjected(t, pod, &proxy)
	running.Ready("LIVE")
	client := redistest.Dial(t, local(port))
	if got := client.Do("GET", "where"); got != bulk("one") {
		t.Errorf("through the proxy: %q", got)
	}
	c.conditions(t, ns, "cache", "Programmed=True/Programmed: 1 of 1")
}

// runInjected runs the container of a pod as the kubelet would.
func (c *cluster) runInjected(t *testing.T, pod *corev1.Pod, injected *corev1.Container) *program {
	t.Helper()
	args := container{Args: injected.Args}.args(map[string]string{
		"dragoman-controlplane.dragoman-system.svc:15010": c.replicas[0].address,
		"/var/run/secrets/dragoman/ca.crt":                c.ca(t, pod.Namespace),
		"/var/run/secrets/dragoman/token":                 c.TokenFile(t, pod),
		"/var/lib/dragoman":                               t.TempDir(),
	})
	args = append(args, "--control-plane-name", "dragoman-controlplane.dragoman-system.svc", "--drain-timeout", "1s")
	return run(t, "proxy", []string{"POD_NAME=" + pod.Name, "POD_NAMESPACE=" + pod.Namespace}, args)
}

// workloadsAreInjected: it is pods that are asked about, whoever makes them, and
// templates stay as they are.
func workloadsAreInjected(t *testing.T, c *cluster) {
	c.injects(t)
	ns := c.Namespace(t, "mesh.dragoman.io/inject", "enabled")
	const template = `
      metadata: {labels: {app: web}}
      spec:
        restartPolicy: %s
        containers: [{name: app, image: app}]
`
	c.Apply(t, ns, "apiVersion: batch/v1\nkind: Job\nmetadata: {name: job}\nspec:\n  template:"+strings.ReplaceAll(fmt.Sprintf(template, "Never"), "\n  ", "\n"))
	c.Apply(t, ns, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n  template:"+fmt.Sprintf(template, "Always"))
	for _, path := range []string{"/apis/batch/v1/namespaces/" + ns + "/jobs/job", "/apis/apps/v1/namespaces/" + ns + "/deployments/web"} {
		var workload struct {
			Spec struct{ Template corev1.PodTemplateSpec }
		}
		if err := c.read(path, &workload); err != nil {
			t.Fatal(err)
		}
		if n := len(workload.Spec.Template.Spec.InitContainers); n != 0 {
			t.Errorf("%s: the template has %d init containers", path, n)
		}
	}
	out := c.Kubectl(t, []byte(webPod("of-a-job", "")), "-n", ns, "apply", "--dry-run=server", "-o", "yaml", "-f", "-")
	if !strings.Contains(out, "name: dragoman-proxy") {
		t.Errorf("kubectl's dry run shows no proxy:\n%s", out)
	}
}

// podsAreLeftAlone: those of other namespaces, and those that say so.
func podsAreLeftAlone(t *testing.T, c *cluster) {
	c.injects(t)
	labelled, other := c.Namespace(t, "mesh.dragoman.io/inject", "enabled"), c.Namespace(t)
	for _, one := range []struct{ ns, name, metadata string }{
		{other, "elsewhere", ""},
		{labelled, "by-annotation", ", annotations: {mesh.dragoman.io/inject: disabled}"},
	} {
		c.ServiceAccount(t, one.ns, "web")
		c.Apply(t, one.ns, webPod(one.name, one.metadata))
		if n := len(c.pod(t, one.ns, one.name).Spec.InitContainers); n != 0 {
			t.Errorf("%s has %d init containers", one.name, n)
		}
	}
	c.Apply(t, labelled, strings.Replace(webPod("by-label", ""), "{app: web}", "{app: web, mesh.dragoman.io/inject: disabled}", 1))
	if n := len(c.pod(t, labelled, "by-label").Spec.InitContainers); n != 0 {
		t.Errorf("by-label has %d init containers", n)
	}
}

// wrongOnesAreRefused: kubectl tells what is wrong, and what to write instead.
func wrongOnesAreRefused(t *testing.T, c *cluster) {
	c.injects(t)
	ns := c.Namespace(t, "mesh.dragoman.io/inject", "enabled")
	for name, one := range map[string]struct {
		document string
		want     []string
	}{
		"annotation": {
			webPod("web", ", annotations: {mesh.dragoman.io/proxy-imgae: x, mesh.dragoman.io/proxy-memory: lots}"),
			[]string{`mesh.dragoman.io/proxy-imgae is not known: did you mean "proxy-image"?`, `"lots" is no amount of memory; want one as 32Mi`},
		},
		"what no schema sees": {
			strings.Replace(adapters, "path: \"/soap/orders\"", "path: \"/soap/{order}\"", 1),
			[]string{"spec.api.routes[0].request.path: {order} is not in match.path"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.TryApply(ns, one.document)
			if err == nil {
				t.Fatal("it is taken")
			}
			if err := meshtest.Holds(err.Error(), one.want...); err != nil {
				t.Error(err)
			}
		})
	}
}
