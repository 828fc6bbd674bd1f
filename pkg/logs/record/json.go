package record

import "strconv"

// Writer writes records as JSON, one object each:
//
//	{"timestamp":"2026-01-02T15:04:05.000000006Z","observedTimestamp":...,
//	 "severityText":"WARN","severityNumber":13,"body":"...","attributes":{...},
//	 "traceId":"...","spanId":"...","resource":{...}}
//
// What is not known is left out, timestamp and body never. It remembers the last
// second, and so is for one goroutine.
type Writer struct {
	at, observed stamp
}

// Append adds one record, without a line feed. elastic puts the time at the
// beginning as @timestamp, too, which Elasticsearch wants.
func (w *Writer) Append(dst []byte, elastic bool, r *Record, res *Resource) []byte {
	dst = append(dst, '{')
	if elastic {
		dst = append(dst, `"@timestamp":"`...)
		dst = append(w.at.append(dst, r.Time()), `",`...)
	}
	dst = append(dst, `"timestamp":"`...)
	dst = w.at.append(dst, r.Time())
	dst = append(dst, `","observedTimestamp":"`...)
	dst = append(w.observed.append(dst, r.Observed), '"')
	dst = appendSeverity(dst, r)
	dst = append(dst, `,"body":`...)
	dst = appendValue(dst, r.Body)
	dst = appendAttributes(dst, r)
	if len(r.TraceID) > 0 {
		dst = append(dst, `,"traceId":`...)
		dst = AppendString(dst, r.TraceID)
	}
	if len(r.SpanID) > 0 {
		dst = append(dst, `,"spanId":`...)
		dst = AppendString(dst, r.SpanID)
	}
	return append(append(dst, res.json...), '}')
}

// appendSeverity adds the text of the severity, the app's own before that of the
// range, and the number.
func appendSeverity(dst []byte, r *Record) []byte {
	switch {
	case len(r.SeverityText) > 0:
		dst = AppendString(append(dst, `,"severityText":`...), r.SeverityText)
	case r.Severity != 0:
		dst = append(append(append(dst, `,"severityText":"`...), r.Severity.String()...), '"')
	}
	if r.Severity != 0 {
		dst = strconv.AppendUint(append(dst, `,"severityNumber":`...), uint64(r.Severity), 10)
	}
	return dst
}

func appendAttributes(dst []byte, r *Record) []byte {
	if len(r.Attributes) == 0 && !r.Unparsed && !r.Truncated {
		return dst
	}
	dst = append(dst, `,"attributes":{`...)
	comma := false
	for i := range r.Attributes {
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = append(AppendString(dst, r.Attributes[i].Key), ':')
		dst = appendValue(dst, r.Attributes[i].Value)
	}
	for _, flag := range [...]struct {
		name string
		set  bool
	}{{UnparsedKey, r.Unparsed}, {TruncatedKey, r.Truncated}} {
		if !flag.set {
			continue
		}
		if comma {
			dst = append(dst, ',')
		}
		comma = true
		dst = append(append(append(dst, '"'), flag.name...), `":true`...)
	}
	return append(dst, '}')
}

// Attributes that records get from the adapter itself.
const (
	UnparsedKey  = "log.unparsed"
	TruncatedKey = "log.truncated"
)

func appendValue(dst []byte, v Value) []byte {
	switch v.Kind {
	case Escaped:
		return append(append(append(dst, '"'), v.Bytes...), '"')
	case Literal, Composite:
		return append(dst, v.Bytes...)
	case Text:
	}
	return AppendString(dst, v.Bytes)
}
