package pbjson

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// AppendMessage appends the field with a message that is on the wire already.
func (f *Field) AppendMessage(dst, wire []byte) []byte {
	dst = append(dst, f.tag...)
	if f.kind == protoreflect.GroupKind {
		return protowire.AppendTag(append(dst, wire...), f.Desc.Number(), protowire.EndGroupType)
	}
	return protowire.AppendBytes(dst, wire)
}

// Wrap puts a field's bytes, as Append gives them, into the messages that lead
// to it. The last of path is the field itself.
func Wrap(path []*Field, field []byte) []byte {
	for i := len(path) - 2; i >= 0; i-- {
		field = path[i].AppendMessage(nil, field)
	}
	return field
}

// Last gives the last value of the field at the end of path, with its tag, as
// AppendText gives it; nil: the message has none.
func Last(path []*Field, wire []byte) []byte {
	f := path[0]
	var inside, last []byte
	for rest := wire; len(rest) > 0; {
		number, typ, n := protowire.ConsumeTag(rest)
		if n < 0 {
			return nil
		}
		size := protowire.ConsumeFieldValue(number, typ, rest[n:])
		if size < 0 {
			return nil
		}
		if number == f.Desc.Number() && f.fits(typ) {
			last = rest[:n+size]
			value := rest[n : n+size]
			switch typ {
			case protowire.BytesType:
				value, _ = protowire.ConsumeBytes(value)
			case protowire.StartGroupType:
				value = value[:len(value)-protowire.SizeTag(number)]
			}
			inside = append(inside, value...)
		}
		rest = rest[n+size:]
	}
	if len(path) == 1 || last == nil {
		return last
	}
	return Last(path[1:], inside)
}
