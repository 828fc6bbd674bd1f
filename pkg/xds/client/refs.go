package client

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Messages in which a resource names others, whatever filter they stand in.
const (
	rdsMessage              = "envoy.extensions.filters.network.http_connection_manager.v3.Rds"
	sdsMessage              = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig"
	httpFilterMessage       = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter"
	networkFilterMessage    = "envoy.config.listener.v3.Filter"
	listenerFilterMessage   = "envoy.config.listener.v3.ListenerFilter"
	maxReferenceDepth       = 32
	maxReferencesOfResource = 10_000
)

// referencesOf finds the routes, extensions and secrets that a resource names,
// however deep. It knows the messages by name only, so that whatever filter is
// linked in is looked into, and none has to be.
func referencesOf(m proto.Message) refs {
	var w walker
	w.message(m.ProtoReflect(), 0)
	for k := range w.found {
		slices.Sort(w.found[k])
		w.found[k] = slices.Compact(w.found[k])
	}
	return w.found
}

type walker struct {
	found refs
	count int
}

func (w *walker) add(k kind, name string) {
	if name != "" && w.count < maxReferencesOfResource {
		w.found[k] = append(w.found[k], name)
		w.count++
	}
}

func (w *walker) message(m protoreflect.Message, depth int) {
	if depth > maxReferenceDepth {
		return
	}
	switch name := m.Descriptor().FullName(); name {
	case "google.protobuf.Any":
		w.packed(m, depth)
		return
	case "google.protobuf.Struct", "google.protobuf.Value":
		return
	case rdsMessage:
		w.add(routes, stringField(m, "route_config_name"))
	case sdsMessage:
		// Without a source it names a secret of the bootstrap.
		if hasField(m, "sds_config") {
			w.add(secrets, stringField(m, "name"))
		}
	case httpFilterMessage, networkFilterMessage, listenerFilterMessage:
		if hasField(m, "config_discovery") {
			w.add(extensions, stringField(m, "name"))
		}
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		w.field(f, v, depth)
		return true
	})
}

func (w *walker) field(f protoreflect.FieldDescriptor, v protoreflect.Value, depth int) {
	switch {
	case f.IsMap():
		if f.MapValue().Message() == nil {
			return
		}
		v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			w.message(v.Message(), depth+1)
			return true
		})
	case f.Message() == nil:
	case f.IsList():
		for i := range v.List().Len() {
			w.message(v.List().Get(i).Message(), depth+1)
		}
	default:
		w.message(v.Message(), depth+1)
	}
}

// packed looks into an Any whose type is linked into the program.
func (w *walker) packed(m protoreflect.Message, depth int) {
	a, ok := m.Interface().(*anypb.Any)
	if !ok {
		return
	}
	if inner, err := a.UnmarshalNew(); err == nil {
		w.message(inner.ProtoReflect(), depth+1)
	}
}

func stringField(m protoreflect.Message, name protoreflect.Name) string {
	if f := m.Descriptor().Fields().ByName(name); f != nil && f.Kind() == protoreflect.StringKind && !f.IsList() {
		return m.Get(f).String()
	}
	return ""
}

func hasField(m protoreflect.Message, name protoreflect.Name) bool {
	f := m.Descriptor().Fields().ByName(name)
	return f != nil && m.Has(f)
}
