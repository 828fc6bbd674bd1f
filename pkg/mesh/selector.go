package mesh

import "slices"

// Selector is Kubernetes' label selector: all of its parts must match.
type Selector struct {
	// MatchLabels are labels with the values that they must have.
	MatchLabels map[string]string `json:"matchLabels,omitempty"`
	// MatchExpressions are further demands.
	// +kubebuilder:validation:MaxItems=64
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one demand on a label.
type SelectorRequirement struct {
	// Key of the label.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Key      string           `json:"key"`
	Operator SelectorOperator `json:"operator"`
	// Values are for In and NotIn.
	// +kubebuilder:validation:MaxItems=256
	Values []string `json:"values,omitempty"`
}

// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist

// SelectorOperator compares a label with values.
type SelectorOperator string

// The operators.
const (
	SelectorIn           SelectorOperator = "In"
	SelectorNotIn        SelectorOperator = "NotIn"
	SelectorExists       SelectorOperator = "Exists"
	SelectorDoesNotExist SelectorOperator = "DoesNotExist"
)

// Values lists the operators.
func (SelectorOperator) Values() []string {
	return []string{"In", "NotIn", "Exists", "DoesNotExist"}
}

// Matches reports whether labels fit; a nil selector takes all.
func (s *Selector) Matches(labels map[string]string) bool {
	if s == nil {
		return true
	}
	for k, want := range s.MatchLabels {
		if got, ok := labels[k]; !ok || got != want {
			return false
		}
	}
	return !slices.ContainsFunc(s.MatchExpressions, func(r SelectorRequirement) bool {
		return !r.matches(labels)
	})
}

func (r SelectorRequirement) matches(labels map[string]string) bool {
	got, ok := labels[r.Key]
	switch r.Operator {
	case SelectorIn:
		return ok && slices.Contains(r.Values, got)
	case SelectorNotIn:
		return !ok || !slices.Contains(r.Values, got)
	case SelectorExists:
		return ok
	case SelectorDoesNotExist:
		return !ok
	}
	return false
}
