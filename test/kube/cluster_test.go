package kube

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"go.yaml.in/yaml/v3"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// system is the namespace of the manifests.
const system = "dragoman-system"

// cluster is an API server with the manifests applied, and replicas of the
// control plane that run as the Deployment says.
type cluster struct {
	*kubetest.Server
	http      *http.Client
	namespace string // of the control plane
	replicas  []*plane
}

// newCluster installs the manifests for production. No replica runs yet.
func newCluster(t *testing.T, api *kubetest.Server) *cluster {
	t.Helper()
	c := clusterOf(api, system)
	api.ApplyCRDs(t, "manifests/crds")
	c.Kubectl(t, nil, "apply", "--warnings-as-errors", "-k", "../../manifests/overlays/highly-available")
	return c
}

// clusterOf is one whose control plane is in a namespace.
func clusterOf(api *kubetest.Server, namespace string) *cluster {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(api.Config().CAData)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	return &cluster{Server: api, http: client, namespace: namespace}
}

// start runs a replica, with the container of the Deployment, and waits until it
// serves. One of the same name gets its address again.
func (c *cluster) start(t *testing.T, replica, address string) *plane {
	t.Helper()
	if address == "" {
		address = local(redistest.Port(t))
	}
	account := c.AsServiceAccount(t, c.namespace, "dragoman-controlplane")
	container := containerOf(t, "../../manifests/controlplane/workload.yaml", "controlplane")
	env := append(container.env(replica, c.namespace), "DRAGOMAN_KUBECONFIG="+c.Kubeconfig(t, account))
	host := suite.Addresses(t, 1)[0].String()
	args := container.args(map[string]string{":15010": address, ":15017": net.JoinHostPort(host, strconv.Itoa(webhookPort)), "10s": "1s"})
	p := &plane{run(t, "controlplane", env, args), replica, address, host}
	p.Ready("LIVE")
	c.replicas = append(c.replicas, p)
	c.asked(t, c.replicas...)
	return p
}

// webhookPort is that of the Deployment.
const webhookPort = 15017

// asked makes replicas those that the API server asks about pods and objects.
func (c *cluster) asked(t *testing.T, planes ...*plane) {
	t.Helper()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: c.namespace, Name: "dragoman-controlplane-webhook",
			Labels: map[string]string{discoveryv1.LabelServiceName: "dragoman-controlplane"},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("webhook"), Port: new(int32(webhookPort)), Protocol: new(corev1.ProtocolTCP)}},
	}
	for _, p := range planes {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{p.webhooks}, Conditions: discoveryv1.EndpointConditions{Ready: new(true)},
		})
	}
	c.PutEndpointSlice(t, slice)
}

// onlySecretsWereForbidden finds rules that the manifest lacks. Secrets and
// ConfigMaps that objects name are their owner's to allow.
func (p *plane) onlySecretsWereForbidden() {
	for line := range strings.Lines(string(p.Output())) {
		secret := strings.Contains(line, `"resource":"Secret `) || strings.Contains(line, `"resource":"ConfigMap `)
		if strings.Contains(line, "forbidden") && !secret {
			p.t.Errorf("the %s %s lacks a right: %s", p.Name, p.replica, line)
		}
	}
}

// in is the cluster for another test, which replicas may fail.
func (c *cluster) in(t *testing.T) *cluster {
	other := *c
	other.replicas = nil
	for _, p := range c.replicas {
		other.replicas = append(other.replicas, p.in(t))
	}
	return &other
}

// container is what the tests need to know of one in a manifest.
type container struct {
	Name, Image string
	Args        []string
	Env         []struct {
		Name, Value string
		ValueFrom   struct {
			FieldRef struct {
				FieldPath string `yaml:"fieldPath"`
			} `yaml:"fieldRef"`
		} `yaml:"valueFrom"`
	}
	StartupProbe struct{ Exec struct{ Command []string } } `yaml:"startupProbe"`
}

// containerOf finds a container in the manifest of a Deployment.
func containerOf(t *testing.T, file, name string) container {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var m struct {
			Spec struct {
				Template struct {
					Spec struct {
						Containers     []container
						InitContainers []container `yaml:"initContainers"`
					}
				}
			}
		}
		if err := dec.Decode(&m); errors.Is(err, io.EOF) {
			t.Fatalf("%s has no container %s", file, name)
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, c := range append(m.Spec.Template.Spec.Containers, m.Spec.Template.Spec.InitContainers...) {
			if c.Name == name {
				return c
			}
		}
	}
}

// env is what the kubelet would set.
func (c container) env(pod, namespace string) []string {
	var env []string
	for _, e := range c.Env {
		switch e.ValueFrom.FieldRef.FieldPath {
		case "metadata.name":
			e.Value = pod
		case "metadata.namespace":
			e.Value = namespace
		}
		env = append(env, e.Name+"="+e.Value)
	}
	return env
}

