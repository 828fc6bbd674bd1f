package grpcjson

import (
	"io"
	"net/http"
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dragoman-mesh/dragoman/pkg/transform/transcode"
)

// Paths of the calls that are answered here.
const (
	healthCheck     = "/grpc.health.v1.Health/Check"
	healthWatch     = "/grpc.health.v1.Health/Watch"
	reflection      = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
	reflectionAlpha = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo" // the same messages
)

// maxOwn bounds a message of these calls, in bytes.
const maxOwn = 64 << 10

// own answers calls that are the proxy's to answer.
func (v *reverse) own() bool {
	switch path := v.in.URL.Path; {
	case v.conf.Health && path == healthCheck:
		v.checkHealth(false)
	case v.conf.Health && path == healthWatch:
		v.checkHealth(true)
	case v.conf.AnswerReflection && (path == reflection || path == reflectionAlpha):
		v.reflect()
	default:
		return false
	}
	return true
}

// checkHealth says of a service that it is there: whether the app is well, its
// own checks say.
func (v *reverse) checkHealth(watch bool) {
	share := v.account.Share()
	wire, err := v.message(&share)
	var in grpc_health_v1.HealthCheckRequest
	if err != nil || proto.Unmarshal(wire, &in) != nil {
		v.end(reasonRequest, codes.Internal, "the request is not a grpc.health.v1.HealthCheckRequest")
		return
	}
	out := &grpc_health_v1.HealthCheckResponse{Status: grpc_health_v1.HealthCheckResponse_SERVING}
	if name := in.GetService(); name != "" && !slices.Contains(v.service.api.Services, name) {
		if !watch {
			endCall(v.w, &outcome{code: codes.NotFound, message: "there is no such service"})
			return
		}
		out.Status = grpc_health_v1.HealthCheckResponse_SERVICE_UNKNOWN
	}
	v.head()
	v.send(out)
	if watch {
		_ = http.NewResponseController(v.w).Flush()
		share.Set(0)
		<-v.in.Context().Done()
	}
	setStatus(v.w.Header(), http.TrailerPrefix, &outcome{})
}

// head begins an answer with messages.
func (v *reverse) head() {
	v.w.Header()["Content-Type"] = []string{contentType}
	v.w.WriteHeader(http.StatusOK)
}

func (v *reverse) send(m proto.Message) {
	b, err := proto.MarshalOptions{}.MarshalAppend(framed(nil), m)
	if err == nil {
		_, _ = v.w.Write(setLength(b, 0)) // a client that is gone needs no answer
	}
}

// reflect answers questions for descriptors, one after the other.
func (v *reverse) reflect() {
	v.head()
	_ = http.NewResponseController(v.w).Flush()
	f := frames{max: maxOwn}
	buf := make([]byte, 4<<10)
	for {
		n, err := v.in.Body.Read(buf)
		bad := f.feed(buf[:n], v.question)
		switch {
		case bad != nil:
			v.counters.failed(reasonRequest)
			setStatus(v.w.Header(), http.TrailerPrefix, &outcome{code: codes.Internal, message: bad.Error()})
			return
		case err == io.EOF:
			setStatus(v.w.Header(), http.TrailerPrefix, &outcome{})
			return
		case err != nil:
			return
		}
		_ = http.NewResponseController(v.w).Flush()
	}
}

func (v *reverse) question(wire []byte) error {
	var in reflectionpb.ServerReflectionRequest
	if proto.Unmarshal(wire, &in) != nil {
		return errFraming
	}
	v.send(answerReflection(v.service.api, &in))
	return nil
}

// answerReflection looks up what is asked.
func answerReflection(api *transcode.API, in *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
	out := &reflectionpb.ServerReflectionResponse{ValidHost: in.GetHost(), OriginalRequest: in}
	var file protoreflect.FileDescriptor
	var err error
	switch q := in.GetMessageRequest().(type) {
	case *reflectionpb.ServerReflectionRequest_ListServices:
		list := &reflectionpb.ListServiceResponse{}
		for _, name := range api.Services {
			list.Service = append(list.Service, &reflectionpb.ServiceResponse{Name: name})
		}
		out.MessageResponse = &reflectionpb.ServerReflectionResponse_ListServicesResponse{ListServicesResponse: list}
		return out
	case *reflectionpb.ServerReflectionRequest_FileByFilename:
		file, err = api.Files.FindFileByPath(q.FileByFilename)
	case *reflectionpb.ServerReflectionRequest_FileContainingSymbol:
		var d protoreflect.Descriptor
		if d, err = api.Files.FindDescriptorByName(protoreflect.FullName(q.FileContainingSymbol)); err == nil {
			file = d.ParentFile()
		}
	default:
		out.MessageResponse = reflectionError(codes.Unimplemented, "extensions are not asked for here")
		return out
	}
	if err != nil {
		out.MessageResponse = reflectionError(codes.NotFound, "it is not known")
		return out
	}
	answer := &reflectionpb.FileDescriptorResponse{}
	addFiles(answer, map[string]bool{}, file)
	out.MessageResponse = &reflectionpb.ServerReflectionResponse_FileDescriptorResponse{FileDescriptorResponse: answer}
	return out
}

func reflectionError(c codes.Code, text string) *reflectionpb.ServerReflectionResponse_ErrorResponse {
	return &reflectionpb.ServerReflectionResponse_ErrorResponse{
		ErrorResponse: &reflectionpb.ErrorResponse{ErrorCode: int32(c), ErrorMessage: text},
	}
}

// addFiles adds a file and all that it imports.
func addFiles(to *reflectionpb.FileDescriptorResponse, seen map[string]bool, f protoreflect.FileDescriptor) {
	if seen[f.Path()] || f.IsPlaceholder() {
		return
	}
	seen[f.Path()] = true
	if b, err := proto.Marshal(protodesc.ToFileDescriptorProto(f)); err == nil {
		to.FileDescriptorProto = append(to.FileDescriptorProto, b)
	}
	for i := range f.Imports().Len() {
		addFiles(to, seen, f.Imports().Get(i).FileDescriptor)
	}
}
