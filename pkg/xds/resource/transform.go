package resource

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/placeholder"
	"github.com/dragoman-mesh/dragoman/pkg/schema"
	"github.com/dragoman-mesh/dragoman/pkg/transform"
	"github.com/dragoman-mesh/dragoman/pkg/transform/soap"
)

// Defaults and bounds of a TransformFilter.
const (
	DefaultTransformBytes   = 1 << 20
	MaxTransformBytes       = 64 << 20
	DefaultTransformTimeout = 30 * time.Second
)

// TransformFilter is the HTTP filter that changes requests and responses as their
// route says.
type TransformFilter struct {
	MaxBodyBytes int           // of a body that is changed or checked as a whole
	BodyTimeout  time.Duration // until such a body of a client must be there
}

// ClusterNames implements FilterConfig.
func (*TransformFilter) ClusterNames() []string { return nil }

// SecretNames implements FilterConfig.
func (*TransformFilter) SecretNames() []string { return nil }

// TransformRoute is what a route says for a TransformFilter.
type TransformRoute struct {
	Name     string
	Path     *placeholder.Template // that the route matches; nil: no names are known
	Request  *TransformRequest     // nil: as it came
	Response *TransformResponse    // nil: as it came
	Problem  *TransformProblem     // the proxy answers; nil: it does not
	Reroute  bool                  // what the request has become has a route of its own
	Gone     time.Time             // from then on, it is; zero: never
	// OwnHeaders are of all responses to requests that no other route has led here.
	OwnHeaders TransformFields
}

// TransformRequest is what becomes of a request.
type TransformRequest struct {
	Method  string           // "": as it came
	Path    placeholder.Text // nil: as it came
	Query   TransformFields
	Headers TransformFields
	Schema  *TransformSchema // nil: none
	Body    *TransformBody   // nil: as it came
}

// TransformResponse is what becomes of a response.
type TransformResponse struct {
	Headers TransformFields
	Status  map[int]int // of the app to that of the client; 4 and the like stand for a class
	Schema  *TransformSchema
	Body    *TransformBody
	Error   *TransformBody // nil: there is no way to change it
	Faults  map[string]int // by code, or code and subcode
}

// TransformBody makes a body of another.
type TransformBody struct {
	From, To transform.Format
	None     bool // there is no body that comes
	AsIs     bool
	Program  *transform.Program
	// Program12 writes SOAP 1.2, for clients that do; nil: the document says which
	// version, or it is not SOAP.
	Program12 *transform.Program
	Values    []placeholder.Text // by the index of the engine's Given
	// SOAP is the version that is written, and Action its URI; "" in both: it is not
	// SOAP, or not said.
	SOAP   soap.Version
	Action string
}

// TransformSchema checks bodies.
type TransformSchema struct {
	Schema *schema.Schema
	Format transform.Format   // of the body
	Reader *transform.Program // of the body to JSON
}

// TransformFields changes headers, whose names are canonical, or parameters.
type TransformFields struct {
	All    bool // are removed
	Remove []string
	Rename []TransformRename
	Set    []TransformField
	Add    []TransformField
}

// Empty reports whether nothing is changed.
func (f *TransformFields) Empty() bool {
	return !f.All && len(f.Remove)+len(f.Rename)+len(f.Set)+len(f.Add) == 0
}

// TransformRename gives a field another name.
type TransformRename struct{ From, To string }

// TransformField is a header or a parameter.
type TransformField struct {
	Name  string
	Value placeholder.Text
}

// TransformProblem is an answer of the proxy's own.
type TransformProblem struct {
	Status int
	Detail string
	Allow  []string // methods
}
