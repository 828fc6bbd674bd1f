package traces_test

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/pkg/traces"
)

// sink is a collector that keeps the names of spans.
type sink struct {
	collector.UnimplementedTraceServiceServer
	names chan string
}

func (s *sink) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, rs := range r.GetResourceSpans() {
		service := ""
		for _, a := range rs.GetResource().GetAttributes() {
			if a.GetKey() == "service.name" {
				service = a.GetValue().GetStringValue()
			}
		}
		for _, ss := range rs.GetScopeSpans() {
			for _, span := range ss.GetSpans() {
				s.names <- service + ": " + span.GetName()
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func listen(t *testing.T) (*sink, string) {
	t.Helper()
	s := &sink{names: make(chan string, 10)}
	g := grpc.NewServer()
	collector.RegisterTraceServiceServer(g, s)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go g.Serve(ln)
	t.Cleanup(g.Stop)
	return s, "http://" + ln.Addr().String()
}

// TestSpansReachACollector: one that is named outright, and one that the
// environment names.
func TestSpansReachACollector(t *testing.T) {
	for _, byVariable := range []bool{false, true} {
		s, endpoint := listen(t)
		given := endpoint
		if byVariable {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
			given = ""
		}
		p, err := traces.Open(t.Context(), traces.Options{Service: "dragoman-test", Endpoint: given, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		_, span := p.Tracer("test").Start(t.Context(), "translate")
		span.End()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		select {
		case name := <-s.names:
			if name != "dragoman-test: translate" {
				t.Errorf("got %q", name)
			}
		case <-time.After(10 * time.Second):
			t.Error("no span arrives")
		}
	}
}

// TestEndpointWithoutScheme: what would silently send spans nowhere is refused.
func TestEndpointWithoutScheme(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []string{"collector", "collector:4317", "127.0.0.1:4317", "grpc://collector:4317", "http://"} {
		_, err := traces.Open(t.Context(), traces.Options{Endpoint: endpoint, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "http://collector:4317") {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// TestOff: without a collector nothing is recorded.
func TestOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	p, err := traces.Open(t.Context(), traces.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer("test").Start(t.Context(), "translate")
	if span.IsRecording() || p.On() {
		t.Error("a span is recorded")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}
