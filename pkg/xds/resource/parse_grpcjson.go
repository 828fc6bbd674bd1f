package resource

import (
	"errors"
	"strings"

	reversev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_json_reverse_transcoder/v3"
	transcoderv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/grpc_json_transcoder/v3"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	grpcjsonv1 "github.com/dragoman-mesh/dragoman/api/dragoman/filters/http/grpcjson/v1"
	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// grpcTranscoder reads Envoy's filter. route says that it is the configuration
// of a route, for which no file is read.
func (r *reader) grpcTranscoder(packed *anypb.Any, path string, route bool) *GRPCJSONFilter {
	var p transcoderv3.GrpcJsonTranscoder
	if !r.unpack(packed, &p, path) {
		return &GRPCJSONFilter{}
	}
	o, v := p.GetPrintOptions(), p.GetRequestValidationOptions()
	f := &GRPCJSONFilter{
		KeepRoute: p.GetMatchIncomingRequestRoute(), IgnoreQuery: p.GetIgnoreUnknownQueryParameters(),
		CaptureQuery: p.GetCaptureUnknownQueryParameters(), RejectQuery: v.GetRejectUnknownQueryParameters(),
		RejectUnknown: v.GetRejectUnknownMethod(), Indent: o.GetAddWhitespace(), ConvertStatus: p.GetConvertGrpcStatus(),
		Print: pbjson.WriteOptions{
			EmitDefaults: o.GetAlwaysPrintPrimitiveFields(), EnumNumbers: o.GetAlwaysPrintEnumsAsInts(), ProtoNames: o.GetPreserveProtoFieldNames(),
		},
		Request: transcode.RequestOptions{
			Read: pbjson.ReadOptions{IgnoreUnknown: true, FoldEnums: p.GetCaseInsensitiveEnumParsing()},
			Plus: p.GetQueryParamUnescapePlus(), Ignored: p.GetIgnoredQueryParameters(), RejectCollisions: v.GetRejectBindingBodyFieldCollisions(),
		},
		Options:     transcode.Options{Services: p.GetServices(), AutoMapping: p.GetAutoMapping(), UnknownVerbs: p.GetMatchUnregisteredCustomVerb()},
		MaxRequest:  r.messageBytes(p.GetMaxRequestBodySize(), join(path, "max_request_body_size"), EnvoyGRPCBytes),
		MaxResponse: r.messageBytes(p.GetMaxResponseBodySize(), join(path, "max_response_body_size"), EnvoyGRPCBytes),
	}
	f.Print.Limit = jsonBytes(f.MaxResponse)
	switch {
	case o.GetStreamSseStyleDelimited():
		f.Stream = StreamEvents
	case o.GetStreamNewlineDelimited():
		f.Stream = StreamLines
	}
	if how := int(p.GetUrlUnescapeSpec()); how >= 0 && how < len(unescapes()) {
		f.Options.Unescape = unescapes()[how]
	} else {
		r.fail(join(path, "url_unescape_spec"), "is unknown")
	}
	switch d := p.GetDescriptorSet().(type) {
	case *transcoderv3.GrpcJsonTranscoder_ProtoDescriptor:
		f.File = d.ProtoDescriptor
		r.descriptorFile(f, join(path, "proto_descriptor"), route)
	case *transcoderv3.GrpcJsonTranscoder_ProtoDescriptorBin:
		r.compile(f, d.ProtoDescriptorBin, join(path, "proto_descriptor_bin"))
	default:
		if len(p.GetServices()) > 0 || !route {
			r.fail(path, "needs proto_descriptor or proto_descriptor_bin")
		}
	}
	return f
}

// grpcReverse reads Envoy's filter for the other direction.
func (r *reader) grpcReverse(packed *anypb.Any, path string) *GRPCJSONFilter {
	var p reversev3.GrpcJsonReverseTranscoder
	if !r.unpack(packed, &p, path) {
		return &GRPCJSONFilter{}
	}
	if p.GetApiVersionHeader() != "" {
		r.fail(join(path, "api_version_header"), "is not supported")
	}
	o := p.GetRequestJsonPrintOptions()
	f := &GRPCJSONFilter{
		Reverse: true, AllServices: true,
		Print: pbjson.WriteOptions{
			EmitDefaults: o.GetAlwaysPrintPrimitiveFields(), EnumNumbers: o.GetAlwaysPrintEnumsAsInts(), ProtoNames: !o.GetUseCanonicalFieldNames(),
		},
		Request:     transcode.RequestOptions{Read: pbjson.ReadOptions{IgnoreUnknown: true}},
		MaxRequest:  r.messageBytes(p.GetMaxRequestBodySize(), join(path, "max_request_body_size"), EnvoyGRPCBytes),
		MaxResponse: r.messageBytes(p.GetMaxResponseBodySize(), join(path, "max_response_body_size"), EnvoyGRPCBytes),
	}
	f.Print.Limit = jsonBytes(f.MaxRequest)
	switch {
	case p.GetDescriptorPath() != "":
		f.File = p.GetDescriptorPath()
		r.descriptorFile(f, join(path, "descriptor_path"), false)
	case len(p.GetDescriptorBinary()) > 0:
		r.compile(f, p.GetDescriptorBinary(), join(path, "descriptor_binary"))
	default:
		r.fail(path, "needs descriptor_path or descriptor_binary")
	}
	return f
}

// grpcJSON reads our own filter.
func (r *reader) grpcJSON(packed *anypb.Any, path string) *GRPCJSONFilter {
	var p grpcjsonv1.GrpcJson
	if !r.unpack(packed, &p, path) {
		return &GRPCJSONFilter{}
	}
	o := p.GetPrintOptions()
	f := &GRPCJSONFilter{
		Reverse: p.GetDirection() == grpcjsonv1.GrpcJson_TO_JSON, AllServices: len(p.GetServices()) == 0, KeepRoute: true,
		Options: transcode.Options{Services: p.GetServices(), AutoMapping: p.GetAutoMapping(), Rules: grpcRules(p.GetRules())},
		Request: transcode.RequestOptions{
			Read: pbjson.ReadOptions{IgnoreUnknown: p.GetIgnoreUnknownFields()}, Plus: true, RejectCollisions: true,
		},
		IgnoreQuery: p.GetIgnoreUnknownQueryParameters(), RejectQuery: true, RejectUnknown: !p.GetPassUnknownRequests(), ConvertStatus: true,
		Print:  pbjson.WriteOptions{EmitDefaults: o.GetDefaults(), EnumNumbers: o.GetEnumsAsNumbers(), ProtoNames: o.GetProtoNames()},
		Indent: o.GetIndent(), Stream: JSONStream(o.GetStream() & 3),
		Health: p.GetHealth(), AnswerReflection: p.GetReflection(),
		MaxRequest:  r.messageBytes(p.GetMaxRequestBytes(), join(path, "max_request_bytes"), DefaultGRPCBytes),
		MaxResponse: r.messageBytes(p.GetMaxResponseBytes(), join(path, "max_response_bytes"), DefaultGRPCBytes),
		BodyTimeout: r.positive(p.GetBodyTimeout(), join(path, "body_timeout"), DefaultTransformTimeout),
	}
	f.Print.Limit = jsonBytes(f.MaxResponse)
	if f.Reverse {
		f.Print.Limit = jsonBytes(f.MaxRequest)
	}
	if _, ok := grpcjsonv1.GrpcJson_Direction_name[int32(p.GetDirection())]; !ok {
		r.fail(join(path, "direction"), "is unknown")
	}
	if _, ok := grpcjsonv1.PrintOptions_Stream_name[int32(o.GetStream())]; !ok {
		r.fail(join(path, "print_options.stream"), "is unknown")
	}
	if !f.Reverse && (f.Health || f.AnswerReflection) {
		r.fail(path, "health and reflection are for TO_JSON: a gRPC server answers them itself")
	}
	at := join(path, "descriptors")
	switch d := p.GetDescriptors().GetSource().(type) {
	case *grpcjsonv1.Descriptors_File:
		f.File = d.File
		r.descriptorFile(f, join(at, "file"), false)
	case *grpcjsonv1.Descriptors_Inline:
		r.compile(f, d.Inline, join(at, "inline"))
	case *grpcjsonv1.Descriptors_Reflection:
		f.Reflection = d.Reflection.GetCluster()
		if f.Reflection == "" {
			r.fail(join(at, "reflection.cluster"), "is missing")
		}
		if f.Reverse {
			r.fail(join(at, "reflection"), "is not for TO_JSON: the upstream is no gRPC server")
		}
	default:
		r.fail(at, "needs one of file, inline and reflection")
	}
	return f
}

func grpcRules(list []*grpcjsonv1.Rule) []*annotations.HttpRule {
	rules := make([]transcode.Rule, len(list))
	for i, p := range list {
		rules[i] = transcode.Rule{Selector: p.GetSelector(), Method: p.GetMethod(), Path: p.GetPath(), Body: p.GetBody(), ResponseBody: p.GetResponseBody()}
	}
	return transcode.HTTPRules(rules)
}

func (r *reader) messageBytes(v *wrapperspb.UInt32Value, path string, fallback uint32) int {
	n := r.atLeast(v, path, fallback, 1)
	if n > maxGRPCBytes {
		r.fail(path, "must be at most %d", maxGRPCBytes)
		return int(fallback)
	}
	return int(n)
}

// jsonBytes bounds the JSON of a message of n bytes: two of them may be an object
// with all its defaults.
func jsonBytes(n int) int {
	const times, least = 16, 1 << 20
	return max(times*n, least)
}

func (r *reader) descriptorFile(f *GRPCJSONFilter, path string, route bool) {
	if f.File == "" || !strings.HasPrefix(f.File, "/") {
		r.fail(path, "must be an absolute path")
	}
	if route {
		r.fail(path, "is read for a listener, not for its routes: use proto_descriptor_bin")
	}
}

// compile prepares descriptors that stand in the resource.
func (r *reader) compile(f *GRPCJSONFilter, set []byte, path string) {
	api, err := f.Compile(set)
	if err == nil {
		f.API = api
		return
	}
	for _, reason := range reasons(err) {
		r.fail(path, "%v", reason)
	}
}

// reasons takes joined errors apart.
func reasons(err error) []error {
	var one *transcode.RuleError
	if list, ok := err.(interface{ Unwrap() []error }); ok && errors.As(err, &one) {
		return list.Unwrap()
	}
	return []error{err}
}

// Compile makes the API that a set of descriptors describes. An error of Load or
// Compile of package transcode.
func (f *GRPCJSONFilter) Compile(set []byte) (*transcode.API, error) {
	files, err := transcode.Load(set)
	if err != nil {
		return nil, err
	}
	return transcode.Compile(files, f.OptionsFor(transcode.Services(files)))
}

// OptionsFor are Options for descriptors of these services.
func (f *GRPCJSONFilter) OptionsFor(services []string) transcode.Options {
	o := f.Options
	o.Reverse = f.Reverse
	if f.AllServices {
		o.Services = transcode.Own(services)
	}
	return o
}
