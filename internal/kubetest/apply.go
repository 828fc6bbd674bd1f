package kubetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// fieldManager owns the fields that tests apply.
const fieldManager = "kubetest"

// ApplyCRDs applies the CustomResourceDefinitions of a folder's *.yaml, relative to the module's root, and returns when their kinds are
// served. Applying them again changes nothing.
func (s *Server) ApplyCRDs(tb TB, dir string) {
	tb.Helper()
	root, err := moduleRoot()
	if err != nil {
		tb.Fatalf("looking for %s: %v", dir, err)
	}
	files, err := filepath.Glob(filepath.Join(root, dir, "*.yaml"))
	if err != nil || len(files) == 0 {
		tb.Fatalf("no *.yaml in %s (%v)", dir, err)
	}
	for _, file := range files {
		if filepath.Base(file) == "kustomization.yaml" {
			continue // kubectl's, and no object
		}
		content, err := os.ReadFile(file)
		if err != nil {
			tb.Fatalf("reading definitions: %v", err)
		}
		for _, crd := range s.Apply(tb, "", string(content)) {
			if crd.GetKind() == "CustomResourceDefinition" {
				s.awaitServed(tb, crd)
			}
		}
	}
}

// Apply applies YAML documents of any kinds on the server's side, as `kubectl apply --server-side --force-conflicts` does, and returns what
// came out. A namespaced object that names no namespace gets the given one. What the API refuses fails the test.
func (s *Server) Apply(tb TB, namespace, documents string) []*unstructured.Unstructured {
	tb.Helper()
	applied, err := s.TryApply(namespace, documents)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return applied
}

// TryApply is Apply for documents that the API may refuse. What came before the refused one is applied.
func (s *Server) TryApply(namespace, documents string) ([]*unstructured.Unstructured, error) {
	var applied []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader([]byte(documents)), 4096); ; {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return applied, nil
		}
		if err != nil {
			return applied, fmt.Errorf("decoding documents to apply: %w", err)
		}
		if len(object.Object) == 0 {
			continue
		}
		result, err := s.applyOne(namespace, object)
		if err != nil {
			return applied, fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
		applied = append(applied, result)
	}
}

func (s *Server) applyOne(namespace string, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	resource, err := s.resource(namespace, object)
	if err != nil {
		return nil, err
	}
	ctx, cancel := call()
	defer cancel()
	return resource.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true})
}

// Get reads an object again, of a kind with or without a Go type.
func (s *Server) Get(tb TB, object *unstructured.Unstructured) *unstructured.Unstructured {
	tb.Helper()
	resource, err := s.resource("", object)
	if err != nil {
		tb.Fatalf("reading %s %s: %v", object.GetKind(), object.GetName(), err)
	}
	ctx, cancel := call()
	defer cancel()
	got, err := resource.Get(ctx, object.GetName(), metav1.GetOptions{})
	if err != nil {
		tb.Fatalf("reading %s %s: %v", object.GetKind(), object.GetName(), err)
	}
	return got
}

// Delete deletes an object of any kind.
func (s *Server) Delete(tb TB, object *unstructured.Unstructured) {
	tb.Helper()
	resource, err := s.resource("", object)
	if err != nil {
		tb.Fatalf("deleting %s %s: %v", object.GetKind(), object.GetName(), err)
	}
	ctx, cancel := call()
	defer cancel()
	if err := resource.Delete(ctx, object.GetName(), *metav1.NewDeleteOptions(0)); err != nil {
		tb.Fatalf("deleting %s %s: %v", object.GetKind(), object.GetName(), err)
	}
}

// resource finds where objects of a kind are: what the API serves is asked again for a kind not known before.
func (s *Server) resource(namespace string, object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		s.mapper.Reset()
		mapping, err = s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, fmt.Errorf("looking up the kind %s: %w", kind, err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return s.dynamic.Resource(mapping.Resource), nil
	}
	if object.GetNamespace() != "" {
		namespace = object.GetNamespace()
	}
	return s.dynamic.Resource(mapping.Resource).Namespace(namespace), nil
}

// awaitServed waits until objects of every served version of a new kind can be listed, which is a little after the definition says Established.
func (s *Server) awaitServed(tb TB, crd *unstructured.Unstructured) {
	tb.Helper()
	group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
	plural, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "plural")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, version := range versions {
		fields, _ := version.(map[string]any)
		name, _, _ := unstructured.NestedString(fields, "name")
		if served, _, _ := unstructured.NestedBool(fields, "served"); !served {
			continue
		}
		resource := schema.GroupVersionResource{Group: group, Version: name, Resource: plural}
		var last error
		err := poll(callLimit, func(ctx context.Context) (bool, error) {
			_, last = s.dynamic.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
			return last == nil, nil
		})
		if err != nil {
			tb.Fatalf("waiting until %v is served: %v: %v", resource, err, last)
		}
	}
}
