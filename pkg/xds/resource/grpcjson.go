package resource

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/transform/httprule"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// Type URLs of the configurations of filters between gRPC and JSON: Envoy's two,
// and ours.
const (
	GRPCJSONTranscoderType = "type.googleapis.com/envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"
	GRPCJSONReverseType    = "type.googleapis.com/envoy.extensions.filters.http.grpc_json_reverse_transcoder.v3.GrpcJsonReverseTranscoder"
	GRPCJSONType           = "type.googleapis.com/dragoman.filters.http.grpcjson.v1.GrpcJson"
)

// Bounds of messages, in bytes.
const (
	EnvoyGRPCBytes   = 1 << 20 // Envoy's buffer of a stream, where nothing else is said
	DefaultGRPCBytes = 4 << 20 // what gRPC's implementations take
	maxGRPCBytes     = 256 << 20
)

// JSONStream is how JSON texts follow each other.
type JSONStream uint8

// The ways.
const (
	StreamArray  JSONStream = iota
	StreamLines             // NDJSON
	StreamEvents            // Server-Sent Events
)

// GRPCJSONFilter is the HTTP filter between gRPC and JSON.
type GRPCJSONFilter struct {
	Reverse bool // clients speak gRPC, the upstream JSON
	// Descriptors are compiled already (API), in a file, or the answer of a cluster's
	// reflection.
	API        *transcode.API
	File       string
	Reflection string // a cluster
	Options    transcode.Options
	// AllServices stands for Options.Services: all that the descriptors have.
	AllServices bool

	KeepRoute        bool // the route is that of the request as it came
	Request          transcode.RequestOptions
	IgnoreQuery      bool // parameters that mean no field
	CaptureQuery     bool // into the extensions of a google.api.HttpBody
	RejectQuery      bool // with 400; otherwise such a request passes as it is
	RejectUnknown    bool // with 404; otherwise a request without a method passes as it is
	Print            pbjson.WriteOptions
	Indent           bool
	Stream           JSONStream
	ConvertStatus    bool          // a google.rpc.Status is the body of a failed call's answer
	MaxRequest       int           // bytes of a message
	MaxResponse      int           // bytes of a message, or of an app's answer
	BodyTimeout      time.Duration // until the message of a request must be there; 0: there is all the time
	Health           bool
	AnswerReflection bool
}

// ClusterNames implements FilterConfig.
func (f *GRPCJSONFilter) ClusterNames() []string {
	if f.Reflection == "" {
		return nil
	}
	return []string{f.Reflection}
}

// SecretNames implements FilterConfig.
func (*GRPCJSONFilter) SecretNames() []string { return nil }

// unescapes are Envoy's values in their order.
func unescapes() []httprule.Unescape {
	return []httprule.Unescape{httprule.ExceptReserved, httprule.ExceptSlash, httprule.AllCharacters}
}
