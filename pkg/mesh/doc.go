// Package mesh holds the configuration language: the kinds Ambassador and
// Adapter, their strict decoding from YAML, their validation, and the choice of
// an environment.
//
// The same documents are read from files and from a Kubernetes API; only
// references to Services, Secrets and ConfigMaps need the latter (InCluster).
// Files and environment variables that a document names are always the proxy's.
//
// The types carry markers (+kubebuilder) of which the schema of the
// CustomResourceDefinitions is made. It refuses early what can be refused field by
// field; what it takes is decoded and validated here like any file.
//
// Decoding collects every error instead of stopping at the first, and each error
// has a place.
//
// The package is pure: it opens no file, reads no clock and knows no network.
package mesh

// APIVersion is the only one that is read.
const APIVersion = "mesh.dragoman.io/v1alpha1"

// The kinds of document.
const (
	KindAmbassador = "Ambassador"
	KindAdapter    = "Adapter"
)

// DefaultNamespace is that of an object that names none.
const DefaultNamespace = "default"

// EnvironmentLabel on a pod or a namespace names its environment.
const EnvironmentLabel = "mesh.dragoman.io/environment"
