package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// ConditionType is what a condition speaks of, as in an object's status.
type ConditionType string

// The types of condition. A node has resources for an object if both are true.
const (
	Accepted     ConditionType = "Accepted"     // the object has a meaning at the node
	ResolvedRefs ConditionType = "ResolvedRefs" // what the object refers to was found
)

// Reasons of conditions.
const (
	ReasonAccepted          = "Accepted"
	ReasonNoEnvironment     = "NoEnvironment"     // nothing says which, or it is unknown
	ReasonListenConflict    = "ListenConflict"    // another object of the node binds there
	ReasonPositionsConflict = "PositionsConflict" // another one keeps the positions of its logs there
	ReasonLogsNotMounted    = "LogsNotMounted"    // an injected proxy has no volume where the logs are
	ReasonNotSupported      = "NotSupported"      // the language has it, and this version does not

	ReasonResolvedRefs       = "ResolvedRefs"
	ReasonServiceNotFound    = "ServiceNotFound"    // there is no such Service
	ReasonServiceUnsupported = "ServiceUnsupported" // it is of a kind that does not go here
	ReasonLeaseNotFound      = "LeaseNotFound"      // there is no such Lease in the object's namespace
	ReasonPortNotFound       = "PortNotFound"       // it has no such TCP port
	ReasonRefNotPermitted    = "RefNotPermitted"    // it does not allow the object's namespace
	ReasonSecretNotFound     = "SecretNotFound"     // there is no such Secret in the object's namespace
	ReasonSecretInvalid      = "SecretInvalid"      // it lacks a key, or what it holds is not of use
	ReasonConfigMapNotFound  = "ConfigMapNotFound"  // there is no such ConfigMap in the object's namespace
	ReasonAmbassadorNotFound = "AmbassadorNotFound" // there is no such Ambassador in the object's namespace
	ReasonAmbassadorUnfit    = "AmbassadorUnfit"    // it cannot be asked for what the object wants of it
	ReasonConfigMapInvalid   = "ConfigMapInvalid"   // it lacks a key, or what it holds is not of use
)

// ReasonOf gives the reason for the second of two objects that clash.
func ReasonOf(clash mesh.Clash) string {
	if clash == mesh.ClashPositions {
		return ReasonPositionsConflict
	}
	return ReasonListenConflict
}

// Condition says what became of an object at this node.
type Condition struct {
	Object  string // "namespace/name" of an Ambassador, "Adapter namespace/name"
	Type    ConditionType
	Status  bool
	Reason  string
	Message string // for people
}

// maxMessages bounds what a condition tells: the first few things are enough to
// act upon.
const maxMessages = 5

// said joins messages, each once, in order.
func said(messages []string) string {
	var once []string
	for _, m := range messages {
		if !slices.Contains(once, m) {
			once = append(once, m)
		}
	}
	if more := len(once) - maxMessages; more > 0 {
		once = append(once[:maxMessages], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(once, "; ")
}

// findings gathers what is to be said of an object's references.
type findings struct {
	reason   string // of the first problem, or of the first that is a ban
	problems []string
	notes    []string
}

// fail says that a reference cannot be followed. That one is not permitted comes
// before all else: who keeps what was there before must not keep it then.
func (f *findings) fail(reason, format string, args ...any) {
	problem := fmt.Sprintf(format, args...)
	if reason == ReasonRefNotPermitted && f.reason != reason {
		f.reason = reason
		f.problems = slices.Insert(f.problems, 0, problem)
		return
	}
	f.reason = cmp.Or(f.reason, reason)
	f.problems = append(f.problems, problem)
}

// note says what is worth knowing of a reference that can be followed.
func (f *findings) note(format string, args ...any) {
	f.notes = append(f.notes, fmt.Sprintf(format, args...))
}

// condition is ResolvedRefs.
func (f *findings) condition(object string) Condition {
	c := Condition{Object: object, Type: ResolvedRefs, Status: true, Reason: ReasonResolvedRefs, Message: cmp.Or(said(f.notes), "all references are resolved")}
	if f.reason != "" {
		c.Status, c.Reason, c.Message = false, f.reason, said(f.problems)
	}
	return c
}
