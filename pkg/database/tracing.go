package database

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TraceText is how much of a query is looked at for the comment that names its
// parent, in bytes: sqlcommenter puts it at the end.
const TraceText = 16 << 10

// Tracing makes spans of the queries at one listener. It is read-only; nil makes
// none.
type Tracing struct {
	tracer trace.Tracer
	ratio  float64
	common []attribute.KeyValue
	system string
}

// TracingOptions of a listener.
type TracingOptions struct {
	Tracer                trace.Tracer              // nil: nobody collects spans
	Config                *resource.DatabaseTracing // nil: none are asked for
	System                attribute.KeyValue        // semconv.DBSystemName...
	Environment, Listener string
	Log                   *slog.Logger
}

// NewTracing returns nil where no spans are asked for, or nobody collects them.
func NewTracing(o TracingOptions) *Tracing {
	if o.Config == nil {
		return nil
	}
	if o.Tracer == nil {
		o.Log.Warn("spec tracing is set, but no collector of spans is named: set --otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT")
		return nil
	}
	t := &Tracing{tracer: o.Tracer, ratio: o.Config.Sampling, system: o.System.Value.AsString()}
	t.common = []attribute.KeyValue{o.System, attribute.String("dragoman.listener", o.Listener)}
	if o.Environment != "" {
		t.common = append(t.common, semconv.DeploymentEnvironmentName(o.Environment))
	}
	return t
}

// Sample says whether a query gets a span, and below which.
type Sample struct {
	On     bool
	parent trace.SpanContext
}

// Named reports whether the query names its parent.
func (s Sample) Named() bool { return s.parent.IsValid() }

// sample decides about a query.
func (t *Tracing) sample(sql []byte) Sample {
	if p := parentOf(sql); p.IsValid() {
		return Sample{On: p.IsSampled(), parent: p}
	}
	return t.toss()
}

// toss decides about a query that names no parent.
func (t *Tracing) toss() Sample { return Sample{On: t.ratio > 0 && rand.Float64() < t.ratio} }

// parentOf finds the traceparent of sqlcommenter in the comment that a query ends
// or begins with, and nowhere else: what stands in a literal is not the app's.
func parentOf(sql []byte) trace.SpanContext {
	comment := lastComment(sql)
	if comment == nil {
		comment = firstComment(sql)
	}
	if len(comment) == 0 {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{}
	for _, key := range []string{"traceparent", "tracestate"} {
		if v, ok := commentValue(comment, key); ok {
			carrier[key] = v
		}
	}
	if len(carrier) == 0 {
		return trace.SpanContext{}
	}
	return parentIn(carrier)
}

func parentIn(carrier propagation.MapCarrier) trace.SpanContext {
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

func lastComment(sql []byte) []byte {
	sql = bytes.TrimRight(sql, " \t\r\n;")
	if !bytes.HasSuffix(sql, []byte("*/")) {
		return nil
	}
	return sql[max(bytes.LastIndex(sql, []byte("/*")), 0):]
}

func firstComment(sql []byte) []byte {
	sql = bytes.TrimLeft(sql, " \t\r\n(")
	if !bytes.HasPrefix(sql, []byte("/*")) {
		return nil
	}
	return sql[:max(bytes.Index(sql, []byte("*/")), 0)]
}

// commentValue finds key='value', with the value as in a URL.
func commentValue(comment []byte, key string) (string, bool) {
	_, rest, ok := bytes.Cut(comment, []byte(key+"='"))
	if !ok {
		return "", false
	}
	text, _, ok := bytes.Cut(rest, []byte{'\''})
	if !ok {
		return "", false
	}
	v, err := url.PathUnescape(string(text))
	return v, err == nil
}

// operationOf gives the first word of a query, if it is one that queries begin
// with: names of spans must be few.
func operationOf(text string) string {
	text = strings.TrimLeft(text, " \t\r\n(")
	end := strings.IndexFunc(text, func(r rune) bool { return (r|0x20) < 'a' || (r|0x20) > 'z' })
	if end < 0 {
		end = len(text)
	}
	if end > len("materialize") {
		return ""
	}
	switch word := strings.ToUpper(text[:end]); word {
	case "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "COPY", "BEGIN", "COMMIT", "ROLLBACK", "START", "SAVEPOINT", "RELEASE", "SET", "SHOW", "CALL", "DO",
		"MERGE", "REPLACE", "VALUES", "TABLE", "EXPLAIN", "ANALYZE", "VACUUM", "TRUNCATE", "CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "LOCK", "LISTEN",
		"UNLISTEN", "NOTIFY", "DECLARE", "FETCH", "CLOSE", "MOVE", "PREPARE", "EXECUTE", "DEALLOCATE", "DISCARD", "USE", "LOAD", "OPTIMIZE", "REFRESH", "END":
		return word
	}
	return ""
}
