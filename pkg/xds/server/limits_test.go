package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

type deltaStream = grpc.BidiStreamingClient[discoveryv3.DeltaDiscoveryRequest, discoveryv3.DeltaDiscoveryResponse]

func openDelta(t testing.TB, client discoveryv3.AggregatedDiscoveryServiceClient, identity string) deltaStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(metadata.AppendToOutgoingContext(t.Context(), "identity", identity), 2*patience)
	t.Cleanup(cancel)
	stream, err := client.DeltaAggregatedResources(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// hello is a first request.
func hello(names ...string) *discoveryv3.DeltaDiscoveryRequest {
	return &discoveryv3.DeltaDiscoveryRequest{Node: &corev3.Node{Id: "n1"}, TypeUrl: server.EndpointType, ResourceNamesSubscribe: names}
}

// refusal sends a request, and gives what the stream ends with.
func refusal(stream deltaStream, r *discoveryv3.DeltaDiscoveryRequest) error {
	if r != nil {
		_ = stream.Send(r) // the error is Recv's to tell
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

// metric is the value of a counter or a gauge.
func (w *world) metric(name string, labels ...string) float64 {
	w.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(w.server); err != nil {
		w.t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	var sum float64
	for _, f := range families {
		if f.GetName() != "dragoman_xds_server_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			var text []string
			for _, l := range m.GetLabel() {
				text = append(text, l.GetValue())
			}
			if len(labels) == 0 || strings.Join(text, ",") == strings.Join(labels, ",") {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

func TestRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	big, err := structpb.NewStruct(map[string]any{"x": strings.Repeat("x", 70<<10)})
	if err != nil {
		t.Fatal(err)
	}
	limits := server.Limits{Names: 10, NameBytes: 100, RequestBytes: 256 << 10, Types: 2}
	tests := []struct {
		name    string
		request *discoveryv3.DeltaDiscoveryRequest
		want    codes.Code
		reason  string
	}{
		{"no type", &discoveryv3.DeltaDiscoveryRequest{}, codes.InvalidArgument, "malformed"},
		{"a long type", &discoveryv3.DeltaDiscoveryRequest{TypeUrl: strings.Repeat("t", 300)}, codes.InvalidArgument, "malformed"},
		{"many names", hello("1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"), codes.ResourceExhausted, "names"},
		{"a long name", hello(strings.Repeat("n", 101)), codes.InvalidArgument, "names"},
		{"many bytes", hello(strings.Repeat("n", 300<<10)), codes.ResourceExhausted, "request_bytes"},
		{"a talkative node", &discoveryv3.DeltaDiscoveryRequest{TypeUrl: server.ClusterType, Node: &corev3.Node{Metadata: big}}, codes.InvalidArgument, "request_bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, limits)
			err := refusal(openDelta(t, w.dial(), "me"), tt.request)
			if status.Code(err) != tt.want {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if got := w.metric("refused_total", tt.reason); got != 1 {
				t.Errorf("refused_total{%s} = %v, want 1", tt.reason, got)
			}
		})
	}
}

// TestNamesOfAStreamAreBounded asks for a few names more with every request.
func TestNamesOfAStreamAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{Names: 10})
	stream := openDelta(t, w.dial(), "me")
	for i := range 10 {
		_ = stream.Send(hello(fmt.Sprint("x", i), fmt.Sprint("y", i)))
	}
	if err := refusal(stream, nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
}

func TestTypesOfAStreamAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{Types: 3})
	stream := openDelta(t, w.dial(), "me")
	for i := range 4 {
		_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: fmt.Sprint("type.googleapis.com/t", i), ResourceNamesSubscribe: []string{"a"}})
	}
	if err := refusal(stream, nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v, want ResourceExhausted", err)
	}
}

// TestAGigabyteIsNotRead announces a message of 1 GB and begins to send it.
func TestAGigabyteIsNotRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	before := heap()
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	f := raw(t, conn)
	openRaw(t, f, 1)
	header := []byte{0, 0x40, 0, 0, 0} // uncompressed, 1 GiB
	if err := f.WriteData(1, false, append(header, make([]byte, 10<<10)...)); err != nil {
		t.Fatal(err)
	}
	if got := rawStatus(t, f, 1); got != "8" { // ResourceExhausted
		t.Errorf("grpc-status %q, want 8", got)
	}
	if grown := heap() - before; grown > 64<<20 {
		t.Errorf("the heap has grown by %d MiB", grown>>20)
	}
	if got := w.metric("refused_total", "request_bytes"); got != 1 {
		t.Errorf("refused_total{request_bytes} = %v, want 1", got)
	}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// raw begins an HTTP/2 connection.
func raw(t *testing.T, conn net.Conn) *http2.Framer {
	t.Helper()
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	f := http2.NewFramer(conn, conn)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

func openRaw(t *testing.T, f *http2.Framer, id uint32) {
	t.Helper()
	var block strings.Builder
	e := hpack.NewEncoder(&block)
	for _, h := range []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "x"},
		{Name: ":path", Value: discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResources_FullMethodName},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
	} {
		if err := e.WriteField(h); err != nil {
			t.Fatal(err)
		}
	}
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(block.String()), EndHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
}

// rawStatus reads until a stream's trailers.
func rawStatus(t *testing.T, f *http2.Framer, id uint32) string {
	t.Helper()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := frame.(*http2.MetaHeadersFrame); ok && h.StreamID == id {
			for _, field := range h.Fields {
				if field.Name == "grpc-status" {
					return field.Value
				}
			}
		}
	}
}
