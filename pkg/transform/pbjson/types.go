// Package pbjson converts JSON into protocol buffers' wire format and back,
// without a message in between: types are compiled from descriptors when they
// are loaded, and a conversion is one pass over the bytes.
//
// The JSON is ProtoJSON as protobuf.dev describes it, and a test compares both
// directions with google.golang.org/protobuf's protojson. What messages of
// google.protobuf look like that have a form of their own (Any, Struct,
// FieldMask) protojson itself is asked.
package pbjson

import (
	"cmp"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"
)

// MaxDepth bounds how deep messages and values may be nested, as C++ bounds it.
const MaxDepth = 100

// Types compiles message types. It is for one goroutine; the messages that it
// has given are read-only and for all.
type Types struct {
	messages   map[protoreflect.FullName]*Message
	enums      map[protoreflect.FullName]*enum
	extensions map[protoreflect.FullName][]protoreflect.FieldDescriptor // by the message extended
	resolver   *dynamicpb.Types
}

// NewTypes returns the types of files.
func NewTypes(files *protoregistry.Files) *Types {
	t := &Types{
		messages: make(map[protoreflect.FullName]*Message), enums: make(map[protoreflect.FullName]*enum),
		extensions: make(map[protoreflect.FullName][]protoreflect.FieldDescriptor), resolver: dynamicpb.NewTypes(files),
	}
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		t.extend(f.Extensions())
		t.within(f.Messages())
		return true
	})
	return t
}

func (t *Types) within(list protoreflect.MessageDescriptors) {
	for i := range list.Len() {
		t.extend(list.Get(i).Extensions())
		t.within(list.Get(i).Messages())
	}
}

func (t *Types) extend(list protoreflect.ExtensionDescriptors) {
	for i := range list.Len() {
		x := list.Get(i)
		t.extensions[x.ContainingMessage().FullName()] = append(t.extensions[x.ContainingMessage().FullName()], x)
	}
}

// Message is how messages of one type are converted.
type Message struct {
	// read-only after construction
	Desc     protoreflect.MessageDescriptor
	types    *Types
	known    known
	fields   []*Field // in the order in which they are written
	names    map[string]*Field
	low      []*Field // by number, small ones
	high     map[protowire.Number]*Field
	oneofs   int
	required []int // indexes of fields that must be there
}

// Field is how the values of one field are converted.
type Field struct {
	// read-only after construction
	Desc      protoreflect.FieldDescriptor
	index     int
	kind      protoreflect.Kind
	name      string
	json      []byte // the key, with quotes and colon
	text      []byte // the same with the name that the proto has
	tag       []byte // of one value
	packedTag []byte // of all values together; nil: they are not packed
	oneof     int    // index, -1: in none
	implicit  bool   // the default value is as good as none
	message   *Message
	enum      *enum
	key, item *Field // of a map
}

type enum struct {
	byName   map[string]int32
	folded   map[string]int32 // by the name in lower case
	byNumber map[int32]string
	null     bool // google.protobuf.NullValue
}

// Message compiles a type, and all that it is made of.
func (t *Types) Message(desc protoreflect.MessageDescriptor) *Message {
	if m := t.messages[desc.FullName()]; m != nil {
		return m
	}
	m := &Message{Desc: desc, types: t, known: knownTypes()[desc.FullName()], names: make(map[string]*Field)}
	t.messages[desc.FullName()] = m
	m.oneofs = desc.Oneofs().Len()
	for i := range desc.Fields().Len() {
		fd := desc.Fields().Get(i)
		f := t.field(fd)
		m.add(f, f.name, fd.TextName())
	}
	extensions := slices.Clone(t.extensions[desc.FullName()])
	slices.SortFunc(extensions, func(a, b protoreflect.FieldDescriptor) int { return cmp.Compare(a.Number(), b.Number()) })
	for _, x := range extensions {
		name := "[" + string(x.FullName()) + "]"
		f := t.field(x)
		f.rename(name, name)
		m.add(f, name, name)
	}
	return m
}

