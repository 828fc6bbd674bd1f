package mesh

// +kubebuilder:validation:XValidation:rule="has(self.grpc) || has(self.versions) || has(self.routes) && size(self.routes) > 0",message="routes, versions or grpc are needed"
// +kubebuilder:validation:XValidation:rule="!has(self.grpc) || !has(self.routes) && !has(self.versions) && !has(self.limits)",message="routes, versions and limits do not go with grpc"

// APIAdapter converts requests on their way to an app, and its responses.
type APIAdapter struct {
	Listen   Listen      `json:"listen"`
	Upstream APIUpstream `json:"upstream"`
	// HTTP is how requests are sent on; its routes are not for adapters.
	// +kubebuilder:validation:XValidation:rule="!has(self.routes)",message="an adapter has its routes in spec.api.routes"
	HTTP   *HTTPSpec  `json:"http,omitempty"`
	Limits *APILimits `json:"limits,omitempty"`
	// Versions of the API before the one that the app speaks.
	Versions *APIVersions `json:"versions,omitempty"`
	// Routes, of which the first that matches is taken. A request that none
	// matches is answered with 404, one that only lacks the method with 405. With
	// versions they are those of the app's version, and may be absent: all of its
	// requests go on as they are.
	// +kubebuilder:validation:MaxItems=256
	Routes []APIRoute `json:"routes,omitempty"`
	// GRPC stands between gRPC and JSON, without routes, versions and limits.
	GRPC *APIGRPC `json:"grpc,omitempty"`
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

// APILimits bound what requests may cost.
type APILimits struct {
	// BodyBytes of a body that is changed or checked as a whole, before it is
	// compressed; default 1Mi, at most 64Mi. A longer one of a client gets 413, one of
	// the app 502. Bodies that only pass, or are changed record by record, have no
	// limit.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	BodyBytes *Bytes `json:"bodyBytes,omitempty"`
	// BodyTimeout bounds how long such a body may take to come; default 30s.
	BodyTimeout *Duration `json:"bodyTimeout,omitempty"`
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

// +kubebuilder:validation:XValidation:rule="!has(self.schemaFile)",message="schemaFile is for documents in files: a control plane reads none; write the schema inline, as schema"

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
	// Schema that the body must fit, as it came.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Schema *JSONSchema `json:"schema,omitempty"`
	// SchemaFile has it instead, as JSON or YAML, beside the document: the path begins
	// at the document's folder. Only in a file: a control plane reads none.
	// +kubebuilder:validation:MaxLength=1024
	SchemaFile string `json:"schemaFile,omitempty"`
	// FileSchema is what decoding has read in SchemaFile.
	FileSchema *JSONSchema `json:"-"`
	// Body; absent: as it came.
	Body *BodyTransform `json:"body,omitempty"`
}

// +kubebuilder:validation:XValidation:rule="!has(self.schemaFile)",message="schemaFile is for documents in files: a control plane reads none; write the schema inline, as schema"

// APIResponse is what becomes of a response. Its texts may have the values of the
// request in them.
type APIResponse struct {
	// Status of the app to the one that the client gets, as in {"200": 201, "5xx":
	// 502}; others stay. Statuses below 200, 204 and 304 stay in any case, as there is
	// no body with them.
	// +kubebuilder:validation:MaxProperties=64
	Status  map[string]uint32 `json:"status,omitempty"`
	Headers *APIFields        `json:"headers,omitempty"`
	// Schema that the body of a success must fit, as the app sent it.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Type=object
	Schema *JSONSchema `json:"schema,omitempty"`
	// SchemaFile has it instead, as for a request.
	// +kubebuilder:validation:MaxLength=1024
	SchemaFile string `json:"schemaFile,omitempty"`
	// FileSchema is what decoding has read in SchemaFile.
	FileSchema *JSONSchema `json:"-"`
	// Body of a success (a status below 400); absent: as it came.
	Body *BodyTransform `json:"body,omitempty"`
	// Error is the body of an error, from status 400 on. Absent: with body, one in
	// body.from becomes the like in body.to, and a fault of SOAP what it says, others
	// stay as they are.
	Error *BodyTransform `json:"error,omitempty"`
	// Faults of SOAP by their code, as in {"Client.NotFound": 404} (of SOAP 1.2 code
	// and subcode: "Sender.NotFound"), to the status that the client gets. Others are
	// 400 where the sender is to blame, else 500.
	// +kubebuilder:validation:MaxProperties=64
	Faults map[string]uint32 `json:"faults,omitempty"`
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
