package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ObjectStatus is what became of an object of either kind.
type ObjectStatus struct {
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
