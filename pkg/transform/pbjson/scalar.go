package pbjson

import (
	"bytes"
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

func foldName(name []byte) string { return strings.ToLower(string(name)) }

// integer appends a whole number, which may be a string and may be written with
// a point or an exponent.
func (r *reader) integer(k protoreflect.Kind, dst []byte) ([]byte, *Error) {
	r.peek()
	begin := r.pos
	text, err := r.numeric()
	if err != nil {
		return dst, err
	}
	negative, digits, ok := whole(text)
	if !ok {
		r.pos = begin
		return dst, r.fail("is not a whole number")
	}
	out, ok := appendInteger(dst, k, negative, digits)
	if !ok {
		r.pos = begin
		return dst, r.fail("is not in the range of a %s", k)
	}
	return out, nil
}

// whole takes a number apart that has nothing behind the point.
func whole(text []byte) (negative bool, digits []byte, ok bool) {
	if numberLength(text) != len(text) || len(text) == 0 {
		return false, nil, false
	}
	if text[0] == '-' {
		negative, text = true, text[1:]
	}
	if !bytes.ContainsAny(text, ".eE") {
		return negative, text, true
	}
	mantissa, power := text, 0
	if e := bytes.IndexAny(text, "eE"); e >= 0 {
		mantissa = text[:e]
		if len(bytes.Trim(mantissa, "0.")) == 0 {
			return negative, nil, true
		}
		n, err := strconv.Atoi(string(text[e+1:]))
		if err != nil || n > 1000 || n < -1000 {
			return false, nil, false
		}
		power = n
	}
	head, tail, _ := bytes.Cut(mantissa, []byte{'.'})
	digits = append(bytes.Clone(head), tail...)
	power -= len(tail)
	for ; power < 0; power++ {
		n := len(digits) - 1
		if n < 0 || digits[n] != '0' {
			return false, nil, false
		}
		digits = digits[:n]
	}
	digits = bytes.TrimLeft(digits, "0")
	if len(digits)+power > 20 && len(digits) > 0 {
		return negative, []byte("99999999999999999999"), true // out of every range
	}
	for ; power > 0 && len(digits) > 0; power-- {
		digits = append(digits, '0')
	}
	return negative, digits, true
}

func appendInteger(dst []byte, k protoreflect.Kind, negative bool, digits []byte) ([]byte, bool) {
	var v uint64
	for _, c := range digits {
		if v > math.MaxUint64/10 {
			return dst, false
		}
		d := uint64(c - '0')
		if v*10 > math.MaxUint64-d {
			return dst, false
		}
		v = v*10 + d
	}
	switch k {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if negative && v != 0 {
			return dst, false
		}
		return appendUnsigned(dst, k, v)
	}
	bound := uint64(math.MaxInt64)
	if k == protoreflect.Int32Kind || k == protoreflect.Sint32Kind || k == protoreflect.Sfixed32Kind {
		bound = math.MaxInt32
	}
	if negative {
		bound++
	}
	if v > bound {
		return dst, false
	}
	n := int64(v)
	if negative {
		n = -n
	}
	return appendSigned(dst, k, n), true
}

func appendUnsigned(dst []byte, k protoreflect.Kind, v uint64) ([]byte, bool) {
	if (k == protoreflect.Uint32Kind || k == protoreflect.Fixed32Kind) && v > math.MaxUint32 {
		return dst, false
	}
	switch k {
	case protoreflect.Fixed32Kind:
		return protowire.AppendFixed32(dst, uint32(v)), true
	case protoreflect.Fixed64Kind:
		return protowire.AppendFixed64(dst, v), true
	default:
		return protowire.AppendVarint(dst, v), true
	}
}

func appendSigned(dst []byte, k protoreflect.Kind, n int64) []byte {
	switch k {
	case protoreflect.Sint32Kind, protoreflect.Sint64Kind:
		return protowire.AppendVarint(dst, protowire.EncodeZigZag(n))
	case protoreflect.Sfixed32Kind:
		return protowire.AppendFixed32(dst, uint32(int32(n)))
	case protoreflect.Sfixed64Kind:
		return protowire.AppendFixed64(dst, uint64(n))
	default:
		return protowire.AppendVarint(dst, uint64(n))
	}
}

// bytes appends what a string has in base64, of either alphabet, with or without
// padding.
func (r *reader) bytes(dst []byte) ([]byte, *Error) {
	r.peek()
	begin := r.pos
	text, err := r.text()
	if err != nil {
		return dst, err
	}
	encoding := base64.StdEncoding
	if bytes.ContainsAny(text, "-_") {
		encoding = base64.URLEncoding
	}
	if len(text)%4 != 0 {
		encoding = encoding.WithPadding(base64.NoPadding)
	}
	n, bad := encoding.Decode(r.room(len(text)), text)
	if bad != nil {
		r.pos = begin
		return dst, r.fail("is not base64")
	}
	return append(protowire.AppendVarint(dst, uint64(n)), r.decoded[:n]...), nil
}

// room gives memory for n bytes.
func (r *reader) room(n int) []byte {
	if cap(r.decoded) < n {
		r.decoded = make([]byte, n)
	}
	return r.decoded[:n]
}
