package client

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Bounds of the unknown fields that are named: of a resource, and of a process.
const (
	maxUnknownFields = 8
	maxNamedFields   = 256
)

// unknownFields names the fields of a resource, however deep, that this version does not
// know, as "message #number", sorted: a newer control plane sends them. They are left out,
// as protocol buffers have it, so that an old proxy goes on; somebody should know. What
// is known and not supported is refused instead.
func unknownFields(m proto.Message) []string {
	found := map[string]bool{}
	unknownOf(m.ProtoReflect(), 0, found)
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func unknownOf(m protoreflect.Message, depth int, found map[string]bool) {
	if depth > maxReferenceDepth {
		return
	}
	for rest := m.GetUnknown(); len(rest) > 0 && len(found) < maxUnknownFields; {
		number, _, n := protowire.ConsumeField(rest)
		if n < 0 {
			break
		}
		found[fmt.Sprintf("%s #%d", m.Descriptor().FullName(), number)] = true
		rest = rest[n:]
	}
	if a, ok := m.Interface().(*anypb.Any); ok {
		if inner, err := a.UnmarshalNew(); err == nil {
			unknownOf(inner.ProtoReflect(), depth+1, found)
		}
		return
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				unknownOf(v.Message(), depth+1, found)
				return true
			})
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				unknownOf(v.List().Get(i).Message(), depth+1, found)
			}
		default:
			unknownOf(v.Message(), depth+1, found)
		}
		return true
	})
}

// ignored is a resource with fields that are left out, and of which nothing was said yet.
type ignored struct {
	key    key
	fields []string
}

// ignore counts a new version of which something is left out, and has the log name each
// field once: a control plane that sets it does so in many resources, and at each change.
// Endpoints come often, and are not looked at.
func (m *machine) ignore(v *version) {
	if v.key.kind == endpoints {
		return
	}
	fields := unknownFields(v.msg)
	if len(fields) == 0 {
		return
	}
	m.events.ignored[v.key.kind]++
	fields = slices.DeleteFunc(fields, func(name string) bool { return m.named[name] })
	if len(fields) == 0 || len(m.named) >= maxNamedFields {
		return
	}
	for _, name := range fields {
		m.named[name] = true
	}
	m.todo.ignored = append(m.todo.ignored, ignored{v.key, fields})
}
