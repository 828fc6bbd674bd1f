package podtest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
)

// volumes writes a pod's volumes into folders, by name.
func (p *Pod) volumes() map[string]string {
	p.tb.Helper()
	found := map[string]string{}
	for i := range p.pod.Spec.Volumes {
		v := &p.pod.Spec.Volumes[i]
		dir := filepath.Join(p.dir, "volumes", v.Name)
		if claim := v.PersistentVolumeClaim; claim != nil {
			dir = p.node.Claim(p.tb, p.pod.Namespace, claim.ClaimName)
		} else {
			p.folder(dir, 0o755)
		}
		found[v.Name] = dir
		p.volume(v, dir)
		p.own(dir)
	}
	return found
}

func (p *Pod) volume(v *corev1.Volume, dir string) {
	p.tb.Helper()
	switch {
	case v.PersistentVolumeClaim != nil:
	case v.EmptyDir != nil:
		p.folder(dir, 0o777)
	case v.ConfigMap != nil:
		p.configMap(dir, v.ConfigMap.Name, v.ConfigMap.Items)
	case v.Secret != nil:
		p.secret(dir, v.Secret.SecretName, v.Secret.Items)
	case v.DownwardAPI != nil:
		p.downward(dir, v.DownwardAPI.Items)
	case v.Projected != nil:
		for i := range v.Projected.Sources {
			s := &v.Projected.Sources[i]
			switch {
			case s.ServiceAccountToken != nil:
				p.file(dir, s.ServiceAccountToken.Path, p.node.api.Token(p.tb, p.pod, s.ServiceAccountToken.Audience))
			case s.ConfigMap != nil:
				p.configMap(dir, s.ConfigMap.Name, s.ConfigMap.Items)
			case s.Secret != nil:
				p.secret(dir, s.Secret.Name, s.Secret.Items)
			case s.DownwardAPI != nil:
				p.downward(dir, s.DownwardAPI.Items)
			default:
				p.tb.Fatalf("pod %s: a source of the volume %s is none that these tests know", p.pod.Name, v.Name)
			}
		}
	default:
		p.tb.Fatalf("pod %s: the volume %s is none that these tests know", p.pod.Name, v.Name)
	}
}

// Claim is the folder behind a PersistentVolumeClaim, which all pods share that have it.
func (n *Node) Claim(tb kubetest.TB, namespace, name string) string {
	tb.Helper()
	dir := filepath.Join(n.dir, "claims", namespace, name)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		err = os.Chmod(dir, 0o777)
	}
	if err != nil {
		tb.Fatalf("making the volume of claim %s/%s: %v", namespace, name, err)
	}
	return dir
}

