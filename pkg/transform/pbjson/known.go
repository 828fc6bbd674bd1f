package pbjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// known is a message of google.protobuf that JSON has a form of its own for.
type known uint8

const (
	knownNone known = iota
	knownAny
	knownTimestamp
	knownDuration
	knownFieldMask
	knownStruct
	knownValue
	knownList
	knownBool
	knownString
	knownBytes
	knownInt32
	knownInt64
	knownUint32
	knownUint64
	knownFloat
	knownDouble
)

func knownTypes() map[protoreflect.FullName]known {
	return map[protoreflect.FullName]known{
		"google.protobuf.Any":         knownAny,
		"google.protobuf.Timestamp":   knownTimestamp,
		"google.protobuf.Duration":    knownDuration,
		"google.protobuf.FieldMask":   knownFieldMask,
		"google.protobuf.Struct":      knownStruct,
		"google.protobuf.Value":       knownValue,
		"google.protobuf.ListValue":   knownList,
		"google.protobuf.BoolValue":   knownBool,
		"google.protobuf.StringValue": knownString,
		"google.protobuf.BytesValue":  knownBytes,
		"google.protobuf.Int32Value":  knownInt32,
		"google.protobuf.Int64Value":  knownInt64,
		"google.protobuf.UInt32Value": knownUint32,
		"google.protobuf.UInt64Value": knownUint64,
		"google.protobuf.FloatValue":  knownFloat,
		"google.protobuf.DoubleValue": knownDouble,
	}
}

// textual says that JSON has a string, a number or a boolean for it.
func (k known) textual() bool {
	switch k {
	case knownNone, knownAny, knownStruct, knownValue, knownList:
		return false
	default:
		return true
	}
}

func (k known) message() proto.Message {
	switch k {
	case knownAny:
		return &anypb.Any{}
	case knownTimestamp:
		return &timestamppb.Timestamp{}
	case knownDuration:
		return &durationpb.Duration{}
	case knownFieldMask:
		return &fieldmaskpb.FieldMask{}
	case knownStruct:
		return &structpb.Struct{}
	case knownValue:
		return &structpb.Value{}
	case knownList:
		return &structpb.ListValue{}
	case knownBool:
		return &wrapperspb.BoolValue{}
	case knownString:
		return &wrapperspb.StringValue{}
	case knownBytes:
		return &wrapperspb.BytesValue{}
	case knownInt32:
		return &wrapperspb.Int32Value{}
	case knownInt64:
		return &wrapperspb.Int64Value{}
	case knownUint32:
		return &wrapperspb.UInt32Value{}
	case knownUint64:
		return &wrapperspb.UInt64Value{}
	case knownFloat:
		return &wrapperspb.FloatValue{}
	default:
		return &wrapperspb.DoubleValue{}
	}
}

// wellKnown appends a message of google.protobuf.
func (r *reader) wellKnown(m *Message, dst []byte) ([]byte, *Error) {
	if m.known >= knownBool {
		return r.tagged(m.fields[0], dst) // a wrapper is its only field
	}
	if m.known == knownTimestamp && r.peek() == '"' {
		return r.timestamp(dst)
	}
	r.peek()
	begin := r.pos
	raw, err := r.skip()
	if err != nil {
		return dst, err
	}
	msg := m.known.message()
	o := protojson.UnmarshalOptions{Resolver: m.types.resolver, DiscardUnknown: r.o.IgnoreUnknown, RecursionLimit: MaxDepth}
	if bad := o.Unmarshal(raw, msg); bad != nil {
		r.pos = begin
		return dst, r.fail("is not a %s: %s", m.Desc.FullName(), reason(bad))
	}
	out, bad := proto.MarshalOptions{Deterministic: true}.MarshalAppend(dst, msg)
	if bad != nil {
		r.pos = begin
		return dst, r.fail("is not a %s: %s", m.Desc.FullName(), reason(bad))
	}
	return out, nil
}

// reason takes from protojson's errors where in the part they are: the path says
// more.
func reason(err error) string {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimPrefix(text, "proto: ")
	if _, after, ok := strings.Cut(text, "): "); ok && (strings.HasPrefix(text, "(line ") || strings.HasPrefix(text, "syntax error (line ")) {
		text = after
	}
	return clip(text)
}

// Bounds of google.protobuf.Timestamp.
const (
	minSeconds = -62135596800 // 0001-01-01T00:00:00Z
	maxSeconds = 253402300799 // 9999-12-31T23:59:59Z
)

func (r *reader) timestamp(dst []byte) ([]byte, *Error) {
	begin := r.pos
	text, err := r.text()
	if err != nil {
		return dst, err
	}
	t, bad := time.Parse(time.RFC3339Nano, string(text))
	point, zone := bytes.LastIndexByte(text, '.'), bytes.LastIndexAny(text, "Z-+")
	if bad != nil || t.Unix() < minSeconds || t.Unix() > maxSeconds || point >= 0 && zone >= point && zone-point > len(".999999999") {
		r.pos = begin
		return dst, r.fail("is not a google.protobuf.Timestamp, as in \"2006-01-02T15:04:05Z\"")
	}
	if s := t.Unix(); s != 0 {
		dst = protowire.AppendVarint(append(dst, 1<<3), uint64(s))
	}
	if n := t.Nanosecond(); n != 0 {
		dst = protowire.AppendVarint(append(dst, 2<<3), uint64(n))
	}
	return dst, nil
}

// wellKnown appends the JSON of a message of google.protobuf.
func (w *writer) wellKnown(m *Message, b []byte) error {
	if m.known >= knownBool {
		return w.only(m.fields[0], b)
	}
	if m.known == knownValue && len(b) == 0 {
		w.out = append(w.out, "null"...)
		return nil
	}
	msg := m.known.message()
	if err := proto.Unmarshal(b, msg); err != nil {
		return ErrWire
	}
	if t, ok := msg.(*timestamppb.Timestamp); ok && t.IsValid() {
		w.out = append(w.out, '"')
		w.out = appendTime(w.out, t)
		w.out = append(w.out, '"')
		return nil
	}
	o := protojson.MarshalOptions{
		Resolver: m.types.resolver, UseProtoNames: w.o.ProtoNames, UseEnumNumbers: w.o.EnumNumbers, EmitDefaultValues: w.o.EmitDefaults,
	}
	text, err := o.Marshal(msg)
	if err != nil {
		return errors.New(string(m.Desc.FullName()) + ": " + reason(err))
	}
	out := bytes.NewBuffer(w.out)
	if err := json.Compact(out, text); err != nil { // protojson's white space changes from build to build
		return err
	}
	w.out = out.Bytes()
	return nil
}

// appendTime writes 0, 3, 6 or 9 digits of a second.
func appendTime(out []byte, t *timestamppb.Timestamp) []byte {
	at := t.AsTime()
	out = at.AppendFormat(out, "2006-01-02T15:04:05.000000000")
	for range 3 {
		if !bytes.HasSuffix(out, []byte("000")) {
			break
		}
		out = out[:len(out)-3]
	}
	if out[len(out)-1] == '.' {
		out = out[:len(out)-1]
	}
	return append(out, 'Z')
}
