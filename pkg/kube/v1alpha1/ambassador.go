package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
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
	Status ObjectStatus `json:"status,omitempty"`
}
