package files

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	strictjson "sigs.k8s.io/json"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// known lists what a document can be, for errors.
const known = "a document can be an Ambassador or an Adapter (" + mesh.APIVersion + "), an EndpointSlice (discovery.k8s.io/v1), " +
	"a Service, Endpoints, Secret, ConfigMap, Pod or Namespace (v1)"

// read takes one document's object into the inventory that is being made.
func (b *builder) read(d *document) mesh.Errors {
	if strings.HasPrefix(d.apiVersion, "mesh.dragoman.io/") || d.apiVersion == "" {
		return b.mesh(d)
	}
	if where, path, err := doubled(d.root, "", 0); err != nil {
		return mesh.Errors{d.fail(where, path, err.Error(), "")}
	}
	switch d.apiVersion + "/" + d.kind {
	case "v1/Service":
		return kubernetes(b, d, func(in *corev1.Service) { b.services[keyOf(in)] = kube.ServiceOf(in) })
	case "v1/Endpoints":
		return kubernetes(b, d, func(in *corev1.Endpoints) { //nolint:staticcheck // deprecated, and still what people have
			b.slice(d, keyOf(in), kube.EndpointsOf(in)...)
		})
	case "discovery.k8s.io/v1/EndpointSlice":
		return b.endpointSlice(d)
	case "v1/Secret":
		return kubernetes(b, d, func(in *corev1.Secret) { b.put(inventory.KindSecret, in, kube.SecretOf(in)) })
	case "v1/ConfigMap":
		return kubernetes(b, d, func(in *corev1.ConfigMap) { b.put(inventory.KindConfigMap, in, kube.ConfigMapOf(in)) })
	case "v1/Pod":
		return kubernetes(b, d, func(in *corev1.Pod) { b.put(inventory.KindPod, in, kube.PodOf(in)) })
	case "v1/Namespace":
		return kubernetes(b, d, func(in *corev1.Namespace) {
			ref := inventory.Ref{Kind: inventory.KindNamespace, Key: inventory.Key{Name: in.Name}}
			b.things[ref] = kube.NamespaceOf(in)
		})
	}
	return mesh.Errors{d.fail(d.at("kind"), "kind", fmt.Sprintf("unknown kind %q of apiVersion %q", clip(d.kind), clip(d.apiVersion)), known)}
}

func clip(s string) string { return s[:min(len(s), 64)] }

func (b *builder) mesh(d *document) mesh.Errors {
	objs, errs := mesh.Decode(d.file, d.text, mesh.InCluster())
	for _, obj := range objs {
		b.objects = append(b.objects, obj)
		b.things[inventory.RefOf(obj)] = &inventory.Object{Object: obj, Generation: 1}
	}
	return errs
}

func (b *builder) endpointSlice(d *document) mesh.Errors {
	var unnamed *mesh.Error
	errs := kubernetes(b, d, func(in *discoveryv1.EndpointSlice) {
		slice := kube.SliceOf(in)
		if slice == nil {
			unnamed = d.fail(d.at("metadata.labels"), "metadata.labels", "does not say whose endpoints these are",
				"the label "+discoveryv1.LabelServiceName+" names the Service")
			return
		}
		b.slice(d, inventory.Key{Namespace: in.Namespace, Name: in.Labels[discoveryv1.LabelServiceName]}, slice)
	})
	if unnamed != nil {
		errs = append(errs, unnamed)
	}
	return errs
}

// slice keeps endpoints until all Services are known.
func (b *builder) slice(d *document, service inventory.Key, slices ...*kube.Slice) {
	b.slices[service] = append(b.slices[service], slices...)
	b.sliceFrom[service] = d
}

func (b *builder) put(kind inventory.Kind, in metav1.Object, thing any) {
	b.things[inventory.Ref{Kind: kind, Key: keyOf(in)}] = thing
}

func keyOf(in metav1.Object) inventory.Key {
	return inventory.Key{Namespace: in.GetNamespace(), Name: in.GetName()}
}

// object is a pointer to one of Kubernetes' types.
type object[T any] interface {
	*T
	metav1.Object
}

// kubernetes decodes a document strictly and hands it to take.
func kubernetes[T any, P object[T]](b *builder, d *document, take func(P)) mesh.Errors {
	var in T
	if errs := d.strict(&in); len(errs) > 0 {
		return errs
	}
	meta := P(&in)
	if meta.GetName() == "" {
		return mesh.Errors{d.fail(d.at("metadata"), "metadata.name", "is missing", "")}
	}
	if d.kind != "Namespace" {
		meta.SetNamespace(cmp.Or(meta.GetNamespace(), mesh.DefaultNamespace))
	}
	ref := d.kind + " " + keyOf(meta).String()
	if other, ok := b.from[ref]; ok {
		return mesh.Errors{d.fail(d.at("metadata.name"), "metadata.name", "there are two of "+ref,
			fmt.Sprintf("the other is %s:%d", other.file, other.at("metadata.name").Line))}
	}
	b.from[ref] = d
	take(meta)
	return nil
}

// strict decodes a document; every error has its place.
func (d *document) strict(into any) mesh.Errors {
	var tree any
	if err := d.root.Decode(&tree); err != nil {
		return mesh.Errors{d.fail(d.root, "", strings.TrimPrefix(err.Error(), "yaml: "), "")}
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return mesh.Errors{d.fail(d.root, "", "has a key that is no text", "quote it")}
	}
	found, err := strictjson.UnmarshalStrict(text, into)
	if err != nil {
		return mesh.Errors{d.typeError(err)}
	}
	var errs mesh.Errors
	for _, e := range found {
		path, reason := "", e.Error()
		if field, ok := errors.AsType[strictjson.FieldError](e); ok {
			path = field.FieldPath()
			reason = strings.TrimSuffix(reason, fmt.Sprintf(" %q", path))
		}
		errs = append(errs, d.fail(d.at(path), path, reason, ""))
	}
	return errs
}

// goType is how an error names a type that its reader does not know.
var goType = regexp.MustCompile(`^json: cannot unmarshal (\S+) into Go (?:struct field \S+ of type|value of type) (.+)$`)

// typeError gives a place to an error that says little of it, and repeats no
// value: it may be a password.
func (d *document) typeError(err error) *mesh.Error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return d.fail(d.at(t.Field), t.Field, fmt.Sprintf("is a %s, want %s", t.Value, t.Type), "")
	}
	text := err.Error()
	if m := goType.FindStringSubmatch(text); m != nil {
		return d.fail(d.root, "", fmt.Sprintf("has a %s where %s is wanted", m[1], m[2]), "")
	}
	if strings.Contains(text, "base64") {
		return d.fail(d.at("data"), "data", "a value is not base64", "or write it as text, below stringData")
	}
	return d.fail(d.root, "", "cannot be read", "kubectl apply --dry-run=server explains it")
}
