package mesh

// APIAdapter converts requests on their way to an app, and its responses.
type APIAdapter struct {
	Listen   Listen      `json:"listen"`
	Upstream APIUpstream `json:"upstream"`
	// HTTP is how requests are sent on; its routes are not for adapters.
	// +kubebuilder:validation:XValidation:rule="!has(self.routes)",message="an adapter has its routes in spec.api.routes"
	HTTP *HTTPSpec `json:"http,omitempty"`
	// Routes, of which the first that matches is taken. A request that none
	// matches is answered with 404, one that only lacks the method with 405.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Routes []APIRoute `json:"routes"`
}

// +kubebuilder:validation:XValidation:rule="has(self.address) != has(self.service)",message="exactly one of address and service is needed"

// APIUpstream is where the converted requests go: exactly one of Address and
// Service is there.
type APIUpstream struct {
	// Address is "host:port", "[v6]:port" or the path of a unix socket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address,omitempty"`
	// Service whose endpoints are all alike; needs a control plane.
	Service *ServiceRef  `json:"service,omitempty"`
	TLS     *UpstreamTLS `json:"tls,omitempty"`
}

// Group is the upstream as other objects have theirs.
func (u *APIUpstream) Group() *Upstream {
	return &Upstream{Address: u.Address, Service: u.Service, TLS: u.TLS}
}

// APIRoute says what becomes of some requests and of their responses.
type APIRoute struct {
	Match APIMatch `json:"match"`
	// Request as it goes to the app; absent: as it came.
	Request *APIRequest `json:"request,omitempty"`
	// Response as it goes back; absent: as it came.
	Response *APIResponse `json:"response,omitempty"`
	// Timeout, instead of spec.api.http.timeout.
	Timeout *Duration `json:"timeout,omitempty"`
}

// APIMatch chooses requests: all that is there must match.
type APIMatch struct {
	// Method, as in POST; absent: any.
	// +kubebuilder:validation:Pattern=`^[A-Z]+$`
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method,omitempty"`
	// Path, all of it: "/v2/orders/{id}", where {id} stands for one segment that
	// is not empty, and {rest=**} as the last one for all that follows.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`
	// Headers by their names, in any case, with the value that each must have; "*":
	// any.
	// +kubebuilder:validation:MaxProperties=16
	Headers map[string]string `json:"headers,omitempty"`
	// Query parameters by their names, with the value that the first of each must
	// have; "*": any.
	// +kubebuilder:validation:MaxProperties=16
	Query map[string]string `json:"query,omitempty"`
}

// APIRequest is what becomes of a request. Its texts may have values in them:
// {id} of match.path, {query.page}, {header.X-Tenant}; {{ and }} are braces. What
// has a value in it that the request lacks is left out.
type APIRequest struct {
	// Method; absent: that of the request.
	// +kubebuilder:validation:Pattern=`^[A-Z]+$`
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method,omitempty"`
	// Path that the app is asked for. Absent: that of the request.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path    string     `json:"path,omitempty"`
	Query   *APIFields `json:"query,omitempty"`
	Headers *APIFields `json:"headers,omitempty"`
	// Body; absent: as it came.
	Body *BodyTransform `json:"body,omitempty"`
}

// APIResponse is what becomes of a response. The texts of its headers may have
// the values of the request in them.
type APIResponse struct {
	Headers *APIFields `json:"headers,omitempty"`
	// Body; absent: as it came.
	Body *BodyTransform `json:"body,omitempty"`
}

// APIFields changes headers, or the parameters of a query, in the order in which
// the steps stand here.
type APIFields struct {
	// Remove fields; "*": all.
	// +kubebuilder:validation:MaxItems=64
	Remove []string `json:"remove,omitempty"`
	// Rename fields that are there, the old name to the new one.
	// +kubebuilder:validation:MaxProperties=64
	Rename map[string]string `json:"rename,omitempty"`
	// Set fields, in place of what is there.
	// +kubebuilder:validation:MaxProperties=64
	Set map[string]string `json:"set,omitempty"`
	// Add fields beside what is there.
	// +kubebuilder:validation:MaxProperties=64
	Add map[string]string `json:"add,omitempty"`
}

// BodyTransform makes a body of another.
type BodyTransform struct {
	From BodyFormat `json:"from"`
	To   BodyFormat `json:"to"`
	// Map of the fields; absent: all keep their names and values.
	Map *BodyMap `json:"map,omitempty"`
}

// +kubebuilder:validation:Enum=json;xml;soap;form;multipart;csv;ndjson;msgpack

// BodyFormat is what a body is written in.
type BodyFormat string

// The formats.
const (
	BodyJSON      BodyFormat = "json"
	BodyXML       BodyFormat = "xml"
	BodySOAP      BodyFormat = "soap"      // XML in the envelope of SOAP
	BodyForm      BodyFormat = "form"      // application/x-www-form-urlencoded
	BodyMultipart BodyFormat = "multipart" // the fields of multipart/form-data
	BodyCSV       BodyFormat = "csv"
	BodyNDJSON    BodyFormat = "ndjson"  // a JSON value in each line
	BodyMsgPack   BodyFormat = "msgpack" // MessagePack
)

// Values lists the formats.
func (BodyFormat) Values() []string {
	return []string{"json", "xml", "soap", "form", "multipart", "csv", "ndjson", "msgpack"}
}

// BodyMap changes the fields of a body, in the order in which the steps stand
// here. A field is named by its path: names with dots between them, and [] after
// that of a list for each of its elements, as in "order.items[].sku".
type BodyMap struct {
	// Drop removes fields of the old body.
	// +kubebuilder:validation:MaxItems=256
	Drop []string `json:"drop,omitempty"`
	// Move takes a field of the old body to its path in the new one, or renames it;
	// both paths have as many [].
	// +kubebuilder:validation:MaxProperties=256
	Move map[string]string `json:"move,omitempty"`
	// Default gives fields of the new body that are absent a value, as text.
	// +kubebuilder:validation:MaxProperties=256
	Default map[string]string `json:"default,omitempty"`
	// Constant gives fields of the new body a value, as text, in any case.
	// +kubebuilder:validation:MaxProperties=256
	Constant map[string]string `json:"constant,omitempty"`
	// Coerce makes values of the new body ones of another type. Numbers keep their
	// digits.
	// +kubebuilder:validation:MaxProperties=256
	Coerce map[string]ValueType `json:"coerce,omitempty"`
	// List names fields of the new body that are lists even with one element, which
	// XML cannot tell from a field that is none.
	// +kubebuilder:validation:MaxItems=256
	List []string `json:"list,omitempty"`
}

// +kubebuilder:validation:Enum=string;number;boolean

// ValueType is a type of JSON.
type ValueType string

// The types.
const (
	ValueString  ValueType = "string"
	ValueNumber  ValueType = "number"
	ValueBoolean ValueType = "boolean"
)

// Values lists the types.
func (ValueType) Values() []string { return []string{"string", "number", "boolean"} }
