package resource

import (
	"encoding/json"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Redacted stands in the place of what is not shown.
const Redacted = "[redacted]"

// Show is a resource in JSON, for people: every inline value of a data source
// is left out, because it may be a password or a key, and so is what cannot be
// looked into.
func Show(m proto.Message) json.RawMessage {
	clean := proto.Clone(m)
	redact(clean.ProtoReflect())
	b, err := protojson.Marshal(clean)
	if err != nil {
		b, _ = json.Marshal("cannot be shown: " + err.Error()) // a string
	}
	return b
}

// ShowAny is Show as Envoy's admin server has it: with the type, and the names of
// fields as the proto spells them.
func ShowAny(m proto.Message) json.RawMessage {
	clean := proto.Clone(m)
	redact(clean.ProtoReflect())
	packed, err := anypb.New(clean)
	if err != nil {
		return Show(m)
	}
	b, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(packed)
	if err != nil {
		return Show(m)
	}
	return b
}

// redact walks a message, into packed ones as well.
func redact(m protoreflect.Message) {
	switch v := m.Interface().(type) {
	case *corev3.DataSource:
		redactSource(v)
		return
	case *anypb.Any:
		redactAny(v)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			if f.MapValue().Message() != nil {
				v.Map().Range(func(_ protoreflect.MapKey, item protoreflect.Value) bool {
					redact(item.Message())
					return true
				})
			}
		case f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				redact(v.List().Get(i).Message())
			}
		default:
			redact(v.Message())
		}
		return true
	})
}

func redactSource(d *corev3.DataSource) {
	switch d.GetSpecifier().(type) {
	case *corev3.DataSource_InlineBytes, *corev3.DataSource_InlineString:
		d.Specifier = &corev3.DataSource_InlineString{InlineString: Redacted}
	}
}

// redactAny drops what it cannot look into.
func redactAny(a *anypb.Any) {
	inner, err := a.UnmarshalNew()
	if err != nil {
		a.Value = nil
		return
	}
	redact(inner.ProtoReflect())
	if err := a.MarshalFrom(inner); err != nil {
		a.Value = nil
	}
}
