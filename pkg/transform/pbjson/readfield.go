package pbjson

import (
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// field appends all values of a field, with their tags.
func (r *reader) field(f *Field, dst []byte) ([]byte, *Error) {
	switch {
	case f.item != nil:
		return r.mapping(f, dst)
	case f.list():
		return r.elements(f, dst)
	default:
		return r.tagged(f, dst)
	}
}

// tagged appends a value with its tag.
func (r *reader) tagged(f *Field, dst []byte) ([]byte, *Error) {
	begin := len(dst)
	dst = append(dst, f.tag...)
	out, err := r.value(f, dst)
	if err == nil && len(out) == len(dst) && f.kind == protoreflect.EnumKind {
		return out[:begin], nil // a name that is ignored
	}
	return out, err
}

func (r *reader) elements(f *Field, dst []byte) ([]byte, *Error) {
	if r.peek() != '[' {
		return dst, r.unexpected("a list")
	}
	if err := r.enter('['); err != nil {
		return dst, err
	}
	begin, packed := len(dst), f.packedTag != nil
	if packed {
		dst = append(append(dst, f.packedTag...), 0)
	}
	inside := len(dst)
	for i := 0; ; i++ {
		more, err := r.more(']', i == 0)
		if err != nil {
			return dst, err
		}
		if !more {
			break
		}
		if packed {
			dst, err = r.value(f, dst)
		} else {
			dst, err = r.tagged(f, dst)
		}
		if err != nil {
			return dst, err.at(i)
		}
	}
	if !packed {
		return dst, nil
	}
	if len(dst) == inside {
		return dst[:begin], nil
	}
	return prefix(dst, inside), nil
}

// prefix writes the length of what follows inside into the byte before, and
// makes room where one byte is not enough.
func prefix(dst []byte, inside int) []byte {
	n := len(dst) - inside
	if n < 0x80 {
		dst[inside-1] = byte(n)
		return dst
	}
	more := protowire.SizeVarint(uint64(n)) - 1
	for range more {
		dst = append(dst, 0)
	}
	copy(dst[inside+more:], dst[inside:inside+n])
	protowire.AppendVarint(dst[:inside-1], uint64(n))
	return dst
}

// mapping appends the entries of a map.
func (r *reader) mapping(f *Field, dst []byte) ([]byte, *Error) {
	if r.peek() != '{' {
		return dst, r.unexpected("an object")
	}
	if err := r.enter('{'); err != nil {
		return dst, err
	}
	keys := make(map[string]bool)
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil || !more {
			return dst, err
		}
		text, err := r.text()
		if err != nil {
			return dst, err
		}
		key := string(text)
		dst = append(append(dst, f.tag...), 0)
		inside := len(dst)
		if dst, err = r.mapKey(f.key, key, dst); err != nil {
			return dst, err.keyed(key)
		}
		if keys[string(dst[inside:])] {
			return dst, r.fail("is there twice").keyed(key)
		}
		keys[string(dst[inside:])] = true
		if dst, err = r.entry(f, dst, inside); err != nil {
			return dst, err.keyed(key)
		}
	}
}

// entry appends the value to an entry whose key is written already.
func (r *reader) entry(f *Field, dst []byte, inside int) ([]byte, *Error) {
	if err := r.expect(':'); err != nil {
		return dst, err
	}
	before := len(dst)
	dst, err := r.tagged(f.item, dst)
	if err != nil {
		return dst, err
	}
	if len(dst) == before { // the name of an enum's value, ignored
		return dst[:inside-1-len(f.tag)], nil
	}
	return prefix(dst, inside), nil
}

