package pbjson

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
	"sync"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Errors of the wire format.
var (
	ErrWire = errors.New("is not a message of protocol buffers")
	ErrUTF8 = errors.New("a string is not UTF-8")
	ErrDeep = errors.New("messages are nested too deep")
)

// WriteOptions say how JSON is written.
type WriteOptions struct {
	EmitDefaults bool // also fields that have their default value, and empty lists and maps
	EnumNumbers  bool // numbers of enums, not names
	ProtoNames   bool // names of fields as the proto has them
	Limit        int  // bytes of the text, about; longer ones are ErrLarge; 0: there is none
}

// AppendJSON appends the JSON of a message. Fields stand in the order of the
// proto. An error leaves dst as it was.
func (m *Message) AppendJSON(dst, wire []byte, o WriteOptions) ([]byte, error) {
	w := newWriter(dst, o)
	defer w.release()
	if err := w.message(m, wire, 0); err != nil {
		return dst, err
	}
	return w.out, nil
}

// AppendFieldJSON appends the JSON of one field of a message; that of its
// default value, if it is not there.
func (m *Message) AppendFieldJSON(dst []byte, f *Field, wire []byte, o WriteOptions) ([]byte, error) {
	w := newWriter(dst, o)
	defer w.release()
	if err := w.gather(m, wire); err != nil {
		return dst, err
	}
	w.found = slices.DeleteFunc(w.found, func(x occurrence) bool { return x.field != f })
	if len(w.found) == 0 {
		w.absent(f)
		return w.out, nil
	}
	if err := w.values(f, 0, len(w.found), 0); err != nil {
		return dst, err
	}
	return w.out, nil
}

// occurrence is a value on the wire.
type occurrence struct {
	field *Field
	typ   protowire.Type
	data  []byte // without tag and length
}

// writer writes one JSON text.
type writer struct {
	out   []byte
	o     WriteOptions
	found []occurrence // of the messages that are being written, the innermost last
}

//nolint:gochecknoglobals // a pool of memory has no state that anybody sees
var writers = sync.Pool{New: func() any { return &writer{} }}

func newWriter(dst []byte, o WriteOptions) *writer {
	w, _ := writers.Get().(*writer)
	w.out, w.o = dst, o
	return w
}

func (w *writer) release() {
	clear(w.found[:cap(w.found)])
	w.out, w.found = nil, w.found[:0]
	writers.Put(w)
}

// gather finds the values of a message's fields, in the order of the fields.
func (w *writer) gather(m *Message, b []byte) error {
	base, sorted, last := len(w.found), true, -1
	for len(b) > 0 {
		number, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return ErrWire
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(number, typ, b); n < 0 {
			return ErrWire
		}
		data := b[:n]
		b = b[n:]
		f := m.byNumber(number)
		if f == nil || !f.fits(typ) {
			continue
		}
		switch typ {
		case protowire.BytesType:
			_, skip := protowire.ConsumeVarint(data)
			data = data[skip:]
		case protowire.StartGroupType:
			data = data[:len(data)-protowire.SizeTag(number)]
		}
		if f.oneof >= 0 {
			others := func(x occurrence) bool { return x.field.oneof == f.oneof && x.field != f }
			w.found = w.found[:base+len(slices.DeleteFunc(w.found[base:], others))]
		}
		sorted = sorted && f.index >= last
		last = f.index
		w.found = append(w.found, occurrence{f, typ, data})
	}
	if !sorted {
		slices.SortStableFunc(w.found[base:], func(a, b occurrence) int { return cmp.Compare(a.field.index, b.field.index) })
	}
	return nil
}

// fits says whether a value of a wire type can be the field's: others are as
// unknown as other fields.
func (f *Field) fits(typ protowire.Type) bool {
	want := wireType(f.kind)
	return typ == want || typ == protowire.BytesType && f.list() && want != protowire.StartGroupType
}

func (w *writer) message(m *Message, b []byte, depth int) error {
	if depth > MaxDepth {
		return ErrDeep
	}
	if m.known != 0 {
		return w.wellKnown(m, b)
	}
	base := len(w.found)
	if err := w.gather(m, b); err != nil {
		return err
	}
	w.out = append(w.out, '{')
	begin, next := len(w.out), 0
	for i := base; i < len(w.found); {
		f := w.found[i].field
		to := i + 1
		for to < len(w.found) && w.found[to].field == f {
			to++
		}
		if w.o.EmitDefaults {
			w.defaults(m, next, f.index, begin)
			next = f.index + 1
		}
		if w.o.EmitDefaults || !f.implicit && !w.empty(f, i, to) || f.implicit && !w.found[to-1].zero() {
			w.key(f, begin)
			if err := w.values(f, i, to, depth); err != nil {
				return err
			}
		}
		i = to
	}
	if w.o.EmitDefaults {
		w.defaults(m, next, len(m.fields), begin)
	}
	w.found = w.found[:base]
	w.out = append(w.out, '}')
	return nil
}

