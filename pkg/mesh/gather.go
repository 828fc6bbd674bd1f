package mesh

// HTTPGather has a request answered by several servers, and makes one answer of
// theirs, which must be JSON. The header Dragoman-Gather tells who is missing.
type HTTPGather struct {
	// Pools of the environment that are asked for one answer each. Absent: every
	// endpoint of the environment is asked.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +listType=set
	Pools []string `json:"pools,omitempty"`
	Merge Merge    `json:"merge"`
	// Deadline, after which the answer is made of what is there; default 1s.
	Deadline *Duration `json:"deadline,omitempty"`
	// Minimum of answers that are needed; default 1. More than are asked: all.
	// +kubebuilder:validation:Minimum=1
	Minimum *uint32 `json:"minimum,omitempty"`
	// HedgeAfter: a pool that has not answered by then is asked once more, at another
	// of its endpoints, and the first answer is taken. So a request may be done twice.
	// Default: never. Needs pools.
	HedgeAfter *Duration `json:"hedgeAfter,omitempty"`
	// EmptyStatuses are answers of servers that have nothing to add, but are not
	// missing; default 204.
	// +kubebuilder:validation:MaxItems=16
	EmptyStatuses []uint32 `json:"emptyStatuses,omitempty"`
	// MaxBodyBytes of the request, and of each answer; default 1Mi.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	MaxBodyBytes *Bytes `json:"maxBodyBytes,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="self.kind == 'Concat' || !has(self.path) && !has(self.sortBy) && !has(self.order) && !has(self.limit)",message="path, sortBy, order and limit go with kind Concat"
// +kubebuilder:validation:XValidation:rule="has(self.sortBy) || !has(self.order)",message="order needs sortBy"
// +kubebuilder:validation:XValidation:rule="(self.kind == 'JQ') == has(self.program)",message="program goes with kind JQ, which needs it"

// Merge makes one answer of several, in the order of the pools, or that of the
// endpoints' addresses.
type Merge struct {
	Kind MergeKind `json:"kind"`
	// Path of the lists that become one, as in "result.hits"; absent: the answers
	// are lists themselves. What is around the list is the first answer's.
	// +kubebuilder:validation:MaxLength=512
	Path string `json:"path,omitempty"`
	// SortBy is the path of an element's member: numbers come before texts, and
	// elements without it are last. Absent: not sorted.
	// +kubebuilder:validation:MaxLength=512
	SortBy string    `json:"sortBy,omitempty"`
	Order  SortOrder `json:"order,omitempty"`
	// Limit of elements, after they are sorted; absent: all.
	// +kubebuilder:validation:Minimum=1
	Limit *uint32 `json:"limit,omitempty"`
	// Program of jq, whose input is a list of {"leaf", "status", "body"}, and whose
	// first output is the answer.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Program string `json:"program,omitempty"`
}

// +kubebuilder:validation:Enum=Concat;Sum;Objects;JQ

// MergeKind says how answers become one.
type MergeKind string

// The kinds.
const (
	MergeConcat  MergeKind = "Concat"  // one list of all lists
	MergeSum     MergeKind = "Sum"     // numbers at the same place are added up
	MergeObjects MergeKind = "Objects" // one object with the members of all; the first answer's count
	MergeJQ      MergeKind = "JQ"
)

// Values lists the kinds.
func (MergeKind) Values() []string { return []string{"Concat", "Sum", "Objects", "JQ"} }

// +kubebuilder:validation:Enum=Ascending;Descending

// SortOrder is that of a list; default Ascending.
type SortOrder string

// The orders.
const (
	SortAscending  SortOrder = "Ascending"
	SortDescending SortOrder = "Descending"
)

// Values lists the orders.
func (SortOrder) Values() []string { return []string{"Ascending", "Descending"} }
