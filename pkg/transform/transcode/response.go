package transcode

import (
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	spb "google.golang.org/genproto/googleapis/rpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/transform/pbjson"
)

// Response appends the JSON of an answer. An error means that the message is
// none.
func (b *Binding) Response(dst, wire []byte, o pbjson.WriteOptions) ([]byte, error) {
	if b.response != nil {
		return b.Method.Output.AppendFieldJSON(dst, b.response, wire, o)
	}
	return b.Method.Output.AppendJSON(dst, wire, o)
}

// RawBody gives what the google.api.HttpBody of an answer holds. data is a part
// of wire.
func (b *Binding) RawBody(wire []byte) (contentType string, data []byte, err error) {
	if b.response != nil {
		field := pbjson.Last([]*pbjson.Field{b.response}, wire)
		if field == nil {
			return "", nil, nil
		}
		_, _, n := protowire.ConsumeTag(field)
		wire, _ = protowire.ConsumeBytes(field[n:])
	}
	for len(wire) > 0 {
		number, typ, n := protowire.ConsumeTag(wire)
		if n < 0 {
			return "", nil, pbjson.ErrWire
		}
		size := protowire.ConsumeFieldValue(number, typ, wire[n:])
		if size < 0 {
			return "", nil, pbjson.ErrWire
		}
		if typ == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(wire[n:])
			switch number {
			case bodyType:
				contentType = string(value)
			case bodyData:
				data = value
			}
		}
		wire = wire[n+size:]
	}
	if !utf8.ValidString(contentType) {
		return "", nil, pbjson.ErrUTF8
	}
	return contentType, data, nil
}

// statusType compiles google.rpc.Status with the types of details that files
// have.
func statusType(files *protoregistry.Files, types *pbjson.Types) *pbjson.Message {
	if d, err := files.FindDescriptorByName("google.rpc.Status"); err == nil {
		if m, ok := d.(protoreflect.MessageDescriptor); ok {
			return types.Message(m)
		}
	}
	return types.Message((&spb.Status{}).ProtoReflect().Descriptor())
}

// Status appends the JSON of a google.rpc.Status. Details of types that the
// descriptors do not have are left out.
func (a *API) Status(dst, wire []byte, o pbjson.WriteOptions) ([]byte, error) {
	out, err := a.status.AppendJSON(dst, wire, o)
	if err == nil {
		return out, nil
	}
	var s spb.Status
	if err := proto.Unmarshal(wire, &s); err != nil {
		return dst, pbjson.ErrWire
	}
	known := s.GetDetails()[:0]
	for _, d := range s.GetDetails() {
		one, _ := proto.Marshal(&spb.Status{Details: append(s.GetDetails()[:0:0], d)})
		if _, err := a.status.AppendJSON(nil, one, o); err == nil {
			known = append(known, d)
		}
	}
	s.Details = known
	plain, err := proto.Marshal(&s)
	if err != nil {
		return dst, err
	}
	return a.status.AppendJSON(dst, plain, o)
}

// Answer appends the message of a JSON answer. An error is a *FieldError.
func (b *Binding) Answer(dst, json []byte, o pbjson.ReadOptions) ([]byte, error) {
	var err error
	if b.response != nil {
		dst, err = b.response.Append(dst, json, o)
	} else {
		dst, err = b.Method.Output.Append(dst, json, o)
	}
	if err != nil {
		return dst, bodyError(err)
	}
	return dst, nil
}

// RawAnswer appends the message of an answer that is no JSON.
func (b *Binding) RawAnswer(dst []byte, contentType string, data []byte) []byte {
	body := appendHTTPBody(nil, contentType, data)
	if b.response != nil {
		return b.response.AppendMessage(dst, body)
	}
	return append(dst, body...)
}

// ReadStatus makes a google.rpc.Status of its JSON, whatever else stands there.
func (a *API) ReadStatus(json []byte) ([]byte, error) {
	return a.status.Append(nil, json, pbjson.ReadOptions{IgnoreUnknown: true})
}
