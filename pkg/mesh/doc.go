// Package mesh holds the configuration language: the kinds Ambassador and
// Adapter, their strict decoding from YAML, their validation, and the choice of
// an environment.
//
// The same documents are read from files and from a Kubernetes API; only a
// reference to a Service needs the latter (InCluster). Decoding collects every
// error instead of stopping at the first, and each error has a place.
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
