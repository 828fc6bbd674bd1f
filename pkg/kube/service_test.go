package kube_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/dragoman-mesh/dragoman/internal/goldentest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
)

// TestJoin: each file holds Kubernetes objects, and the Services of the
// inventory that they make.
func TestJoin(t *testing.T) {
	t.Parallel()
	goldentest.Run(t, "testdata/join/*.txtar", func(t *testing.T, c *goldentest.Case) {
		c.Compare(t, map[string]string{"services": joined(t, c.Data("objects.yaml"))})
	})
}

// surroundings are the pods and nodes of a case.
type surroundings struct {
	pods  map[inventory.Key]map[string]string
	zones map[string]string
}

func (s *surroundings) PodLabels(k inventory.Key) map[string]string { return s.pods[k] }
func (s *surroundings) NodeZone(node string) string                 { return s.zones[node] }

// joined prints the Services that documents make, an endpoint in each line.
func joined(t *testing.T, documents []byte) string {
	t.Helper()
	var services []*corev1.Service
	var parts, core []*kube.Slice
	around := &surroundings{make(map[inventory.Key]map[string]string), make(map[string]string)}
	for _, obj := range decodeAll(t, documents) {
		switch o := obj.(type) {
		case *corev1.Service:
			services = append(services, o)
		case *discoveryv1.EndpointSlice:
			if s := kube.SliceOf(o); s != nil {
				parts = append(parts, s)
			}
		case *corev1.Endpoints: //nolint:staticcheck // deprecated, and still what some clusters have
			core = append(core, kube.EndpointsOf(o)...)
		case *corev1.Pod:
			p := kube.PodOf(o)
			around.pods[p.Key] = p.Labels
		case *corev1.Node:
			around.zones[o.Name] = o.Labels[corev1.LabelTopologyZone]
		default:
			t.Fatalf("a %T means nothing here", obj)
		}
	}
	if len(parts) == 0 {
		parts = core
	}
	var out strings.Builder
	for _, s := range services {
		printService(t, &out, kube.ServiceOf(s).Join(parts, around))
	}
	return out.String()
}

func printService(t *testing.T, out *strings.Builder, s *inventory.Service) {
	t.Helper()
	line := func(prefix string, v any) {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(out, "%s%s\n", prefix, text)
	}
	endpoints := s.Endpoints
	s.Endpoints = nil
	line("", s)
	for _, e := range endpoints {
		line("  ", e)
	}
}

func decodeAll(t *testing.T, documents []byte) []runtime.Object {
	t.Helper()
	reader := yaml.NewDocumentDecoder(readCloser{bytes.NewReader(documents)})
	var out []runtime.Object
	buffer := make([]byte, 1<<16)
	for {
		n, err := reader.Read(buffer)
		if err != nil {
			return out
		}
		obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(buffer[:n], nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, buffer[:n])
		}
		out = append(out, obj)
	}
}

type readCloser struct{ *bytes.Reader }

func (readCloser) Close() error { return nil }

// TestPodOf: of the annotations only those of the mesh are kept.
func TestPodOf(t *testing.T) {
	t.Parallel()
	got := kube.PodOf(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-0", UID: "u", Labels: map[string]string{"app": "web", corev1.LabelTopologyZone: "a"},
			Annotations: map[string]string{"mesh.dragoman.io/inject": "true", "checksum/config": "e3b0"},
		},
		Spec:   corev1.PodSpec{ServiceAccountName: "web", NodeName: "n1", Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}, {IP: "fd00::1"}}},
	})
	want := &inventory.Pod{
		Key: inventory.Key{Namespace: "shop", Name: "web-0"}, UID: "u", ServiceAccount: "web",
		Labels:      map[string]string{"app": "web", corev1.LabelTopologyZone: "a"},
		Annotations: map[string]string{"mesh.dragoman.io/inject": "true"},
		IPs:         []string{"10.0.0.1", "fd00::1"}, NodeName: "n1", Zone: "a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pod (-want +got):\n%s", diff)
	}
}