// mapKey appends a key, which is a string in JSON whatever it is.
func (r *reader) mapKey(f *Field, key string, dst []byte) ([]byte, *Error) {
	dst = append(dst, f.tag...)
	var ok bool
	switch f.kind {
	case protoreflect.StringKind:
		return append(protowire.AppendVarint(dst, uint64(len(key))), key...), nil
	case protoreflect.BoolKind:
		if ok = key == "true" || key == "false"; ok {
			dst = protowire.AppendVarint(dst, protowire.EncodeBool(key == "true"))
		}
	default:
		digits, negative := strings.CutPrefix(key, "-")
		if ok = digits != "" && strings.Trim(digits, "0123456789") == ""; ok {
			dst, ok = appendInteger(dst, f.kind, negative, []byte(digits))
		}
	}
	if !ok {
		return dst, r.fail("is not the key of a map of %s", f.kind)
	}
	return dst, nil
}

// value appends one value, without its tag. A message gets its length.
func (r *reader) value(f *Field, dst []byte) ([]byte, *Error) {
	switch f.kind {
	case protoreflect.MessageKind:
		dst = append(dst, 0)
		inside := len(dst)
		dst, err := r.message(f.message, dst)
		if err != nil {
			return dst, err
		}
		return prefix(dst, inside), nil
	case protoreflect.GroupKind:
		dst, err := r.message(f.message, dst)
		return protowire.AppendTag(dst, f.Desc.Number(), protowire.EndGroupType), err
	case protoreflect.StringKind:
		text, err := r.text()
		if err != nil {
			return dst, err
		}
		return append(protowire.AppendVarint(dst, uint64(len(text))), text...), nil
	case protoreflect.BytesKind:
		return r.bytes(dst)
	case protoreflect.BoolKind:
		return r.boolean(dst)
	case protoreflect.EnumKind:
		return r.enum(f.enum, dst)
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		return r.float(f.kind, dst)
	default:
		return r.integer(f.kind, dst)
	}
}

func (r *reader) boolean(dst []byte) ([]byte, *Error) {
	switch r.peek() {
	case 't':
		return append(dst, 1), r.word("true")
	case 'f':
		return append(dst, 0), r.word("false")
	default:
		return dst, r.unexpected("true or false")
	}
}

func (r *reader) enum(e *enum, dst []byte) ([]byte, *Error) {
	c := r.peek()
	switch {
	case c == '"':
	case c == 'n' && e.null:
		return append(dst, 0), r.word("null")
	default:
		return r.integer(protoreflect.Int32Kind, dst)
	}
	begin := r.pos
	name, err := r.text()
	if err != nil {
		return dst, err
	}
	n, ok := e.byName[string(name)]
	if !ok && r.o.FoldEnums {
		n, ok = e.folded[foldName(name)]
	}
	switch {
	case ok:
		return protowire.AppendVarint(dst, uint64(int64(n))), nil
	case r.o.IgnoreUnknown:
		return dst, nil
	default:
		r.pos = begin
		return dst, r.fail("%q is not a value of the enum", clip(string(name)))
	}
}

// float appends a number, which may be a string, or the name of one that JSON
// does not have.
func (r *reader) float(k protoreflect.Kind, dst []byte) ([]byte, *Error) {
	begin := r.pos
	text, err := r.numeric()
	if err != nil {
		return dst, err
	}
	var v float64
	switch string(text) {
	case "NaN":
		v = math.NaN()
	case "Infinity":
		v = math.Inf(1)
	case "-Infinity":
		v = math.Inf(-1)
	default:
		bits := 64
		if k == protoreflect.FloatKind {
			bits = 32
		}
		var bad error
		if v, bad = strconv.ParseFloat(string(text), bits); bad != nil || numberLength(text) != len(text) {
			r.pos = begin
			return dst, r.fail("is not a number in the range of a %s", k)
		}
	}
	if k == protoreflect.FloatKind {
		return protowire.AppendFixed32(dst, math.Float32bits(float32(v))), nil
	}
	return protowire.AppendFixed64(dst, math.Float64bits(v)), nil
}

// numeric reads a number, or a string in its place.
func (r *reader) numeric() ([]byte, *Error) {
	switch c := r.peek(); {
	case c == '"':
		return r.text()
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	default:
		return nil, r.unexpected("a number")
	}
}
