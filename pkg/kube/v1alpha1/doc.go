// Package v1alpha1 is the kind Ambassador as a Kubernetes API server keeps it:
// the document of package mesh, and a status. The CustomResourceDefinition in
// manifests/crds is generated from it; its schema and its CEL rules are the
// markers on the types of package mesh, so that kubectl refuses most of what
// Decode refuses. What CEL cannot say, the control plane says in the status.
//
// A spec is never decoded here: package mesh does that, whose errors name the
// field.
//
// The kind Adapter has no definition. It has no spec yet, and a kind that is
// taken and does nothing would be worse than one that is refused.
//
// +groupName=mesh.dragoman.io
// +versionName=v1alpha1
package v1alpha1

//go:generate go tool -modfile=../../../tools.mod controller-gen crd:maxDescLen=400 paths=. output:crd:dir=../../../manifests/crds
