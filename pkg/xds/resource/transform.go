package resource

import "github.com/dragoman-mesh/dragoman/pkg/placeholder"

// TransformFilter is the HTTP filter that changes requests and responses as their
// route says.
type TransformFilter struct{}

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
}

// TransformRequest is what becomes of a request.
type TransformRequest struct {
	Method  string           // "": as it came
	Path    placeholder.Text // nil: as it came
	Query   TransformFields
	Headers TransformFields
}

// TransformResponse is what becomes of a response.
type TransformResponse struct {
	Headers TransformFields
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
