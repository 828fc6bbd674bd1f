package pbjson

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// ReadOptions say how lenient the reading of JSON is.
type ReadOptions struct {
	// IgnoreUnknown skips fields, and names of enums, that the type does not have.
	IgnoreUnknown bool
	// FoldEnums finds names of enums in any case.
	FoldEnums bool
	// Partial does not miss required fields of the outermost message, which come
	// from elsewhere.
	Partial bool
}

// Append appends the message that a JSON text is. An error is an *Error, and
// leaves dst as it was.
func (m *Message) Append(dst, json []byte, o ReadOptions) ([]byte, error) {
	r := &reader{scanner: scanner{in: json}, o: o}
	out, err := r.message(m, dst)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// Append appends the field with the value that a JSON text is: a list, if the
// field is one. An error is an *Error, and leaves dst as it was.
func (f *Field) Append(dst, json []byte, o ReadOptions) ([]byte, error) {
	r := &reader{scanner: scanner{in: json}, o: o}
	out, err := r.field(f, dst)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

// AppendText appends the field with one value, as it stands in a path or a
// query. It is for textual fields. An error is an *Error.
func (f *Field) AppendText(dst []byte, text string, o ReadOptions) ([]byte, error) {
	json := text
	if f.quoted() && (f.enum == nil || text == "" || numberLength([]byte(text)) != len(text)) {
		json = string(appendQuoted(nil, text))
	}
	o.IgnoreUnknown = false // of enums: what is not there would be another request
	r := &reader{scanner: scanner{in: []byte(json)}, o: o}
	out, err := r.tagged(f, dst)
	if err == nil {
		err = r.end()
	}
	if err != nil {
		err.Offset = 0
		return dst, err
	}
	return out, nil
}

// quoted says that a text is a string for JSON: numbers may be strings, too.
func (f *Field) quoted() bool {
	if f.message != nil {
		return f.message.known != knownBool
	}
	return f.kind != protoreflect.BoolKind
}

// reader reads one JSON text.
type reader struct {
	scanner
	o       ReadOptions
	decoded []byte // of base64
}

// seen notes which fields and oneofs of one message were there.
type seen struct {
	low  uint64
	more map[int]bool
}

// add reports whether i is new.
func (s *seen) add(i int) bool {
	if i < 64 {
		bit := uint64(1) << i
		was := s.low&bit != 0
		s.low |= bit
		return !was
	}
	if s.more[i] {
		return false
	}
	if s.more == nil {
		s.more = make(map[int]bool)
	}
	s.more[i] = true
	return true
}

func (s *seen) has(i int) bool { return i < 64 && s.low&(1<<i) != 0 || s.more[i] }

// message appends the fields of an object.
func (r *reader) message(m *Message, dst []byte) ([]byte, *Error) {
	if m.known != 0 {
		return r.wellKnown(m, dst)
	}
	if r.peek() != '{' {
		return dst, r.unexpected("an object")
	}
	if err := r.enter('{'); err != nil {
		return dst, err
	}
	var fields, oneofs seen
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		if dst, err = r.member(m, dst, &fields, &oneofs); err != nil {
			return dst, err
		}
	}
	for _, i := range m.required {
		if !fields.has(i) && (r.depth > 0 || !r.o.Partial) {
			return dst, r.fail("is missing").under(m.fields[i].name)
		}
	}
	return dst, nil
}

// member appends one field of an object.
func (r *reader) member(m *Message, dst []byte, fields, oneofs *seen) ([]byte, *Error) {
	begin := r.pos
	name, err := r.text()
	if err != nil {
		return dst, err
	}
	f := m.names[string(name)]
	if f == nil {
		return dst, r.unknown(string(name), begin)
	}
	if err := r.expect(':'); err != nil {
		return dst, err.under(f.name)
	}
	if !fields.add(f.index) {
		return dst, r.fail("is there twice").under(f.name)
	}
	if !f.takesNull() && r.null() {
		return dst, nil
	}
	if f.oneof >= 0 && !oneofs.add(f.oneof) {
		return dst, r.fail("is one of several fields, of which only one may be there: oneof %s", f.Desc.ContainingOneof().Name()).under(f.name)
	}
	if dst, err = r.field(f, dst); err != nil {
		return dst, err.under(f.name)
	}
	return dst, nil
}

// unknown skips a field that the message does not have, or refuses it.
func (r *reader) unknown(name string, begin int) *Error {
	if !r.o.IgnoreUnknown {
		r.pos = begin
		return r.fail("is not a field of the message").under(clip(name))
	}
	if err := r.expect(':'); err != nil {
		return err
	}
	_, err := r.skip()
	return err
}

// takesNull says that null is a value, and does not mean that there is none.
func (f *Field) takesNull() bool {
	if f.Desc.IsList() || f.Desc.IsMap() {
		return false
	}
	return f.message != nil && f.message.known == knownValue || f.enum != nil && f.enum.null
}
