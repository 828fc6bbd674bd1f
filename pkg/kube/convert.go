package kube

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// annotationPrefix is that of the annotations which are kept.
const annotationPrefix = "mesh.dragoman.io/"

// PodOf converts a Pod. Zone is that of the label which Kubernetes copies from
// the node to the pod, "" where it does not.
func PodOf(in *corev1.Pod) *inventory.Pod {
	out := &inventory.Pod{
		Key:            inventory.Key{Namespace: in.Namespace, Name: in.Name},
		UID:            string(in.UID),
		ServiceAccount: in.Spec.ServiceAccountName,
		Labels:         in.Labels,
		Annotations:    ownAnnotations(in.Annotations),
		NodeName:       in.Spec.NodeName,
		Zone:           in.Labels[corev1.LabelTopologyZone],
		Exempt:         Unfit(in) != "" || ownProxy(in) || in.Status.Phase == corev1.PodSucceeded || in.Status.Phase == corev1.PodFailed,
	}
	for _, ip := range in.Status.PodIPs {
		out.IPs = append(out.IPs, ip.IP)
	}
	if len(out.IPs) == 0 && in.Status.PodIP != "" {
		out.IPs = []string{in.Status.PodIP}
	}
	out.Injected, out.ProxyMounts = injectedProxy(in)
	return out
}

// Unfit says why a pod gets no proxy, whatever it and its namespace want; "": it may have one.
func Unfit(pod *corev1.Pod) string {
	switch {
	case pod.Spec.HostNetwork:
		return "a pod on its node's network (hostNetwork) gets no proxy: its ports would be the node's"
	case pod.Spec.OS != nil && pod.Spec.OS.Name == corev1.Windows, pod.Spec.NodeSelector[corev1.LabelOSStable] == string(corev1.Windows):
		return "a pod for Windows gets no proxy: it is a program for Linux"
	case pod.Annotations[corev1.MirrorPodAnnotationKey] != "":
		return "a static pod gets no proxy: its node has made it already, of a file"
	}
	return ""
}

// ownProxy reports whether a pod was made with a proxy by hand, which has a token for the
// control plane.
func ownProxy(in *corev1.Pod) bool {
	return slices.ContainsFunc(in.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == Audience
		})
	})
}

// injectedProxy looks for the proxy that a pod was given, and where it has volumes.
func injectedProxy(in *corev1.Pod) (there bool, mounts []string) {
	if in.Annotations[mesh.InjectedAnnotation] == "" {
		return false, nil
	}
	for _, list := range [][]corev1.Container{in.Spec.InitContainers, in.Spec.Containers} {
		for i := range list {
			if list[i].Name != mesh.InjectedContainer {
				continue
			}
			for _, m := range list[i].VolumeMounts {
				mounts = append(mounts, m.MountPath)
			}
			slices.Sort(mounts)
			return true, mounts
		}
	}
	return false, nil
}

// ownAnnotations are those of the mesh: others are long (what kubectl applied
// last) and change for reasons of their own.
func ownAnnotations(in map[string]string) map[string]string {
	var out map[string]string
	for k, v := range in {
		if strings.HasPrefix(k, annotationPrefix) {
			if out == nil {
				out = make(map[string]string)
			}
			out[k] = v
		}
	}
	return out
}

func samePod(a, b *inventory.Pod) bool {
	return a != nil && b != nil && a.Key == b.Key && a.UID == b.UID && a.ServiceAccount == b.ServiceAccount &&
		a.NodeName == b.NodeName && a.Zone == b.Zone && a.Exempt == b.Exempt && a.Injected == b.Injected && slices.Equal(a.IPs, b.IPs) &&
		slices.Equal(a.ProxyMounts, b.ProxyMounts) &&
		maps.Equal(a.Labels, b.Labels) && maps.Equal(a.Annotations, b.Annotations)
}