// key begins a member of an object whose first one begins at begin.
func (w *writer) key(f *Field, begin int) {
	if len(w.out) > begin {
		w.out = append(w.out, ',')
	}
	if w.o.ProtoNames {
		w.out = append(w.out, f.text...)
	} else {
		w.out = append(w.out, f.json...)
	}
}

// defaults writes fields that are not there and whose absence means a value.
func (w *writer) defaults(m *Message, from, to, begin int) {
	for _, f := range m.fields[from:to] {
		if f.Desc.IsExtension() || !f.implicit && !f.list() && f.item == nil {
			continue
		}
		w.key(f, begin)
		w.absent(f)
	}
}

// absent writes the value of a field that is not there.
func (w *writer) absent(f *Field) {
	switch {
	case f.item != nil:
		w.out = append(w.out, "{}"...)
	case f.list():
		w.out = append(w.out, "[]"...)
	case f.message != nil:
		_ = w.message(f.message, nil, 0) // of nothing there is nothing wrong
	case f.kind == protoreflect.EnumKind:
		w.enum(f.enum, int32(f.Desc.Default().Enum()))
	case f.kind == protoreflect.StringKind:
		w.out = appendQuoted(w.out, f.Desc.Default().String())
	case f.kind == protoreflect.BytesKind:
		w.bytes(f.Desc.Default().Bytes())
	default:
		w.native(f.kind, f.Desc.Default())
	}
}

// empty says that a list has only parts without elements.
func (w *writer) empty(f *Field, from, to int) bool {
	if !f.list() || wireType(f.kind) == protowire.BytesType {
		return false
	}
	for i := from; i < to; i++ {
		if x := &w.found[i]; x.typ != protowire.BytesType || len(x.data) > 0 {
			return false
		}
	}
	return true
}

// zero says that a scalar is its type's default.
func (x *occurrence) zero() bool {
	if x.typ == protowire.BytesType {
		return len(x.data) == 0
	}
	for _, c := range x.data {
		if c&0x7f != 0 || x.typ != protowire.VarintType && c != 0 {
			return false
		}
	}
	return true
}

// values writes what w.found has from from to to, which is all of one field.
func (w *writer) values(f *Field, from, to, depth int) error {
	switch {
	case f.item != nil:
		return w.mapping(f, from, to, depth)
	case f.list():
		w.out = append(w.out, '[')
		begin := len(w.out)
		for i := from; i < to; i++ {
			if err := w.element(f, w.found[i], begin, depth); err != nil {
				return err
			}
		}
		w.out = append(w.out, ']')
		return nil
	case f.message != nil && to-from > 1:
		var merged []byte // messages of one field are parts of one
		for i := from; i < to; i++ {
			merged = append(merged, w.found[i].data...)
		}
		return w.message(f.message, merged, depth+1)
	default:
		return w.value(f, w.found[to-1].data, depth)
	}
}

// element writes an element of a list, or several that are packed.
func (w *writer) element(f *Field, x occurrence, begin, depth int) error {
	packed := x.typ == protowire.BytesType && wireType(f.kind) != protowire.BytesType
	data := x.data
	for !packed || len(data) > 0 {
		if len(w.out) > begin {
			w.out = append(w.out, ',')
		}
		if !packed {
			return w.value(f, data, depth)
		}
		n := protowire.ConsumeFieldValue(1, wireType(f.kind), data)
		if n < 0 {
			return ErrWire
		}
		if err := w.value(f, data[:n], depth); err != nil {
			return err
		}
		data = data[n:]
	}
	return nil
}

// entry is one of a map.
type entry struct {
	key, value []byte
	order      uint64 // of the key, where it is a number
}

// mapping writes a map, sorted by its keys.
func (w *writer) mapping(f *Field, from, to, depth int) error {
	entries := make([]entry, 0, to-from)
	for i := from; i < to; i++ {
		e, err := f.entry(w.found[i].data)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	same := func(a, b entry) int { return cmp.Compare(a.order, b.order) }
	if f.key.kind == protoreflect.StringKind {
		same = func(a, b entry) int { return bytes.Compare(a.key, b.key) }
	}
	slices.SortStableFunc(entries, same)
	w.out = append(w.out, '{')
	begin := len(w.out)
	for i := range entries {
		if i+1 < len(entries) && same(entries[i], entries[i+1]) == 0 {
			continue // the last one counts
		}
		if len(w.out) > begin {
			w.out = append(w.out, ',')
		}
		if err := w.mapKey(f.key, &entries[i]); err != nil {
			return err
		}
		w.out = append(w.out, ':')
		if err := w.item(f.item, entries[i].value, depth); err != nil {
			return err
		}
	}
	w.out = append(w.out, '}')
	return nil
}

// item writes a value of a map; nil data: it is not there.
func (w *writer) item(f *Field, data []byte, depth int) error {
	if data == nil {
		w.absent(f)
		return nil
	}
	return w.value(f, data, depth)
}
