package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// Group and Version are those of the kinds.
const (
	Group   = "mesh.dragoman.io"
	Version = "v1alpha1"
)

// Ambassadors is the resource in the paths of the API.
func Ambassadors() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: Group, Version: Version, Resource: "ambassadors"}
}

// Ambassador gives the pods of its namespace a localhost port that leads to the
// right servers in each environment.
//
// +kubebuilder:resource:shortName=amb,categories=dragoman
// +kubebuilder:subresource:status
// +kubebuilder:storageversion
// +kubebuilder:printcolumn:name=Protocol,type=string,JSONPath=`.spec.protocol`
// +kubebuilder:printcolumn:name=Port,type=integer,JSONPath=`.spec.listen.port`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Programmed,type=string,JSONPath=`.status.conditions[?(@.type=="Programmed")].status`
// +kubebuilder:printcolumn:name=Proxies,type=integer,JSONPath=`.status.proxies.connected`
// +kubebuilder:printcolumn:name=Running,type=integer,JSONPath=`.status.proxies.running`
// +kubebuilder:printcolumn:name=Refused,type=integer,JSONPath=`.status.proxies.refused`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: use at most 63 lower-case letters, digits and -"
type Ambassador struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec mesh.AmbassadorSpec `json:"spec"`
	// Status is written by the control plane.
	Status AmbassadorStatus `json:"status,omitempty"`
}

// AmbassadorStatus is what became of the object.
type AmbassadorStatus struct {
	// ObservedGeneration is that of the spec which the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions are Accepted (the document is right in itself), ResolvedRefs
	// (what it names is there) and Programmed (the proxies that it is for run it).
	//
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Proxies are counted over all replicas of the control plane.
	Proxies *ProxyCounts `json:"proxies,omitempty"`
	// Refusals are some of the reasons that proxies gave, each once.
	//
	// +listType=atomic
	Refusals []string `json:"refusals,omitempty"`
}

// ProxyCounts count the connected proxies that an object is for.
type ProxyCounts struct {
	Connected int `json:"connected"` // all of them
	Running   int `json:"running"`   // with its current resources
	Refused   int `json:"refused"`   // who refused these and keep the former
}
