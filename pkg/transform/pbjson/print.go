package pbjson

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// value writes one value.
func (w *writer) value(f *Field, data []byte, depth int) error {
	if w.o.Limit > 0 && len(w.out) > w.o.Limit {
		return ErrLarge
	}
	switch f.kind {
	case protoreflect.MessageKind, protoreflect.GroupKind:
		return w.message(f.message, data, depth+1)
	case protoreflect.StringKind:
		if !utf8.Valid(data) {
			return ErrUTF8
		}
		w.out = appendQuoted(w.out, data)
	case protoreflect.BytesKind:
		w.bytes(data)
	case protoreflect.EnumKind:
		v, _ := protowire.ConsumeVarint(data)
		w.enum(f.enum, int32(v))
	default:
		w.native(f.kind, number(f.kind, data))
	}
	return nil
}

// only writes the field of a wrapper.
func (w *writer) only(f *Field, b []byte) error {
	base := len(w.found)
	defer func() { w.found = w.found[:base] }()
	m := &Message{low: []*Field{1: f}}
	if err := w.gather(m, b); err != nil {
		return err
	}
	if len(w.found) == base {
		w.absent(f)
		return nil
	}
	return w.value(f, w.found[len(w.found)-1].data, 0)
}

func (w *writer) bytes(b []byte) {
	w.out = append(w.out, '"')
	w.out = base64.StdEncoding.AppendEncode(w.out, b)
	w.out = append(w.out, '"')
}

func (w *writer) enum(e *enum, n int32) {
	name, ok := e.byNumber[n]
	switch {
	case e.null:
		w.out = append(w.out, "null"...)
	case ok && !w.o.EnumNumbers:
		w.out = appendQuoted(w.out, name)
	default:
		w.out = strconv.AppendInt(w.out, int64(n), 10)
	}
}

// number decodes a value that is neither text nor message.
func number(k protoreflect.Kind, data []byte) protoreflect.Value {
	switch wireType(k) {
	case protowire.Fixed32Type:
		v, _ := protowire.ConsumeFixed32(data)
		switch k {
		case protoreflect.FloatKind:
			return protoreflect.ValueOfFloat32(math.Float32frombits(v))
		case protoreflect.Sfixed32Kind:
			return protoreflect.ValueOfInt32(int32(v))
		}
		return protoreflect.ValueOfUint32(v)
	case protowire.Fixed64Type:
		v, _ := protowire.ConsumeFixed64(data)
		switch k {
		case protoreflect.DoubleKind:
			return protoreflect.ValueOfFloat64(math.Float64frombits(v))
		case protoreflect.Sfixed64Kind:
			return protoreflect.ValueOfInt64(int64(v))
		}
		return protoreflect.ValueOfUint64(v)
	}
	v, _ := protowire.ConsumeVarint(data)
	switch k {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(v != 0)
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(v))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(int64(v))
	case protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(protowire.DecodeZigZag(v & math.MaxUint32)))
	case protoreflect.Sint64Kind:
		return protoreflect.ValueOfInt64(protowire.DecodeZigZag(v))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(v))
	}
	return protoreflect.ValueOfUint64(v)
}

// native writes a number or a boolean: those of 64 bits in quotes.
func (w *writer) native(k protoreflect.Kind, v protoreflect.Value) {
	switch k {
	case protoreflect.BoolKind:
		w.out = strconv.AppendBool(w.out, v.Bool())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		w.out = strconv.AppendInt(w.out, v.Int(), 10)
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		w.out = strconv.AppendUint(w.out, v.Uint(), 10)
	case protoreflect.FloatKind:
		w.float(v.Float(), 32)
	case protoreflect.DoubleKind:
		w.float(v.Float(), 64)
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		w.out = append(strconv.AppendInt(append(w.out, '"'), v.Int(), 10), '"')
	default:
		w.out = append(strconv.AppendUint(append(w.out, '"'), v.Uint(), 10), '"')
	}
}

// float writes as few digits as give the same number again, as encoding/json
// does.
func (w *writer) float(v float64, bits int) {
	switch {
	case math.IsNaN(v):
		w.out = append(w.out, `"NaN"`...)
		return
	case math.IsInf(v, 1):
		w.out = append(w.out, `"Infinity"`...)
		return
	case math.IsInf(v, -1):
		w.out = append(w.out, `"-Infinity"`...)
		return
	}
	format, abs := byte('f'), math.Abs(v)
	if abs != 0 && (bits == 64 && (abs < 1e-6 || abs >= 1e21) || bits == 32 && (float32(abs) < 1e-6 || float32(abs) >= 1e21)) {
		format = 'e'
	}
	w.out = strconv.AppendFloat(w.out, v, format, -1, bits)
	if n := len(w.out); format == 'e' && n >= 4 && w.out[n-4] == 'e' && w.out[n-3] == '-' && w.out[n-2] == '0' {
		w.out[n-2] = w.out[n-1] // e-09 is e-9
		w.out = w.out[:n-1]
	}
}

// entry takes an entry of a map apart. What is missing stays nil.
func (f *Field) entry(data []byte) (entry, error) {
	var e entry
	for len(data) > 0 {
		number, typ, n := protowire.ConsumeTag(data)
		if n < 0 {
			return e, ErrWire
		}
		data = data[n:]
		if n = protowire.ConsumeFieldValue(number, typ, data); n < 0 {
			return e, ErrWire
		}
		value := data[:n:n]
		data = data[n:]
		if typ == protowire.BytesType {
			_, skip := protowire.ConsumeVarint(value)
			value = value[skip:]
		}
		switch {
		case number == 1 && f.key.fits(typ):
			e.key = value
		case number == 2 && f.item.fits(typ) && f.item.message != nil:
			e.value = append(slices.Clip(e.value), value...)
			if e.value == nil {
				e.value = []byte{}
			}
		case number == 2 && f.item.fits(typ):
			e.value = value
		}
	}
	return e, e.sort(f.key)
}

// sort works out where the entry's place is.
func (e *entry) sort(f *Field) error {
	if f.kind == protoreflect.StringKind {
		if !utf8.Valid(e.key) {
			return ErrUTF8
		}
		return nil
	}
	const sign = 1 << 63
	switch v := number(f.kind, e.key).Interface().(type) {
	case bool:
		if v {
			e.order = 1
		}
	case int32:
		e.order = uint64(int64(v)) ^ sign
	case int64:
		e.order = uint64(v) ^ sign
	case uint32:
		e.order = uint64(v)
	case uint64:
		e.order = v
	}
	return nil
}

// mapKey writes a key, in quotes whatever it is.
func (w *writer) mapKey(f *Field, e *entry) error {
	if f.kind == protoreflect.StringKind {
		w.out = appendQuoted(w.out, e.key)
		return nil
	}
	before := len(w.out)
	w.out = append(w.out, '"')
	w.native(f.kind, number(f.kind, e.key))
	if len(w.out) > before+1 && w.out[before+1] == '"' { // of 64 bits
		w.out = append(w.out[:before], w.out[before+1:]...)
		return nil
	}
	w.out = append(w.out, '"')
	return nil
}

// appendQuoted writes a string, escaping what RFC 8259 wants escaped.
func appendQuoted[T string | []byte](out []byte, s T) []byte {
	const digits = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		out = append(out, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, '\\', 'b')
		case '\f':
			out = append(out, '\\', 'f')
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	out = append(out, s[from:]...)
	return append(out, '"')
}
