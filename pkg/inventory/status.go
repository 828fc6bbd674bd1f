package inventory

// Types of conditions in an object's status, in the order in which they stand
// there.
const (
	ConditionAccepted     = "Accepted"     // the document is right in itself
	ConditionResolvedRefs = "ResolvedRefs" // what it refers to is there and may be referred to
	ConditionProgrammed   = "Programmed"   // the proxies that it is for run it
)

// ConditionStatus is Kubernetes' True, False or Unknown.
type ConditionStatus string

// The statuses of a condition.
const (
	StatusTrue    ConditionStatus = "True"
	StatusFalse   ConditionStatus = "False"
	StatusUnknown ConditionStatus = "Unknown"
)

// Condition is one line of an object's status. When it last turned is for the
// writer to find out: he knows the former one.
type Condition struct {
	Type    string
	Status  ConditionStatus
	Reason  string // CamelCase
	Message string // for people
}

// Status is what a control plane says of an object.
type Status struct {
	// UID and Generation are those of the Object that was looked at; a status of
	// an object that was replaced meanwhile is not to be written.
	UID        string
	Generation int64
	Conditions []Condition // of every type, in the order of the constants
	// Proxies that are connected and which the object is for: all of them, those
	// that run the current resources, and those that refused them.
	Proxies, Running, Refused int
	// Refusals are some of the reasons given, each once.
	Refusals []string
	// Denied and DeniedReason say why some of the proxies are not given it, as for
	// people and in CamelCase; "": there are none.
	Denied, DeniedReason string
	// Problem and ProblemReason say in the same way what is wrong although all proxies run
	// what they were given: that is not the newest, or pods have no proxy.
	Problem, ProblemReason string
}