// NamespaceOf converts a Namespace, of which the metadata is enough.
func NamespaceOf(in metav1.Object) *inventory.Namespace {
	return &inventory.Namespace{Name: in.GetName(), Labels: in.GetLabels()}
}

func sameNamespace(a, b *inventory.Namespace) bool {
	return a != nil && b != nil && a.Name == b.Name && maps.Equal(a.Labels, b.Labels)
}

// SecretOf converts a Secret. stringData, which a file may have, wins over data.
func SecretOf(in *corev1.Secret) *inventory.Secret {
	out := &inventory.Secret{
		Key:  inventory.Key{Namespace: in.Namespace, Name: in.Name},
		Type: string(in.Type),
		Data: in.Data,
	}
	if len(in.StringData) > 0 {
		out.Data = maps.Clone(in.Data)
		if out.Data == nil {
			out.Data = make(map[string][]byte, len(in.StringData))
		}
		for k, v := range in.StringData {
			out.Data[k] = []byte(v)
		}
	}
	return out
}

// ConfigMapOf converts a ConfigMap.
func ConfigMapOf(in *corev1.ConfigMap) *inventory.Secret {
	out := &inventory.Secret{
		Key:  inventory.Key{Namespace: in.Namespace, Name: in.Name},
		Data: make(map[string][]byte, len(in.Data)+len(in.BinaryData)),
	}
	maps.Copy(out.Data, in.BinaryData)
	for k, v := range in.Data {
		out.Data[k] = []byte(v)
	}
	return out
}

func sameSecret(a, b *inventory.Secret) bool {
	return a != nil && b != nil && a.Key == b.Key && a.Type == b.Type && maps.EqualFunc(a.Data, b.Data, bytes.Equal)
}

// ObjectOf decodes and checks an Ambassador or an Adapter. Err of the result says
// what is wrong with it.
func ObjectOf(in *unstructured.Unstructured) *inventory.Object {
	out := &inventory.Object{UID: string(in.GetUID()), Generation: in.GetGeneration()}
	metadata := mesh.Metadata{
		Name: in.GetName(), Namespace: in.GetNamespace(),
		Labels: in.GetLabels(), Annotations: ownAnnotations(in.GetAnnotations()),
	}
	// Of the metadata only what package mesh knows is shown to it: what a future
	// API server adds must not make an object invalid.
	document := map[string]any{
		"apiVersion": in.GetAPIVersion(), "kind": in.GetKind(), "metadata": metadata, "spec": in.Object["spec"],
	}
	data, err := json.Marshal(document)
	if err != nil {
		out.Object, out.Err = bare(in.GetKind(), metadata), fmt.Errorf("encoding %s/%s: %w", metadata.Namespace, metadata.Name, err)
		return out
	}
	objs, errs := mesh.Decode("", data, mesh.InCluster())
	errs = append(errs, mesh.Validate(objs, mesh.InCluster())...)
	out.Err = errs.Err()
	if len(objs) == 1 && objs[0].Meta().Name == metadata.Name {
		out.Object = objs[0]
	} else {
		out.Object = bare(in.GetKind(), metadata)
	}
	return out
}

// bare is an object that could not be read.
func bare(kind string, m mesh.Metadata) mesh.Object {
	if kind == mesh.KindAdapter {
		return &mesh.Adapter{APIVersion: mesh.APIVersion, Kind: kind, Metadata: m}
	}
	a := mesh.NewAmbassador(m.Name, mesh.AmbassadorSpec{})
	a.Metadata = m
	return a
}

// sameObject reports whether two readings are of the same document: the
// generation counts changes of the spec, but not those of labels and annotations.
func sameObject(a, b *inventory.Object) bool {
	return a != nil && b != nil && a.UID == b.UID && a.Generation == b.Generation &&
		maps.Equal(a.Meta().Labels, b.Meta().Labels) && maps.Equal(a.Meta().Annotations, b.Meta().Annotations)
}
