package mesh

// APIAdapter converts requests on their way to an app, and its responses.
type APIAdapter struct {
	Listen   Listen      `json:"listen"`
	Upstream APIUpstream `json:"upstream"`
	// Routes, of which the first that matches is taken. A request that none
	// matches is answered with 404.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Routes []APIRoute `json:"routes"`
}

// +kubebuilder:validation:XValidation:rule="has(self.address) != has(self.service)",message="exactly one of address and service is needed"

// APIUpstream is where the converted requests go: exactly one of its fields is
// there.
type APIUpstream struct {
	// Address is "host:port", "[v6]:port" or the path of a unix socket.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=260
	Address string `json:"address,omitempty"`
	// Service whose endpoints are all alike; needs a control plane.
	Service *ServiceRef `json:"service,omitempty"`
}

// APIRoute says what becomes of some requests and of their responses.
type APIRoute struct {
	Match APIMatch `json:"match"`
	// Request as it goes to the app; absent: as it came.
	Request *APIRequest `json:"request,omitempty"`
	// Response as it goes back; absent: as it came.
	Response *APIResponse `json:"response,omitempty"`
}

// APIMatch chooses requests: all that is there must match.
type APIMatch struct {
	// Method, as in POST; absent: any.
	// +kubebuilder:validation:Pattern=`^[A-Z]+$`
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method,omitempty"`
	// Path, all of it: "/v2/orders/{id}", where {id} stands for one segment that
	// is not empty.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`
	// Headers by their names, in any case, with the value that each must have.
	// +kubebuilder:validation:MaxProperties=16
	Headers map[string]string `json:"headers,omitempty"`
}

// APIRequest is what becomes of a request.
type APIRequest struct {
	// Path that the app is asked for; the {names} of match.path may be in it.
	// Absent: that of the request.
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path,omitempty"`
	// Body; absent: as it came.
	Body *BodyTransform `json:"body,omitempty"`
}

// APIResponse is what becomes of a response.
type APIResponse struct {
	// Body; absent: as it came.
	Body *BodyTransform `json:"body,omitempty"`
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
