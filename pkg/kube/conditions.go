package kube

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/kube/v1alpha1"
)

// Reasons of the condition Programmed where it follows from the counts of all
// replicas.
const (
	ReasonProgrammed = "Programmed" // all connected proxies run it
	ReasonPending    = "Pending"    // some have not answered yet
	ReasonRefused    = "Refused"    // some refused it, and run what they had
)

// newStatus makes a status of what this replica says and of what all count.
// before is the one that is written: a condition that has not turned since keeps
// its time.
func newStatus(st *inventory.Status, total *count, before *v1alpha1.ObjectStatus, now metav1.Time) v1alpha1.ObjectStatus {
	out := v1alpha1.ObjectStatus{
		ObservedGeneration: st.Generation,
		Proxies:            &v1alpha1.ProxyCounts{Connected: total.Proxies, Running: total.Running, Refused: total.Refused},
		Refusals:           refusals(total.Refusals),
	}
	for _, c := range st.Conditions {
		if c.Type == inventory.ConditionProgrammed && total.Proxies > 0 {
			c = programmed(total)
		}
		const longest = 4 << 10
		next := metav1.Condition{
			Type: c.Type, Status: metav1.ConditionStatus(c.Status), ObservedGeneration: st.Generation,
			LastTransitionTime: now, Reason: cmp.Or(c.Reason, "Unknown"), Message: clip(c.Message, longest),
		}
		if old := conditionOf(before, c.Type); old != nil && old.Status == next.Status {
			next.LastTransitionTime = old.LastTransitionTime
		}
		out.Conditions = append(out.Conditions, next)
	}
	return out
}

// withProblems adds to what does not resolve why it cannot be read: to whoever
// looks for it, a Secret that may not be read is missing.
func withProblems(in []inventory.Condition, problems []error) []inventory.Condition {
	if len(problems) == 0 {
		return in
	}
	out := slices.Clone(in)
	for i := range out {
		if c := &out[i]; c.Type == inventory.ConditionResolvedRefs && c.Status != inventory.StatusTrue {
			c.Message = strings.TrimPrefix(c.Message+"; "+errors.Join(problems...).Error(), "; ")
		}
	}
	return out
}

// programmed is the condition that the counts of all replicas give.
func programmed(total *count) inventory.Condition {
	out := inventory.Condition{Type: inventory.ConditionProgrammed, Status: inventory.StatusFalse}
	waiting := total.Proxies - total.Running - total.Refused
	parts := []string{fmt.Sprintf("%d of %d connected proxies run it", total.Running, total.Proxies)}
	switch {
	case waiting > 0 && total.Denied != "":
		parts = append(parts, "others do not: "+total.Denied)
	case waiting > 0:
		parts = append(parts, fmt.Sprintf("%d have not answered yet", waiting))
	}
	switch {
	case total.Refused > 0:
		out.Reason = ReasonRefused
		refused := fmt.Sprintf("%d refused it", total.Refused)
		if reasons := refusals(total.Refusals); len(reasons) > 0 {
			refused += ": " + strings.Join(reasons, "; ")
		}
		parts = append(parts, refused)
	case waiting > 0 && total.Denied != "":
		out.Reason = cmp.Or(total.DeniedReason, ReasonPending)
	case total.Problem != "":
		out.Reason = cmp.Or(total.ProblemReason, ReasonPending)
		parts = append(parts, total.Problem)
	case waiting > 0:
		out.Reason = ReasonPending
	default:
		out.Status, out.Reason = inventory.StatusTrue, ReasonProgrammed
	}
	out.Message = strings.Join(parts, ", ")
	return out
}

func conditionOf(s *v1alpha1.ObjectStatus, conditionType string) *metav1.Condition {
	i := slices.IndexFunc(s.Conditions, func(c metav1.Condition) bool { return c.Type == conditionType })
	if i < 0 {
		return nil
	}
	return &s.Conditions[i]
}

// sameStatus reports whether got holds all of want. Conditions of other types
// are somebody else's.
func sameStatus(want, got *v1alpha1.ObjectStatus) bool {
	if want.ObservedGeneration != got.ObservedGeneration || got.Proxies == nil || *want.Proxies != *got.Proxies ||
		!slices.Equal(want.Refusals, got.Refusals) {
		return false
	}
	return !slices.ContainsFunc(want.Conditions, func(c metav1.Condition) bool {
		old := conditionOf(got, c.Type)
		return old == nil || old.Status != c.Status || old.Reason != c.Reason || old.Message != c.Message ||
			old.ObservedGeneration != c.ObservedGeneration
	})
}
