package database

import (
	"context"
	"net"
	"slices"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// maxPending bounds what a session keeps for queries that are not answered. One
// that goes beyond gets no spans any more.
const maxPending = 4096

// Spans are those of the queries of one session, which its loop alone uses. A nil
// one makes none and decides nothing.
//
// Queries are told in the order in which they go to the server, and ends of units
// among them, after which the server says that it is ready for another: the
// server's answers come in the same order.
type Spans struct {
	t         *Tracing
	namespace string
	pending   []pendingSpan // oldest first
	skipping  bool          // the server ignores what is left of the unit
}

// pendingSpan is a query, or the end of a unit.
type pendingSpan struct {
	span  trace.Span // nil: it gets none
	code  string     // of the error that it has failed with
	cause string     // of the failure, where the server has not told
	whole bool       // only the end of the unit is its end
	isEnd bool
}

// Session returns the spans of a session in a database; nil for none.
func (t *Tracing) Session(namespace string) *Spans {
	if t == nil {
		return nil
	}
	return &Spans{t: t, namespace: namespace}
}

// Sample decides whether a query gets a span.
func (s *Spans) Sample(sql []byte) Sample {
	if s == nil || s.t == nil {
		return Sample{}
	}
	return s.t.sample(sql)
}

// Below decides it for a query that names its parent beside its text, by the headers
// of W3C Trace Context; not named if they are none.
func (s *Spans) Below(traceparent, tracestate string) (_ Sample, named bool) {
	if s == nil || s.t == nil {
		return Sample{}, false
	}
	p := parentIn(propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate})
	return Sample{On: p.IsSampled(), parent: p}, p.IsValid()
}

// Again decides it for a query that is not asked for the first time.
func (s *Spans) Again() Sample {
	if s == nil || s.t == nil {
		return Sample{}
	}
	return s.t.toss()
}

// Begin is a query that goes to the server. text has no literals; of a whole one
// the end of its unit is the end, otherwise [Spans.Completed] is.
func (s *Spans) Begin(sample Sample, text string, whole bool, at time.Time) {
	if s == nil || s.t == nil {
		return
	}
	p := pendingSpan{whole: whole}
	if sample.On {
		p.span = s.start(sample, text, at)
	}
	s.push(p)
}

func (s *Spans) start(sample Sample, text string, at time.Time) trace.Span {
	operation := operationOf(text)
	target, name := s.namespace, operation
	if target == "" {
		target = s.t.system
	}
	if name != "" {
		name += " "
	}
	attributes := append(slices.Clip(s.t.common), semconv.DBQueryText(text))
	if s.namespace != "" {
		attributes = append(attributes, semconv.DBNamespace(s.namespace))
	}
	if operation != "" {
		attributes = append(attributes, semconv.DBOperationName(operation))
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), sample.parent)
	_, span := s.t.tracer.Start(ctx, name+target, trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	return span
}

// EndOfUnit is a message to which the server will answer that it is ready.
func (s *Spans) EndOfUnit() {
	if s != nil && s.t != nil {
		s.push(pendingSpan{isEnd: true})
	}
}

func (s *Spans) push(p pendingSpan) {
	if len(s.pending) >= maxPending {
		*s = Spans{}
		return
	}
	s.pending = append(s.pending, p)
}

// Completed is the server's word that a query is done.
func (s *Spans) Completed(at time.Time, e *filters.Endpoint) {
	if s == nil || len(s.pending) == 0 || s.pending[0].whole || s.pending[0].isEnd {
		return
	}
	s.pending[0].end(at, e)
	s.pending = s.pending[1:]
}

// Failed is an error of the server, with its code. What is left of the unit is
// ignored by the server, and gets no spans.
func (s *Spans) Failed(code string, at time.Time, e *filters.Endpoint) {
	if s == nil || len(s.pending) == 0 || s.pending[0].isEnd {
		return
	}
	s.pending[0].code = code
	if !s.pending[0].whole {
		s.Completed(at, e)
		s.skipping = true
	}
}

// Ready is the server's answer to the end of a unit. last says that it owes no
// other.
func (s *Spans) Ready(last bool, at time.Time, e *filters.Endpoint) {
	if s == nil {
		return
	}
	for len(s.pending) > 0 {
		p := s.pending[0]
		s.pending = s.pending[1:]
		if !s.skipping {
			p.end(at, e)
		}
		if p.isEnd && !last {
			break
		}
	}
	s.skipping = false
	if len(s.pending) == 0 {
		s.pending = nil // a quiet session holds nothing
	}
}

// Abandon is the end of the session, whatever is under way.
func (s *Spans) Abandon(at time.Time, e *filters.Endpoint) {
	if s == nil || s.skipping {
		return
	}
	for _, p := range s.pending {
		p.cause = "session_ended"
		p.end(at, e)
	}
	s.pending = nil
}

func (p *pendingSpan) end(at time.Time, e *filters.Endpoint) {
	if p.span == nil {
		return
	}
	if e != nil {
		p.span.SetAttributes(endpointAttributes(e)...)
	}
	if p.code != "" {
		p.cause = p.code
		p.span.SetAttributes(semconv.DBResponseStatusCode(p.code))
	}
	if p.cause != "" {
		p.span.SetAttributes(semconv.ErrorTypeKey.String(p.cause))
		p.span.SetStatus(codes.Error, "")
	}
	p.span.End(trace.WithTimestamp(at))
}

func endpointAttributes(e *filters.Endpoint) []attribute.KeyValue {
	if e.Network == "unix" {
		return []attribute.KeyValue{semconv.ServerAddress(e.Address)}
	}
	address := e.Hostname
	if address == "" {
		address = e.Address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return []attribute.KeyValue{semconv.ServerAddress(address)}
	}
	out := []attribute.KeyValue{semconv.ServerAddress(host)}
	if n, err := strconv.Atoi(port); err == nil {
		out = append(out, semconv.ServerPort(n))
	}
	if peer, _, err := net.SplitHostPort(e.Address); err == nil {
		out = append(out, semconv.NetworkPeerAddress(peer))
	}
	return out
}