// args replaces what a test machine cannot have.
func (c container) args(replace map[string]string) []string {
	args := make([]string, len(c.Args))
	for i, a := range c.Args {
		for old, now := range replace {
			if a == old {
				a = now
			}
			if name, value, ok := strings.Cut(a, "="); ok && value == old {
				a = name + "=" + now
			}
		}
		args[i] = a
	}
	return args
}

// read reads an object as the API server gives it.
func (c *cluster) read(path string, into any) error {
	config := c.Config()
	code, body := meshtest.Get(c.http, config.Host+path, config.BearerToken)
	if code != http.StatusOK {
		return fmt.Errorf("%s: %d %s", path, code, body)
	}
	return json.Unmarshal([]byte(body), into)
}

// ca waits until the control plane has published in a namespace what is to be
// trusted, and writes it to a file.
func (c *cluster) ca(t *testing.T, namespace string) string {
	t.Helper()
	var m struct{ Data map[string]string }
	redistest.Eventually(t, limit, "the ConfigMap with the authority", func() error {
		err := c.read("/api/v1/namespaces/"+namespace+"/configmaps/dragoman-ca", &m)
		if err == nil && m.Data["ca.crt"] == "" {
			err = errors.New("it has no ca.crt")
		}
		return err
	})
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(m.Data["ca.crt"]), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// report is what the control plane says of an object.
type report struct {
	ObservedGeneration int64
	Conditions         []struct {
		Type, Status, Reason, Message string
		ObservedGeneration            int64
	}
	Proxies struct{ Connected, Running, Refused int }
}

// conditions waits until conditions of an Ambassador are as wanted, each
// "Type=Status/Reason", and its message to hold a text.
func (c *cluster) conditions(t *testing.T, namespace, name string, want ...string) (s report) {
	t.Helper()
	return c.conditionsOf(t, "ambassadors", namespace, name, want...)
}

// conditionsOf is conditions for any resource of the project.
func (c *cluster) conditionsOf(t *testing.T, resource, namespace, name string, want ...string) (s report) {
	t.Helper()
	redistest.Eventually(t, limit, fmt.Sprintf("%s/%s to be %q", namespace, name, want), func() error {
		var o struct {
			Metadata struct{ Generation int64 }
			Status   report
		}
		if err := c.read("/apis/mesh.dragoman.io/v1alpha1/namespaces/"+namespace+"/"+resource+"/"+name, &o); err != nil {
			return err
		}
		s = o.Status
		if s.ObservedGeneration != o.Metadata.Generation {
			return fmt.Errorf("generation %d, observed %d", o.Metadata.Generation, s.ObservedGeneration)
		}
		var text strings.Builder
		for _, one := range s.Conditions {
			fmt.Fprintf(&text, "%s=%s/%s: %s\n", one.Type, one.Status, one.Reason, one.Message)
		}
		return meshtest.Holds(text.String(), want...)
	})
	return s
}

// web makes a pod that the Ambassadors of these tests select.
func (c *cluster) web(t *testing.T, namespace, name string, labels ...string) *corev1.Pod {
	t.Helper()
	spec := kubetest.PodSpec{Namespace: namespace, Name: name, ServiceAccount: "web", Labels: map[string]string{"app": "web"}}
	for i := 0; i < len(labels); i += 2 {
		spec.Labels[labels[i]] = labels[i+1]
	}
	return c.Pod(t, spec)
}

// proxy runs the proxy of a pod, with its state in a folder; it is not waited for.
func (c *cluster) proxy(t *testing.T, pod *corev1.Pod, state string, planes ...*plane) *program {
	t.Helper()
	args := []string{
		"run", "--control-plane-ca", c.ca(t, pod.Namespace), "--token-file", c.TokenFile(t, pod),
		"--state-dir", state, "--config-wait", "2s", "--drain-timeout", "1s",
	}
	if len(planes) == 0 {
		planes = c.replicas
	}
	for _, p := range planes {
		args = append(args, "--control-plane", p.address)
	}
	return run(t, "proxy", []string{"POD_NAME=" + pod.Name, "POD_NAMESPACE=" + pod.Namespace}, args)
}

// launch starts a proxy that has ended as it was started before.
func (c *cluster) launch(t *testing.T, p *program) *program {
	t.Helper()
	return run(t, p.Name, p.env, p.args)
}

// saw waits until a replica sees a proxy in a state, and gives the version of
// what that is to run.
func (c *cluster) saw(t *testing.T, pod *corev1.Pod, state string) (version string) {
	t.Helper()
	redistest.Eventually(t, limit, pod.Name+" to be "+state, func() error {
		for _, p := range c.replicas {
			if one, ok := p.proxies()[pod.Namespace+"/"+pod.Name]; ok && one.State == state {
				version = one.Version
				return nil
			}
		}
		return errors.New("it is not")
	})
	return version
}

// environment is that of a pod's only object, and what chose it, as a replica
// sees it.
func (c *cluster) environment(pod *corev1.Pod) string {
	for _, p := range c.replicas {
		if one, ok := p.proxies()[pod.Namespace+"/"+pod.Name]; ok && len(one.Environments) == 1 {
			return one.Environments[0].Environment + ", by " + one.Environments[0].Source
		}
	}
	return "unknown"
}