// configMap waits for a ConfigMap, as the kubelet does, and writes its files.
func (p *Pod) configMap(dir, name string, items []corev1.KeyToPath) {
	p.tb.Helper()
	p.await("the ConfigMap "+name, func(ctx context.Context) error {
		m, err := p.node.api.Client().CoreV1().ConfigMaps(p.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		data := maps.Clone(m.Data)
		for key, value := range m.BinaryData {
			data[key] = string(value)
		}
		return p.files(dir, data, items)
	})
}

func (p *Pod) secret(dir, name string, items []corev1.KeyToPath) {
	p.tb.Helper()
	p.await("the Secret "+name, func(ctx context.Context) error {
		s, err := p.node.api.Client().CoreV1().Secrets(p.pod.Namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		data := map[string]string{}
		for key, value := range s.Data {
			data[key] = string(value)
		}
		return p.files(dir, data, items)
	})
}

// files writes those keys that are asked for, or all.
func (p *Pod) files(dir string, data map[string]string, items []corev1.KeyToPath) error {
	if len(items) == 0 {
		for key := range data {
			items = append(items, corev1.KeyToPath{Key: key, Path: key})
		}
	}
	for _, item := range items {
		value, ok := data[item.Key]
		if !ok {
			return fmt.Errorf("it has no key %s", item.Key)
		}
		p.file(dir, item.Path, value)
	}
	return nil
}

func (p *Pod) downward(dir string, items []corev1.DownwardAPIVolumeFile) {
	p.tb.Helper()
	for _, item := range items {
		if item.FieldRef == nil {
			p.tb.Fatalf("pod %s: %s is of no field", p.pod.Name, item.Path)
		}
		p.file(dir, item.Path, p.field(item.FieldRef.FieldPath))
	}
}

// field is what the downward API gives.
func (p *Pod) field(path string) string {
	p.tb.Helper()
	key := func(prefix string) string { return strings.TrimSuffix(strings.TrimPrefix(path, prefix), "']") }
	switch {
	case path == "metadata.name":
		return p.pod.Name
	case path == "metadata.namespace":
		return p.pod.Namespace
	case path == "metadata.uid":
		return string(p.pod.UID)
	case path == "spec.nodeName":
		return p.pod.Spec.NodeName
	case path == "spec.serviceAccountName":
		return p.pod.Spec.ServiceAccountName
	case path == "status.podIP":
		return p.Address
	case path == "metadata.labels":
		return list(p.pod.Labels)
	case path == "metadata.annotations":
		return list(p.pod.Annotations)
	case strings.HasPrefix(path, "metadata.labels['"):
		return p.pod.Labels[key("metadata.labels['")]
	case strings.HasPrefix(path, "metadata.annotations['"):
		return p.pod.Annotations[key("metadata.annotations['")]
	}
	p.tb.Fatalf("pod %s: the field %s is none that these tests know", p.pod.Name, path)
	return ""
}

// list is a map as the downward API writes it.
func list(m map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%q\n", key, m[key])
	}
	return b.String()
}

// account is the folder that the API server's admission gives every pod, and a kubelet fills.
func (p *Pod) account() string {
	p.tb.Helper()
	dir := filepath.Join(p.dir, "account")
	p.folder(dir, 0o755)
	p.file(dir, "token", p.node.api.Token(p.tb, p.pod, kubetestAudience))
	p.file(dir, "ca.crt", string(p.node.api.Config().CAData))
	p.file(dir, "namespace", p.pod.Namespace)
	p.own(dir)
	return dir
}

// kubetestAudience is that of tokens for the API itself.
const kubetestAudience = "https://kubernetes.default.svc.cluster.local"

// folder makes one with exactly a mode.
func (p *Pod) folder(dir string, mode os.FileMode) {
	p.tb.Helper()
	err := os.MkdirAll(dir, mode)
	if err == nil {
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		p.tb.Fatalf("making a volume: %v", err)
	}
}

// file writes one that any user may read, as in a volume without defaultMode.
func (p *Pod) file(dir, name, text string) {
	p.tb.Helper()
	path := filepath.Join(dir, name)
	p.folder(filepath.Dir(path), 0o755)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		p.tb.Fatalf("writing a volume: %v", err)
	}
	if err := os.Chmod(path+".new", 0o644); err != nil {
		p.tb.Fatalf("writing a volume: %v", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		p.tb.Fatalf("writing a volume: %v", err)
	}
}

// own gives a volume to the pod's group, if it has one.
func (p *Pod) own(dir string) {
	p.tb.Helper()
	if p.pod.Spec.SecurityContext == nil || p.pod.Spec.SecurityContext.FSGroup == nil {
		return
	}
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, -1, int(*p.pod.Spec.SecurityContext.FSGroup))
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // other pods are at work in a volume that is shared
		}
		return err
	})
	if err != nil {
		p.tb.Fatalf("giving a volume to its group: %v", err)
	}
}

// await polls until something is there.
func (p *Pod) await(what string, check func(ctx context.Context) error) {
	p.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			p.tb.Fatalf("pod %s waits for %s: %v", p.pod.Name, what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
