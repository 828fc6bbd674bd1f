package otlp

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// Numbers of fields, of opentelemetry/proto/logs/v1/logs.proto and
// common/v1/common.proto.
const (
	exportResourceLogs = 1

	resourceLogsResource  = 1
	resourceLogsScopeLogs = 2
	scopeLogsRecords      = 2
	resourceAttributes    = 1

	recordTime           = 1
	recordSeverityNumber = 2
	recordSeverityText   = 3
	recordBody           = 5
	recordAttributes     = 6
	recordTraceID        = 9
	recordSpanID         = 10
	recordObservedTime   = 11

	keyValueKey   = 1
	keyValueValue = 2

	anyString = 1
	anyBool   = 2
	anyInt    = 3
	anyDouble = 4
)

// encoder writes records. Its memory is reused.
type encoder struct {
	record, pair, any, text []byte
}

// append adds a record as a field of ScopeLogs.
func (e *encoder) append(dst []byte, r *record.Record) []byte {
	b := e.record[:0]
	b = protowire.AppendTag(b, recordTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(r.Time()))
	b = protowire.AppendTag(b, recordObservedTime, protowire.Fixed64Type)
	b = protowire.AppendFixed64(b, uint64(r.Observed))
	if r.Severity != 0 {
		b = protowire.AppendTag(b, recordSeverityNumber, protowire.VarintType)
		b = protowire.AppendVarint(b, uint64(r.Severity))
	}
	switch {
	case len(r.SeverityText) > 0:
		b = appendBytes(b, recordSeverityText, e.utf8(r.SeverityText))
	case r.Severity != 0:
		b = protowire.AppendTag(b, recordSeverityText, protowire.BytesType)
		b = protowire.AppendString(b, r.Severity.String())
	}
	b = appendBytes(b, recordBody, e.value(r.Body))
	for i := range r.Attributes {
		a := &r.Attributes[i]
		b = appendBytes(b, recordAttributes, e.keyValue(a.Key, e.value(a.Value)))
	}
	b = e.flag(b, record.UnparsedKey, r.Unparsed)
	b = e.flag(b, record.TruncatedKey, r.Truncated)
	b = e.identifier(b, recordTraceID, r.TraceID)
	b = e.identifier(b, recordSpanID, r.SpanID)
	e.record = b
	return appendBytes(dst, scopeLogsRecords, b)
}

func appendBytes(b []byte, field protowire.Number, v []byte) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, v)
}

func (e *encoder) flag(b []byte, name string, set bool) []byte {
	if !set {
		return b
	}
	return appendBytes(b, recordAttributes, e.keyValue([]byte(name), e.value(record.Value{Bytes: []byte("true"), Kind: record.Literal})))
}

func (e *encoder) identifier(b []byte, field protowire.Number, text []byte) []byte {
	if len(text) == 0 {
		return b
	}
	var raw [16]byte
	n, err := hex.Decode(raw[:], text)
	if err != nil {
		return b
	}
	return appendBytes(b, field, raw[:n])
}

// keyValue is valid until the next call.
func (e *encoder) keyValue(key, value []byte) []byte {
	e.pair = appendBytes(e.pair[:0], keyValueKey, bytes.ToValidUTF8(key, []byte("\uFFFD")))
	e.pair = appendBytes(e.pair, keyValueValue, value)
	return e.pair
}

// value gives an AnyValue, valid until the next call. Objects and lists are the
// text of their JSON; null is a value that is none.
func (e *encoder) value(v record.Value) []byte {
	e.any = e.any[:0]
	switch v.Kind {
	case record.Literal:
		return e.literal(v.Bytes)
	case record.Escaped:
		e.text = record.Unescape(e.text[:0], v.Bytes)
		e.any = appendBytes(e.any, anyString, e.text)
	case record.Text, record.Composite:
		e.any = appendBytes(e.any, anyString, e.utf8(v.Bytes))
	}
	return e.any
}

func (e *encoder) literal(b []byte) []byte {
	switch string(b) {
	case "null":
		return e.any
	case "true", "false":
		e.any = protowire.AppendTag(e.any, anyBool, protowire.VarintType)
		e.any = protowire.AppendVarint(e.any, protowire.EncodeBool(b[0] == 't'))
		return e.any
	}
	if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
		e.any = protowire.AppendTag(e.any, anyInt, protowire.VarintType)
		e.any = protowire.AppendVarint(e.any, uint64(n))
		return e.any
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil { // too large: keep the digits
		e.any = appendBytes(e.any, anyString, b)
		return e.any
	}
	e.any = protowire.AppendTag(e.any, anyDouble, protowire.Fixed64Type)
	e.any = protowire.AppendFixed64(e.any, math.Float64bits(f))
	return e.any
}

// utf8 is what strings of protobuf must be.
func (e *encoder) utf8(b []byte) []byte {
	if utf8.Valid(b) {
		return b
	}
	return bytes.ToValidUTF8(b, []byte("\uFFFD"))
}

// resource gives the message of a resource.
func (e *encoder) resource(res *record.Resource) []byte {
	var b []byte
	for _, name := range res.Names {
		value := e.value(record.Value{Bytes: []byte(res.Attributes[name])})
		b = appendBytes(b, resourceAttributes, e.keyValue([]byte(name), value))
	}
	return b
}
