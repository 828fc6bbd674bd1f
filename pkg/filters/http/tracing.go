package http

import (
	"cmp"
	"context"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// tracing makes spans of the requests at one listener: one for the request, and
// one for each try at an endpoint, which the endpoint gets as its parent (W3C
// Trace Context). It is read-only; nil makes none.
type tracing struct {
	tracer trace.Tracer
	conf   *resource.HTTPTracing
	common []attribute.KeyValue
}

// newTracing returns nil where no spans are asked for, or nobody collects them.
func newTracing(conf *resource.HTTPTracing, ctx *filters.Context) *tracing {
	if conf == nil {
		return nil
	}
	if ctx.Tracer == nil {
		ctx.Log.Warn("tracing is set, but no collector of spans is named: set --otlp-endpoint or OTEL_EXPORTER_OTLP_ENDPOINT", slog.String("listener", ctx.Listener))
		return nil
	}
	t := &tracing{tracer: ctx.Tracer, conf: conf, common: []attribute.KeyValue{attribute.String("dragoman.listener", ctx.Listener)}}
	if ctx.Environment != "" {
		t.common = append(t.common, semconv.DeploymentEnvironmentName(ctx.Environment))
	}
	return t
}

// spans are those of one request.
type spans struct {
	tracing *tracing
	ctx     context.Context //nolint:containedctx // what a span's children are made with
	request trace.Span      // nil: of a branch, whose request has one
	try     trace.Span      // nil: none is under way
}

// begin starts the span of a request; nil: it gets none. A request whose parent
// says whether it is sampled is as its parent.
func (t *tracing) begin(x *exchange, r *http.Request) *spans {
	if t == nil {
		return nil
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), headerCarrier(r.Header))
	switch parent := trace.SpanContextFromContext(ctx); {
	case parent.IsValid() && !parent.IsSampled(), !parent.IsValid() && rand.Float64() >= t.conf.Sampling: // sampling, not a secret
		return nil
	}
	s := &spans{tracing: t}
	attributes := append([]attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(r.Method), semconv.URLScheme(x.request.Scheme), semconv.URLPath(clipped(x.request.Path, t.conf.MaxPath)),
		semconv.NetworkProtocolVersion(protocolVersion(r.ProtoMajor, r.ProtoMinor)), semconv.ClientAddress(x.client), semconv.ServerAddress(r.Host),
	}, t.common...)
	for i := range t.conf.Tags {
		if tag := &t.conf.Tags[i]; tag.Header == "" {
			attributes = append(attributes, attribute.String(tag.Name, tag.Value))
		} else if v := r.Header.Get(tag.Header); v != "" || tag.Value != "" {
			attributes = append(attributes, attribute.String(tag.Name, cmp.Or(v, tag.Value)))
		}
	}
	s.ctx, s.request = t.tracer.Start(ctx, r.Method, trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.start), trace.WithAttributes(attributes...))
	return s
}

func clipped(path string, limit int) string {
	if limit > 0 && len(path) > limit {
		return path[:limit]
	}
	return path
}

func protocolVersion(major, minor int) string {
	if major == 1 {
		return "1." + strconv.Itoa(minor)
	}
	return strconv.Itoa(major)
}

// branch gives the spans of a branch's tries.
func (s *spans) branch() *spans {
	if s == nil {
		return nil
	}
	return &spans{tracing: s.tracing, ctx: s.ctx}
}

// tryBegins starts the span of a try, and makes it the parent of what the
// endpoint does.
func (s *spans) tryBegins(x *exchange, h http.Header, ep *filters.Endpoint, attempt int) {
	if s == nil {
		return
	}
	s.tryEnds(x, nil, context.Canceled) // of a connection that was lost
	attributes := []attribute.KeyValue{
		semconv.HTTPRequestMethodKey.String(x.request.Method), semconv.ServerAddress(cmp.Or(ep.Hostname, ep.Address)), semconv.NetworkPeerAddress(ep.Address),
		attribute.String("dragoman.cluster", x.upstream.cluster),
	}
	if attempt > 1 {
		attributes = append(attributes, semconv.HTTPRequestResendCount(attempt-1))
	}
	ctx, span := s.tracing.tracer.Start(s.ctx, x.request.Method, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(append(attributes, s.tracing.common...)...))
	s.try = span
	propagation.TraceContext{}.Inject(ctx, headerCarrier(h))
}

// tryEnds ends that of the try that is under way, if one is.
func (s *spans) tryEnds(x *exchange, resp *http.Response, err error) {
	if s == nil || s.try == nil {
		return
	}
	switch {
	case err != nil:
		s.try.SetStatus(codes.Error, err.Error())
	case resp != nil:
		s.try.SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode), semconv.NetworkProtocolVersion(cmp.Or(x.upstream.protocol, "1.1")))
		if resp.StatusCode >= http.StatusBadRequest {
			s.try.SetStatus(codes.Error, "")
		}
	}
	s.try.End()
	s.try = nil
}

// end ends the request's span.
func (s *spans) end(x *exchange) {
	if s == nil {
		return
	}
	s.tryEnds(x, nil, context.Canceled)
	if s.request == nil {
		return
	}
	if x.route != nil && x.route.Name != "" {
		s.request.SetName(x.request.Method + " " + x.route.Name)
		s.request.SetAttributes(semconv.HTTPRoute(x.route.Name))
	}
	s.request.SetAttributes(semconv.HTTPResponseStatusCode(x.writer.status), semconv.HTTPResponseBodySize(int(x.writer.sent)))
	if x.flag != "" {
		s.request.SetAttributes(attribute.String("dragoman.response_flags", x.flag), semconv.ErrorTypeKey.String(cmp.Or(x.detail, x.flag)))
	}
	if x.writer.status >= http.StatusInternalServerError || x.writer.status == 0 {
		s.request.SetStatus(codes.Error, x.detail)
	}
	s.request.End()
}

// headerCarrier is http.Header with names as they are in maps.
type headerCarrier http.Header

// Get implements propagation.TextMapCarrier.
func (c headerCarrier) Get(key string) string { return http.Header(c).Get(key) }

// Set implements propagation.TextMapCarrier.
func (c headerCarrier) Set(key, value string) { http.Header(c).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (c headerCarrier) Keys() []string { return nil }