// TestPodsThatNeedNoProxy, as they cannot have one, or have one that was put there by hand.
func TestPodsThatNeedNoProxy(t *testing.T) {
	t.Parallel()
	token := func(audience string) []corev1.Volume {
		return []corev1.Volume{{Name: "t", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Audience: audience, Path: "token"}}},
		}}}}
	}
	for name, tt := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"any":                      {corev1.Pod{}, false},
		"on its node's network":    {corev1.Pod{Spec: corev1.PodSpec{HostNetwork: true}}, true},
		"for Windows":              {corev1.Pod{Spec: corev1.PodSpec{OS: &corev1.PodOS{Name: corev1.Windows}}}, true},
		"for a node of Windows":    {corev1.Pod{Spec: corev1.PodSpec{NodeSelector: map[string]string{corev1.LabelOSStable: "windows"}}}, true},
		"for Linux":                {corev1.Pod{Spec: corev1.PodSpec{OS: &corev1.PodOS{Name: corev1.Linux}}}, false},
		"static":                   {corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "x"}}}, true},
		"with a proxy by hand":     {corev1.Pod{Spec: corev1.PodSpec{Volumes: token("dragoman")}}, true},
		"with a token for another": {corev1.Pod{Spec: corev1.PodSpec{Volumes: token("vault")}}, false},
		"that has ended":           {corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}, true},
	} {
		if got := kube.PodOf(&tt.pod).Exempt; got != tt.want {
			t.Errorf("a pod %s: exempt %t, want %t", name, got, tt.want)
		}
	}
}

// TestPodOfInjected: where the proxy that a pod was given has volumes.
func TestPodOfInjected(t *testing.T) {
	t.Parallel()
	mounts := func(paths ...string) (out []corev1.VolumeMount) {
		for _, p := range paths {
			out = append(out, corev1.VolumeMount{Name: "x", MountPath: p})
		}
		return out
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"mesh.dragoman.io/injected": "native"}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "init", VolumeMounts: mounts("/a")}, {Name: "dragoman-proxy", VolumeMounts: mounts("/var/log", "/state")}},
			Containers:     []corev1.Container{{Name: "app", VolumeMounts: mounts("/b")}},
		},
	}
	got := kube.PodOf(pod)
	if diff := cmp.Diff([]string{"/state", "/var/log"}, got.ProxyMounts); !got.Injected || diff != "" {
		t.Errorf("injected: %v (-want +got):\n%s", got.Injected, diff)
	}
	pod.Annotations = nil // somebody's own container of this name
	if got := kube.PodOf(pod); got.Injected || got.ProxyMounts != nil {
		t.Errorf("injected: %v, %q", got.Injected, got.ProxyMounts)
	}
}

// TestSecretOf: a file may have stringData, a ConfigMap binaryData.
func TestSecretOf(t *testing.T) {
	t.Parallel()
	meta := metav1.ObjectMeta{Namespace: "shop", Name: "redis"}
	key := inventory.Key{Namespace: "shop", Name: "redis"}
	data := map[string][]byte{"username": []byte("shop"), "password": []byte("old")}
	tests := []struct {
		name string
		got  *inventory.Secret
		want *inventory.Secret
	}{
		{
			"secret", kube.SecretOf(&corev1.Secret{ObjectMeta: meta, Type: corev1.SecretTypeBasicAuth, Data: data}),
			&inventory.Secret{Key: key, Type: "kubernetes.io/basic-auth", Data: data},
		},
		{
			"stringData wins", kube.SecretOf(&corev1.Secret{ObjectMeta: meta, Data: data, StringData: map[string]string{"password": "new"}}),
			&inventory.Secret{Key: key, Data: map[string][]byte{"username": []byte("shop"), "password": []byte("new")}},
		},
		{
			"config map", kube.ConfigMapOf(&corev1.ConfigMap{
				ObjectMeta: meta, Data: map[string]string{"ca.crt": "PEM"}, BinaryData: map[string][]byte{"b": {0, 1}},
			}),
			&inventory.Secret{Key: key, Data: map[string][]byte{"ca.crt": []byte("PEM"), "b": {0, 1}}},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, tt.got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
