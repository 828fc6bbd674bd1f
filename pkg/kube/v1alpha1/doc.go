// Package v1alpha1 is the kinds Ambassador and Adapter as a Kubernetes API server
// keeps them: the document of package mesh, and a status. The
// CustomResourceDefinitions in manifests/crds are generated from it; their
// schemas and CEL rules are the markers on the types of package mesh, so that
// kubectl refuses most of what Decode refuses. What CEL cannot say, the control
// plane says in the status.
//
// A spec is never decoded here: package mesh does that, whose errors name the
// field.
//
// +groupName=mesh.dragoman.io
// +versionName=v1alpha1
package v1alpha1

//go:generate go tool -modfile=../../../tools.mod controller-gen crd:maxDescLen=400 paths=. output:crd:dir=../../../manifests/crds

// Group and Version are those of the kinds.
const (
	Group   = "mesh.dragoman.io"
	Version = "v1alpha1"
)
