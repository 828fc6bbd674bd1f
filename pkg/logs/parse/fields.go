package parse

import (
	"fmt"
	"maps"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/logs/record"
)

// fields puts what has a meaning into its place, and the rest into attributes.
type fields struct {
	roles      map[string]role
	severities map[string]record.Severity
	clock      Clock
	body       bool // a body has been found
	scratch    []byte
}

type role uint8

const (
	roleNone role = iota
	roleTimestamp
	roleSeverity
	roleBody
	roleTraceID
	roleSpanID
)

// usual are the names under which the roles are looked for.
func usual(r role) []string {
	switch r {
	case roleTimestamp:
		return []string{"timestamp", "time", "ts", "@timestamp", "t"}
	case roleSeverity:
		return []string{"severity", "level", "lvl", "loglevel", "log.level", "levelname", "severityText"}
	case roleBody:
		return []string{"body", "message", "msg"}
	case roleTraceID:
		return []string{"trace_id", "traceId", "traceid", "trace.id"}
	case roleSpanID:
		return []string{"span_id", "spanId", "spanid", "span.id"}
	case roleNone:
	}
	return nil
}

func newFields(o *Fields) (fields, error) {
	f := fields{roles: map[string]role{}, severities: map[string]record.Severity{}}
	var err error
	if f.clock, err = NewClock(o.TimeFormat); err != nil {
		return f, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	for _, given := range []struct {
		role role
		name string
	}{
		{roleTimestamp, o.Timestamp},
		{roleSeverity, o.Severity},
		{roleBody, o.Body},
		{roleTraceID, o.TraceID},
		{roleSpanID, o.SpanID},
	} {
		names := usual(given.role)
		if given.name != "" {
			names = []string{given.name}
		}
		for _, name := range names {
			if taken := f.roles[name]; taken != roleNone && given.name != "" && taken != given.role {
				return f, fmt.Errorf("%w: the field %q has two meanings", ErrOptions, name)
			}
			f.roles[name] = given.role
		}
	}
	for _, text := range slices.Sorted(maps.Keys(o.Severities)) {
		s := record.SeverityOf([]byte(o.Severities[text]))
		if s == 0 {
			return f, fmt.Errorf("%w: %q is no severity: use trace, debug, info, warn, error or fatal", ErrOptions, o.Severities[text])
		}
		f.severities[text] = s
	}
	return f, nil
}

// begin forgets the line before.
func (f *fields) begin() { f.body, f.scratch = false, f.scratch[:0] }

// put takes one field. Of a value that has no meaning in its role, nothing is
// lost: it is an attribute like others.
func (f *fields) put(r *record.Record, key, value []byte, kind record.Kind) {
	role := f.roles[string(key)]
	if role == roleNone || !f.take(r, role, value, kind) {
		r.Set(key, value, kind)
	}
}

func (f *fields) take(r *record.Record, role role, value []byte, kind record.Kind) bool {
	if kind == record.Composite {
		return false
	}
	switch role {
	case roleTimestamp:
		if r.Timestamp != 0 {
			return false
		}
		nanos, ok := f.clock.Parse(value)
		if ok {
			r.Timestamp = nanos
		}
		return ok
	case roleSeverity:
		return r.Severity == 0 && f.severity(r, value)
	case roleBody:
		if f.body || kind == record.Literal {
			return false
		}
		f.body, r.Body = true, record.Value{Bytes: value, Kind: kind}
		return true
	case roleTraceID:
		return len(r.TraceID) == 0 && keepHex(&r.TraceID, value, 32)
	case roleSpanID:
		return len(r.SpanID) == 0 && keepHex(&r.SpanID, value, 16)
	case roleNone:
	}
	return false
}

func (f *fields) severity(r *record.Record, text []byte) bool {
	s, ok := f.severities[string(text)]
	if !ok {
		s = record.SeverityOf(text)
	}
	if s == 0 {
		return false
	}
	r.Severity, r.SeverityText = s, text
	if len(text) > 0 && text[0] >= '0' && text[0] <= '9' {
		r.SeverityText = nil // a number is no text: the range has a name
	}
	return true
}

// keepHex takes an identifier of n hexadecimal digits that are not all zero.
func keepHex(into *[]byte, text []byte, n int) bool {
	if len(text) != n {
		return false
	}
	zeros := true
	for _, c := range text {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
		zeros = zeros && c == '0'
	}
	if zeros {
		return false
	}
	*into = text
	return true
}
