package msgpack

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/transform/value"
)

// Append writes a value, each in the shortest way that it has.
func Append(dst []byte, doc *value.Doc, id value.ID, opt *Options) ([]byte, error) {
	n := doc.At(id)
	switch n.Kind {
	case value.Null:
		return append(dst, 0xC0), nil
	case value.False:
		return append(dst, 0xC2), nil
	case value.True:
		return append(dst, 0xC3), nil
	case value.Number:
		return appendNumber(dst, n.Text, opt)
	case value.Bytes:
		return append(appendLength(dst, len(n.Text), 0, 0, 0xC4), n.Text...), nil
	case value.String:
		if n.Timestamp {
			return appendTimestamp(dst, n.Text), nil
		}
		return appendString(dst, n.Text), nil
	case value.List:
		return appendList(dst, doc, id, opt)
	}
	return appendObject(dst, doc, id, opt)
}

func appendList(dst []byte, doc *value.Doc, id value.ID, opt *Options) ([]byte, error) {
	dst = appendLength(dst, doc.Count(id), 0x90, 16, 0xDB)
	i := 0
	for at := doc.At(id).First; at != value.None; at = doc.At(at).Next {
		var err error
		if dst, err = Append(dst, doc, at, opt); err != nil {
			return nil, value.At(err, i)
		}
		i++
	}
	return dst, nil
}

func appendObject(dst []byte, doc *value.Doc, id value.ID, opt *Options) ([]byte, error) {
	if out, is := appendExtension(dst, doc, id); is {
		return out, nil
	}
	dst = appendLength(dst, doc.Count(id), 0x80, 16, 0xDD)
	for at := doc.At(id).First; at != value.None; at = doc.At(at).Next {
		name := doc.At(at).Name
		var err error
		if dst, err = Append(appendString(dst, name), doc, at, opt); err != nil {
			return nil, value.In(err, name)
		}
	}
	return dst, nil
}

func appendString(dst []byte, s string) []byte {
	return append(appendLength(dst, len(s), 0xA0, 32, 0xD9), s...)
}

// appendLength writes a length: in the byte fixed, if it is below limit, or after
// the one that is base for a length of one byte. Lists and objects have none of
// those: their base is the one before that for two.
func appendLength(dst []byte, n int, fixed byte, limit int, base byte) []byte {
	switch {
	case n < limit:
		return append(dst, fixed|byte(n))
	case n <= math.MaxUint8 && base != 0xDB && base != 0xDD:
		return append(dst, base, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, base+1), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(dst, base+2), uint32(n))
}

func appendNumber(dst []byte, text string, opt *Options) ([]byte, error) {
	if !strings.ContainsAny(text, ".eE") && text != "-0" {
		if v, err := strconv.ParseInt(text, 10, 64); err == nil {
			return appendInt(dst, v), nil
		}
		if v, err := strconv.ParseUint(text, 10, 64); err == nil {
			return binary.BigEndian.AppendUint64(append(dst, 0xCF), v), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, value.Inexpressible(Format, "a number that is too large for a double")
	}
	if !opt.Round && !value.SameNumber(text, strconv.FormatFloat(f, 'g', -1, 64)) {
		return nil, value.Inexpressible(Format, "a number with more digits than a double keeps (round: true takes the nearest)")
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xCB), math.Float64bits(f)), nil
}

func appendInt(dst []byte, v int64) []byte {
	switch {
	case v >= -32 && v <= math.MaxInt8:
		return append(dst, byte(v))
	case v >= 0 && v <= math.MaxUint8:
		return append(dst, 0xCC, byte(v))
	case v >= 0 && v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, 0xCD), uint16(v))
	case v >= 0 && v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xCE), uint32(v))
	case v >= 0:
		return binary.BigEndian.AppendUint64(append(dst, 0xCF), uint64(v))
	case v >= math.MinInt8:
		return append(dst, 0xD0, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(dst, 0xD1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(dst, 0xD2), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xD3), uint64(v))
}

// appendTimestamp writes a text as Decode makes it of a timestamp; any other text
// stays one.
func appendTimestamp(dst []byte, text string) []byte {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return appendString(dst, text)
	}
	kind := int8(timestampType)
	seconds, nanos := at.Unix(), uint64(at.Nanosecond())
	switch {
	case seconds>>34 != 0:
		dst = append(dst, 0xC7, 12, byte(kind))
		dst = binary.BigEndian.AppendUint32(dst, uint32(nanos))
		return binary.BigEndian.AppendUint64(dst, uint64(seconds))
	case nanos == 0 && seconds <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, 0xD6, byte(kind)), uint32(seconds))
	}
	return binary.BigEndian.AppendUint64(append(dst, 0xD7, byte(kind)), nanos<<34|uint64(seconds))
}

// appendExtension writes an object that is one, as Decode makes it.
func appendExtension(dst []byte, doc *value.Doc, id value.ID) (out []byte, is bool) {
	first := doc.At(id).First
	if first == value.None || doc.At(first).Name != extType || doc.At(first).Kind != value.Number {
		return nil, false
	}
	second := doc.At(first).Next
	kind, err := strconv.ParseInt(doc.At(first).Text, 10, 8)
	if err != nil || strconv.FormatInt(kind, 10) != doc.At(first).Text || kind == timestampType || second == value.None || doc.At(second).Name != extData || doc.At(second).Next != value.None {
		return nil, false
	}
	data := doc.At(second).Text
	switch doc.At(second).Kind {
	case value.Bytes:
	case value.String:
		decoded, err := base64.StdEncoding.Strict().DecodeString(data)
		if err != nil || strings.ContainsAny(data, "\r\n") {
			return nil, false // it would not be read as the same text
		}
		data = string(decoded)
	default:
		return nil, false
	}
	switch len(data) {
	case 1, 2, 4, 8, 16:
		fixed := map[int]byte{1: 0xD4, 2: 0xD5, 4: 0xD6, 8: 0xD7, 16: 0xD8}
		dst = append(dst, fixed[len(data)])
	default:
		dst = appendLength(dst, len(data), 0, 0, 0xC7)
	}
	return append(append(dst, byte(int8(kind))), data...), true
}
