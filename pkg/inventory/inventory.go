// Package inventory holds what a control plane knows of its surroundings: the
// mesh objects, and the Services, Leases, Secrets, Pods and Namespaces that they
// speak of. Sources (Kubernetes, files) write it, the translation reads it.
//
// Values are immutable: whoever changes one puts a new one in its place. What
// has changed is told as a set of references, so that work grows with the
// change and not with the mesh.
package inventory

import (
	"cmp"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Kind is a kind of thing in the inventory.
type Kind uint8

// The kinds.
const (
	KindAmbassador Kind = iota
	KindAdapter
	KindService
	KindSecret
	KindConfigMap
	KindPod
	KindNamespace
	KindLease
)

// String gives Kubernetes' word.
func (k Kind) String() string {
	names := [...]string{"Ambassador", "Adapter", "Service", "Secret", "ConfigMap", "Pod", "Namespace", "Lease"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Key names a thing within its kind. A Namespace has only a Name.
type Key struct{ Namespace, Name string }

// String gives "namespace/name".
func (k Key) String() string { return k.Namespace + "/" + k.Name }

// Ref names a thing.
type Ref struct {
	Kind Kind
	Key
}

// Compare orders references by kind, namespace and name.
func (r Ref) Compare(other Ref) int {
	return cmp.Or(cmp.Compare(r.Kind, other.Kind),
		cmp.Compare(r.Namespace, other.Namespace), cmp.Compare(r.Name, other.Name))
}

// RefOf names a mesh object.
func RefOf(obj mesh.Object) Ref {
	kind := KindAmbassador
	if mesh.KindOf(obj) == mesh.KindAdapter {
		kind = KindAdapter
	}
	return Ref{Kind: kind, Key: Key{Namespace: obj.Meta().Namespace, Name: obj.Meta().Name}}
}

// Service is a Kubernetes Service with its endpoints.
type Service struct {
	Key
	// ExternalName is the DNS name that a Service of that type stands for; else "".
	ExternalName string
	Headless     bool
	// Local: it is followed on the client's own node alone (internalTrafficPolicy).
	Local bool
	Ports []ServicePort // in the order of the Service
	// AllowFrom are the namespaces that may refer to it beside its own, of the
	// annotation mesh.dragoman.io/allow-from; "*" is all of them.
	AllowFrom []string
	// Endpoints are sorted by address and pod, each once.
	Endpoints []Endpoint
}

// ServicePort is a port of a Service.
type ServicePort struct {
	Name     string // "" if the Service has only one
	Port     uint32 // of the Service
	Protocol string // TCP, UDP or SCTP
}

// Endpoint is a pod, or another address, behind a Service.
type Endpoint struct {
	Address string            // an IP address, or a host name (addressType FQDN)
	Ports   map[string]uint32 // by the name of the Service's port
	// Ready takes new connections; Serving and Terminating is on its way out and
	// still answers; neither is not to be used.
	Ready, Serving, Terminating bool
	Hostname                    string            // the endpoint's DNS label, as StatefulSets give it; or ""
	Pod                         string            // name of the pod; "" if it is none
	Labels                      map[string]string // of the pod
	Zone                        string            // where it runs; or ""
	NodeName                    string            // the node that it runs on; or ""
	ForZones                    []string          // topology hints: zones that should use it; empty: all
}

// Secret is a Kubernetes Secret or ConfigMap that an object names.
type Secret struct {
	Key
	Type string // as kubernetes.io/tls; "" for a ConfigMap
	Data map[string][]byte
}

// Pod is a pod that may run a proxy.
type Pod struct {
	Key
	UID            string
	ServiceAccount string
	Labels         map[string]string
	Annotations    map[string]string
	IPs            []string
	NodeName       string
	Zone           string // of its node; or ""
	// Exempt pods get no proxy: they cannot have one, have one that was put there by
	// hand, or have ended.
	Exempt bool
	// Injected: it has got its proxy from a control plane. ProxyMounts are then the
	// places at which that has volumes, sorted.
	Injected    bool
	ProxyMounts []string
}

// Namespace is a Kubernetes Namespace.
type Namespace struct {
	Name   string
	Labels map[string]string
}

// Lease is a Kubernetes Lease by which pods of its namespace choose one of them.
type Lease struct {
	Key
	Holder string // as the Lease has it; "" if nobody has it
	// Expired: the holder has not renewed it in time.
	Expired bool
	// Pod is the name of the pod that the holder is, and IPs and Zone are those of
	// the pod; "" if there is no such pod.
	Pod  string
	IPs  []string
	Zone string
}

// Object is a mesh object, and what Kubernetes keeps of it.
type Object struct {
	mesh.Object
	UID        string
	Generation int64
	// Err is why it cannot be used although it is there; else nil. Object then
	// holds as much as could be read, Metadata at least.
	Err error
}