func (m *Message) add(f *Field, names ...string) {
	f.index = len(m.fields)
	m.fields = append(m.fields, f)
	for _, name := range names {
		m.names[name] = f
	}
	if f.Desc.Cardinality() == protoreflect.Required {
		m.required = append(m.required, f.index)
	}
	const lowest = 128
	if n := int(f.Desc.Number()); n < lowest {
		if len(m.low) <= n {
			m.low = append(m.low, make([]*Field, n+1-len(m.low))...)
		}
		m.low[n] = f
		return
	}
	if m.high == nil {
		m.high = make(map[protowire.Number]*Field)
	}
	m.high[f.Desc.Number()] = f
}

func (m *Message) byNumber(n protowire.Number) *Field {
	if int(n) < len(m.low) {
		return m.low[n]
	}
	return m.high[n]
}

// Field finds a field by its name in JSON or in the proto; nil: there is none.
func (m *Message) Field(name string) *Field { return m.names[name] }

// Message is the type of a field's values; nil for what is no message.
func (f *Field) Message() *Message { return f.message }

// Name is that in JSON.
func (f *Field) Name() string { return f.name }

// Textual says that values of the field have a form without structure, as they
// must have in a path or a query.
func (f *Field) Textual() bool {
	return !f.Desc.IsMap() && (f.message == nil || f.message.known.textual())
}

func (t *Types) field(fd protoreflect.FieldDescriptor) *Field {
	f := &Field{Desc: fd, kind: fd.Kind(), oneof: -1}
	f.rename(fd.JSONName(), fd.TextName())
	f.tag = protowire.AppendTag(nil, fd.Number(), wireType(f.kind))
	if fd.IsPacked() {
		f.packedTag = protowire.AppendTag(nil, fd.Number(), protowire.BytesType)
	}
	if o := fd.ContainingOneof(); o != nil {
		f.oneof = o.Index()
	}
	f.implicit = !fd.HasPresence() && fd.Cardinality() != protoreflect.Repeated
	switch {
	case fd.IsMap():
		f.key, f.item = t.field(fd.MapKey()), t.field(fd.MapValue())
	case fd.Message() != nil:
		f.message = t.Message(fd.Message())
	case fd.Enum() != nil:
		f.enum = t.enumeration(fd.Enum())
	}
	return f
}

func (f *Field) rename(json, text string) {
	f.name = json
	f.json = append(appendQuoted(nil, json), ':')
	f.text = append(appendQuoted(nil, text), ':')
}

func (t *Types) enumeration(desc protoreflect.EnumDescriptor) *enum {
	if e := t.enums[desc.FullName()]; e != nil {
		return e
	}
	n := desc.Values().Len()
	e := &enum{
		byName: make(map[string]int32, n), folded: make(map[string]int32, n), byNumber: make(map[int32]string, n),
		null: desc.FullName() == "google.protobuf.NullValue",
	}
	for i := range n {
		v := desc.Values().Get(i)
		name, number := string(v.Name()), int32(v.Number())
		e.byName[name] = number
		if _, there := e.folded[strings.ToLower(name)]; !there {
			e.folded[strings.ToLower(name)] = number
		}
		if _, there := e.byNumber[number]; !there {
			e.byNumber[number] = name
		}
	}
	t.enums[desc.FullName()] = e
	return e
}

func wireType(k protoreflect.Kind) protowire.Type {
	switch k {
	case protoreflect.Fixed32Kind, protoreflect.Sfixed32Kind, protoreflect.FloatKind:
		return protowire.Fixed32Type
	case protoreflect.Fixed64Kind, protoreflect.Sfixed64Kind, protoreflect.DoubleKind:
		return protowire.Fixed64Type
	case protoreflect.StringKind, protoreflect.BytesKind, protoreflect.MessageKind:
		return protowire.BytesType
	case protoreflect.GroupKind:
		return protowire.StartGroupType
	default:
		return protowire.VarintType
	}
}

// list says that a field has any number of values, and is no map.
func (f *Field) list() bool { return f.Desc.IsList() }
