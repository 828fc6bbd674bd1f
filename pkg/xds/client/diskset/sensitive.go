package diskset

import (
	"fmt"

	annotations "github.com/cncf/xds/go/udpa/annotations"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/anypb"
)

// maxDepth bounds the nesting that is looked into; what is deeper counts as
// sensitive.
const maxDepth = 32

// Sensitive says where in a resource something stands that must not be written:
// a value that Envoy's API marks as sensitive and that is not merely the name of
// a file or variable, or something that this program cannot look into.
// "": nowhere.
func Sensitive(m proto.Message) (path string) {
	var s search
	s.message(m.ProtoReflect(), "", 0)
	return s.path
}

type search struct{ path string }

func (s *search) find(path string) {
	if s.path == "" {
		s.path = path
	}
}

func (s *search) message(m protoreflect.Message, path string, depth int) {
	if depth > maxDepth {
		s.find(path)
		return
	}
	if a, ok := m.Interface().(*anypb.Any); ok {
		inner, err := a.UnmarshalNew()
		if err != nil {
			s.find(path)
			return
		}
		s.message(inner.ProtoReflect(), path, depth+1)
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := string(f.Name())
		if path != "" {
			at = path + "." + at
		}
		if marked(f) && tells(f, v) {
			s.find(at)
		}
		s.field(f, v, at, depth)
		return s.path == ""
	})
}

func (s *search) field(f protoreflect.FieldDescriptor, v protoreflect.Value, path string, depth int) {
	switch {
	case f.IsMap() && f.MapValue().Message() != nil:
		v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
			s.message(v.Message(), fmt.Sprintf("%s[%q]", path, k.String()), depth+1)
			return s.path == ""
		})
	case f.IsMap() || f.Message() == nil:
	case f.IsList():
		for i := range v.List().Len() {
			s.message(v.List().Get(i).Message(), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	default:
		s.message(v.Message(), path, depth+1)
	}
}

// marked reports whether Envoy's API calls a field sensitive.
func marked(f protoreflect.FieldDescriptor) bool {
	options, ok := f.Options().(*descriptorpb.FieldOptions)
	if !ok || options == nil {
		return false
	}
	sensitive, ok := proto.GetExtension(options, annotations.E_Sensitive).(bool)
	return ok && sensitive
}

// tells reports whether a sensitive field has the value itself, rather than
// where it is found.
func tells(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
	if f.IsList() {
		for i := range v.List().Len() {
			if f.Message() == nil || inline(v.List().Get(i).Message()) {
				return true
			}
		}
		return false
	}
	return f.IsMap() || f.Message() == nil || inline(v.Message())
}

// inline reports whether a message is anything but a data source that names a
// file or a variable, or is empty.
func inline(m protoreflect.Message) bool {
	source, ok := m.Interface().(*corev3.DataSource)
	if !ok {
		return true
	}
	switch source.GetSpecifier().(type) {
	case nil, *corev3.DataSource_Filename, *corev3.DataSource_EnvironmentVariable:
		return false
	}
	return len(source.GetInlineBytes())+len(source.GetInlineString()) > 0
}
