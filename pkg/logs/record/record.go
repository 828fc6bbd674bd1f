// Package record is one log record, in the words of OpenTelemetry's log data
// model, and the JSON that is written of it. It knows no files and no network.
//
// A record is reused from line to line: what its slices show stays valid until
// the next line is parsed.
package record

import "bytes"

// Kind says what the bytes of a Value are.
type Kind uint8

// The kinds.
const (
	Text      Kind = iota // text as it is, which may be no UTF-8
	Escaped               // the inside of a JSON string: escaped already, valid UTF-8
	Literal               // a JSON number, true, false or null
	Composite             // a JSON object or list
)

// Value is the text of a value.
type Value struct {
	Bytes []byte
	Kind  Kind
}

// Attribute is one named value.
type Attribute struct {
	Key   []byte // text as it is
	Value Value
}

// Record is what one line, or several that belong together, say.
type Record struct {
	// Timestamp is when it happened, Observed when it was read, in nanoseconds
	// since 1970. A Timestamp of 0 is not known.
	Timestamp, Observed int64
	Severity            Severity
	SeverityText        []byte // as the app spells it
	Body                Value
	TraceID, SpanID     []byte // hexadecimal, or empty
	Attributes          []Attribute
	// Unparsed says that the line was not of its format, and is in the body as it
	// was; Truncated that the line was longer than is kept.
	Unparsed, Truncated bool
}

// Reset makes it a record of nothing, and keeps its memory.
func (r *Record) Reset() { *r = Record{Attributes: r.Attributes[:0]} }

// Add adds an attribute, whose key no other has.
func (r *Record) Add(key, value []byte, kind Kind) {
	r.Attributes = append(r.Attributes, Attribute{Key: key, Value: Value{Bytes: value, Kind: kind}})
}

// Set is Add for a key that may be there already: the later value takes the place
// of the earlier one.
func (r *Record) Set(key, value []byte, kind Kind) {
	for i := range r.Attributes {
		if bytes.Equal(r.Attributes[i].Key, key) {
			r.Attributes[i].Value = Value{Bytes: value, Kind: kind}
			return
		}
	}
	r.Add(key, value, kind)
}

// Time gives the timestamp, or when it was read where the line says none.
func (r *Record) Time() int64 {
	if r.Timestamp != 0 {
		return r.Timestamp
	}
	return r.Observed
}
