package mesh

// +kubebuilder:validation:XValidation:rule="self.direction == 'ToJSON' || !has(self.health) && !has(self.reflection)",message="health and reflection go with ToJSON: a gRPC server answers them itself"
// +kubebuilder:validation:XValidation:rule="self.direction != 'ToJSON' || !has(self.descriptors.reflection)",message="descriptors by reflection go with FromJSON: the app of ToJSON is no gRPC server"

// APIGRPC stands between gRPC and JSON, by the rules of google.api.http that the
// methods have as annotations, or that stand here. Without spec.api.http.timeout
// calls have no timeout but what clients say.
type APIGRPC struct {
	Direction GRPCDirection `json:"direction"`
	// Descriptors of the services.
	Descriptors GRPCDescriptors `json:"descriptors"`
	// Services by their full names, as in shop.v1.Orders. Absent: all that the
	// descriptors have, but those of gRPC itself.
	// +kubebuilder:validation:MaxItems=256
	// +listType=set
	Services []string `json:"services,omitempty"`
	// Rules go before the annotations. A method may have several.
	// +kubebuilder:validation:MaxItems=256
	Rules []GRPCRule `json:"rules,omitempty"`
	// AutoMapping makes methods without a rule POST /shop.v1.Orders/Get, with all of
	// the message in the body.
	AutoMapping bool `json:"autoMapping,omitempty"`
	// UnknownFields of JSON are refused by default, with an answer that names them.
	UnknownFields GRPCUnknown `json:"unknownFields,omitempty"`
	// UnknownParameters of a query are refused by default, too.
	UnknownParameters GRPCUnknown `json:"unknownParameters,omitempty"`
	// UnknownRequests, which no rule fits, are refused by default; Ignore sends them
	// on as they are.
	UnknownRequests GRPCUnknown `json:"unknownRequests,omitempty"`
	// JSON is how it is written.
	JSON *GRPCPrint `json:"json,omitempty"`
	// MaxMessageBytes of a request's message, and of a response's; default 4Mi.
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:Pattern=`^[0-9]+([kKMGT]|[KMGT]i)?B?$`
	MaxMessageBytes *Bytes `json:"maxMessageBytes,omitempty"`
	// BodyTimeout bounds how long a request's message may take to come; default 30s.
	// Streams of messages have as long as they take.
	BodyTimeout *Duration `json:"bodyTimeout,omitempty"`
	// Health: with ToJSON, grpc.health.v1 is answered here.
	Health bool `json:"health,omitempty"`
	// Reflection: with ToJSON, grpc.reflection.v1 is answered here.
	Reflection bool `json:"reflection,omitempty"`
}

// +kubebuilder:validation:Enum=FromJSON;ToJSON

// GRPCDirection says who speaks what.
type GRPCDirection string

// The directions.
const (
	GRPCFromJSON GRPCDirection = "FromJSON" // clients send JSON, the app speaks gRPC
	GRPCToJSON   GRPCDirection = "ToJSON"   // clients speak gRPC, the app takes JSON
)

// Values lists the directions.
func (GRPCDirection) Values() []string { return []string{"FromJSON", "ToJSON"} }

// +kubebuilder:validation:XValidation:rule="(has(self.file) ? 1 : 0) + (has(self.inline) ? 1 : 0) + (has(self.reflection) ? 1 : 0) == 1",message="exactly one of file, inline and reflection is needed"

// GRPCDescriptors says where the types come from: exactly one of its fields is
// there. A set of descriptors is what protoc --include_imports
// --descriptor_set_out writes.
type GRPCDescriptors struct {
	// File with a set of descriptors, beside the proxy. It is read again when it changes.
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=1024
	File string `json:"file,omitempty"`
	// Inline is a set of descriptors in base64.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1400000
	Inline string `json:"inline,omitempty"`
	// Reflection asks the app for them, by grpc.reflection.v1 or v1alpha: at the
	// start until it answers, and then once a minute.
	Reflection *GRPCReflection `json:"reflection,omitempty"`
}

// GRPCReflection has nothing to be said yet.
type GRPCReflection struct{}

// GRPCRule is a rule of google.api.http.
type GRPCRule struct {
	// Selector is the full name of a method, as in shop.v1.Orders.Get.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Selector string `json:"selector"`
	// Method of HTTP, as in GET; "*": any.
	// +kubebuilder:validation:Pattern=`^([A-Z]+|\*)$`
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method"`
	// Path is a template of google.api.http, as in "/v1/{name=orders/*}:cancel".
	// +kubebuilder:validation:Pattern=`^/[^ ?#]*$`
	// +kubebuilder:validation:MaxLength=1024
	Path string `json:"path"`
	// Body is the field that the body is, "*": all of the message. Absent: there is
	// no body.
	// +kubebuilder:validation:MaxLength=512
	Body string `json:"body,omitempty"`
	// ResponseBody is the field that the answer is; absent: all of the message.
	// +kubebuilder:validation:MaxLength=512
	ResponseBody string `json:"responseBody,omitempty"`
}

// +kubebuilder:validation:Enum=Refuse;Ignore

// GRPCUnknown says what becomes of what is not known.
type GRPCUnknown string

// What may become of it.
const (
	GRPCUnknownRefuse GRPCUnknown = "Refuse"
	GRPCUnknownIgnore GRPCUnknown = "Ignore"
)

// Values lists what may become of it.
func (GRPCUnknown) Values() []string { return []string{"Refuse", "Ignore"} }

// GRPCPrint says how JSON is written.
type GRPCPrint struct {
	// Indent makes it easy to read.
	Indent bool `json:"indent,omitempty"`
	// Defaults writes also fields that have their default value.
	Defaults bool `json:"defaults,omitempty"`
	// EnumNumbers writes the numbers of enums instead of their names.
	EnumNumbers bool `json:"enumNumbers,omitempty"`
	// ProtoNames writes customer_name, not customerName.
	ProtoNames bool `json:"protoNames,omitempty"`
	// Stream is how a stream is written: of requests with ToJSON (SSE means NDJSON
	// there), else of answers, unless the header Accept asks
	// for application/x-ndjson or text/event-stream; default Array.
	Stream JSONStream `json:"stream,omitempty"`
}

// +kubebuilder:validation:Enum=Array;NDJSON;SSE

// JSONStream is how JSON values follow each other.
type JSONStream string

// The ways.
const (
	JSONStreamArray  JSONStream = "Array"
	JSONStreamNDJSON JSONStream = "NDJSON" // a value in each line
	JSONStreamSSE    JSONStream = "SSE"    // Server-Sent Events
)

// Values lists the ways.
func (JSONStream) Values() []string { return []string{"Array", "NDJSON", "SSE"} }
