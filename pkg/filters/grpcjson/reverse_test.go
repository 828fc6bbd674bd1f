package grpcjson_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// toJSON is our filter for an app with JSON.
func toJSON(more string) string {
	rule := func(method, body string) string {
		return `{"selector": "` + grpctest.Orders + "." + method + `", "method": "POST", "path": "/` + method + `", "body": "` + body + `"}`
	}
	return `{"@type": "type.googleapis.com/dragoman.filters.http.grpcjson.v1.GrpcJson", "direction": "TO_JSON", "health": true, "reflection": true,
	  "services": ["` + grpctest.Orders + `"], "descriptors": {"inline": "` + set() + `"}, "rules": [` + rule("Echo", "*") + `]` + more + `}`
}

// app is one that knows nothing of gRPC.
func app(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("X-Seen", r.Header.Get("X-Tenant"))
		name := strings.TrimPrefix(r.URL.Path, "/v1/orders/")
		switch {
		case r.URL.Path == "/Echo":
			_, _ = w.Write(body)
		case name == "problem":
			h.Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"title": "Conflict", "status": 409, "detail": "100% taken, é"}`)
		case name == "status":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"code": 9, "message": "not now", "details": [{"@type": "type.googleapis.com/dragoman.test.shop.Item", "sku": "s"}]}`)
		case name == "google":
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error": {"code": 404, "message": "gone", "status": "OUT_OF_RANGE"}}`)
		case name == "oauth":
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error": "invalid_token", "error_description": "expired"}`)
		case name == "text":
			h.Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, "slow down\n")
		case name == "page":
			h.Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
			fmt.Fprint(w, "<html>")
		case name == "wrong":
			fmt.Fprint(w, `{"items": [{"count": "x"}]}`)
		case name == "large":
			fmt.Fprint(w, `{"name": "`+strings.Repeat("x", 5000)+`"}`)
		case name == "packed":
			h.Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed([]byte(`{"name": "` + strings.Repeat("x", 5000) + `"}`)))
		case name == "cut":
			h.Set("Content-Length", "100")
			fmt.Fprint(w, `{"name": `)
		case name == "slow":
			<-r.Context().Done()
		case name == "gone":
			panic(http.ErrAbortHandler)
		case r.URL.Path == "/v1/orders:import":
			fmt.Fprintf(w, `{"nextPageToken": %q}`, r.Header.Get("Content-Type")+" "+string(body))
		case r.URL.Path == "/v1/orders:watch":
			watchApp(w, r)
		case r.Method == http.MethodDelete:
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprintf(w, `{"name": %q, "customerName": %q, "unknown": 1}`, r.Method+" "+r.RequestURI, string(body))
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// watchApp streams in the way that the query names.
func watchApp(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	switch r.URL.Query().Get("pageToken") {
	case "lines":
		h.Set("Content-Type", "application/x-ndjson")
		fmt.Fprint(w, `{"name": "a"}`+"\n")
		w.(http.Flusher).Flush()
		fmt.Fprint(w, `{"name": "b"}`+"\n")
	case "array":
		fmt.Fprint(w, `[{"name": "a"}, {"name": "b"}]`)
	case "events":
		h.Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": comment\r\nevent: order\r\ndata: {\"name\":\r\ndata: \"a\"}\r\n\r\ndata: {\"name\": \"b\"}\n\ndata: {\"name\": \"not whole\"}\n")
	case "failing":
		h.Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: {\"name\": \"a\"}\n\nevent: error\ndata: {\"code\": 8, \"message\": \"enough\"}\n\n")
	case "wrong":
		fmt.Fprint(w, `[{"name": "a"}, {"name": 5}]`)
	case "cut":
		fmt.Fprint(w, `[{"name": "a"}, {"name": `)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	case "refused":
		w.WriteHeader(http.StatusForbidden)
	case "slow":
		<-r.Context().Done()
	case "gone":
		panic(http.ErrAbortHandler)
	}
}

// dialProxy gives a client of the proxy.
func dialProxy(t *testing.T, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func startReverse(t *testing.T, more string) *grpc.ClientConn {
	t.Helper()
	conf, err := parse(t, toJSON(more), "")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := proxy(t, conf, cluster(app(t), resource.UpstreamHTTP1))
	return dialProxy(t, addr)
}

func call(t *testing.T, c *grpc.ClientConn, method string, in, out proto.Message, o ...grpc.CallOption) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return c.Invoke(ctx, "/"+grpctest.Orders+"/"+method, in, out, o...)
}

// TestReverseUnary has calls become requests by the rules.
func TestReverseUnary(t *testing.T) {
	t.Parallel()
	c := startReverse(t, `, "ignore_unknown_fields": true`)
	since := &timestamppb.Timestamp{Seconds: 1700000000}
	for _, test := range []struct {
		method     string
		in         proto.Message
		name, body string
	}{
		{"Get", &shop.GetRequest{Name: "orders/5 6", State: shop.State_PAID, Filter: &shop.Filter{Tags: []string{"a", "b&c"}, Since: since}}, "GET /v1/orders/5%206?filter.since=2023-11-14T22%3A13%3A20Z&filter.tags=a&filter.tags=b%26c&state=PAID", ""},
		{"Get", &shop.GetRequest{Name: "x", State: shop.State_PAID}, "FETCH /v1/fetch/PAID/x", ""},
		{"Create", &shop.CreateRequest{Shelf: "shelves/1", Order: &shop.Order{Name: "n", Serial: 5}, DryRun: true}, "POST /v1/shelves/1/orders?dryRun=true", `{"name":"n","serial":"5"}`},
		{"Create", &shop.CreateRequest{Shelf: "s", Order: &shop.Order{Name: "n"}}, "POST /v1/orders:create", `{"shelf":"s","order":{"name":"n"}}`},
		{"Update", &shop.Order{Name: "orders/5", Total: 1.5}, "PATCH /v1/orders/5", `{"total":1.5}`},
	} {
		var header metadata.MD
		out := &shop.Order{}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-tenant", "acme")
		err := c.Invoke(ctx, "/"+grpctest.Orders+"/"+test.method, test.in, out, grpc.Header(&header), grpc.UseCompressor(gzip.Name))
		if test.name[:5] == "FETCH" { // of which labels are the answer
			if status.Code(err) != codes.Internal {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		if err != nil || out.GetName() != test.name || out.GetCustomerName() != test.body {
			t.Errorf("%s: %v, %v\nwant %s %s", test.method, out, err, test.name, test.body)
		}
		if !slices.Equal(header.Get("x-seen"), []string{"acme"}) {
			t.Errorf("%s: %v", test.method, header)
		}
	}
	if err := call(t, c, "Delete", &shop.GetRequest{Name: "orders/5"}, &emptypb.Empty{}); err != nil {
		t.Errorf("an answer without content: %v", err)
	}
	in := &shop.Everything{AInt64: 1 << 60, ABytes: []byte{1, 2}, Choice: &shop.Everything_OneInt{OneInt: 0}, ByInt: map[int32]string{1: "x"}}
	out := &shop.Everything{}
	if err := call(t, c, "Echo", in, out); err != nil || !cmp.Equal(in, out, protocmp.Transform()) {
		t.Errorf("%v\n%s", err, cmp.Diff(in, out, protocmp.Transform()))
	}
}

// TestReverseErrors has errors of the app become a status.
func TestReverseErrors(t *testing.T) {
	t.Parallel()
	c := startReverse(t, `, "max_response_bytes": 4096, "max_request_bytes": 65536`)
	for name, want := range map[string]string{
		"problem": "Aborted 100% taken, é", "status": "FailedPrecondition not now", "google": "OutOfRange gone", "oauth": "Unauthenticated expired",
		"text": "ResourceExhausted slow down", "page": "Unavailable Bad Gateway", "wrong": `Internal the app's answer: body: items[0].count: is not a whole number`,
		"large": "ResourceExhausted the app's answer is larger than 4096 bytes", "cut": "Unavailable the app's answer is not whole",
		"packed": "ResourceExhausted the app's answer: a message is larger than is allowed: more than 4096 bytes",
	} {
		s := status.Convert(call(t, c, "Get", &shop.GetRequest{Name: "orders/" + name}, &shop.Order{}))
		if got := s.Code().String() + " " + s.Message(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if name == "status" && (len(s.Details()) != 1 || !cmp.Equal(s.Details()[0], &shop.Item{Sku: "s"}, protocmp.Transform())) {
			t.Errorf("%s: details %v", name, s.Details())
		}
	}
	if err := c.Invoke(t.Context(), "/"+grpctest.Orders+"/Nothing", &shop.Order{}, &shop.ListResponse{}); status.Code(err) != codes.Unimplemented {
		t.Errorf("a method that is not there: %v", err)
	}
	if err := call(t, c, "Update", &shop.Order{Name: "orders/1", CustomerName: strings.Repeat("x", 100000)}, &shop.Order{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a large message: %v", err)
	}
	if err := call(t, c, "Delete", &shop.GetRequest{Name: "orders/.."}, &emptypb.Empty{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a name that leads away: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Invoke(ctx, "/"+grpctest.Orders+"/Get", &shop.GetRequest{Name: "orders/slow"}, &shop.Order{}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a slow app: %v", err)
	}
}

// TestReverseWithoutAnswer: what the proxy itself says to a call, since no app has answered, is no empty message.
func TestReverseWithoutAnswer(t *testing.T) {
	t.Parallel()
	for name, timeout := range map[string]string{"gone": "60s", "slow": "0.05s"} {
		conf, err := parse(t, toJSON(""), `{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "`+timeout+`"}}`)
		if err != nil {
			t.Fatal(err)
		}
		addr, _ := proxy(t, conf, cluster(app(t), resource.UpstreamHTTP1))
		c, want := dialProxy(t, addr), map[string]codes.Code{"gone": codes.Unavailable, "slow": codes.DeadlineExceeded}[name]
		if err := call(t, c, "Get", &shop.GetRequest{Name: "orders/" + name}, &shop.Order{}); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
		s, err := c.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, "/"+grpctest.Orders+"/Watch")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.SendMsg(&shop.ListRequest{PageToken: name}), s.CloseSend()); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(&shop.Order{}); status.Code(err) != want {
			t.Errorf("%s, a stream: %v, want %v", name, err, want)
		}
	}
}

// TestReverseStream has an app's streams become messages.
func TestReverseStream(t *testing.T) {
	t.Parallel()
	c := startReverse(t, "")
	for token, want := range map[string]string{
		"lines": "a b OK ", "array": "a b OK ", "events": "a b OK ", "failing": "a ResourceExhausted enough", "refused": "PermissionDenied Forbidden",
		"wrong": "a Internal the app's answer: body: name: '5' where a string is expected", "cut": "a Unavailable the app's answer is not whole",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/"+grpctest.Orders+"/Watch")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.SendMsg(&shop.ListRequest{PageToken: token}), s.CloseSend()); err != nil {
			t.Fatal(err)
		}
		got := ""
		for {
			m := &shop.Order{}
			err := s.RecvMsg(m)
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if err != nil || m.GetName() == "" {
				got += status.Code(err).String() + " " + status.Convert(err).Message()
				break
			}
			got += m.GetName() + " "
		}
		if got != want {
			t.Errorf("%s: %s, want %s", token, got, want)
		}
	}
}

// TestReverseRaw passes what is no JSON.
func TestReverseRaw(t *testing.T) {
	t.Parallel()
	filter := strings.ReplaceAll(toJSON(""), `"services": ["`+grpctest.Orders+`"]`, `"services": ["`+grpctest.Files+`", "`+grpctest.Orders+`"]`)
	conf, err := parse(t, filter, "")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "image/png")
		fmt.Fprintf(w, "%s %s", r.Header.Get("Content-Type"), body)
	}))
	t.Cleanup(s.Close)
	addr, _ := proxy(t, conf, cluster(s.Listener.Addr().String(), resource.UpstreamHTTP1))
	out := &httpbody.HttpBody{}
	in := &httpbody.HttpBody{ContentType: "text/x", Data: []byte("a\x00b")}
	if err := dialProxy(t, addr).Invoke(t.Context(), "/"+grpctest.Files+"/Convert", in, out); err != nil || out.GetContentType() != "image/png" || string(out.GetData()) != "text/x a\x00b" {
		t.Errorf("%v, %v", out, err)
	}
}

// TestOwn: health and reflection are answered without the app.
func TestOwn(t *testing.T) {
	t.Parallel()
	c := startReverse(t, "")
	health := grpc_health_v1.NewHealthClient(c)
	for service, want := range map[string]codes.Code{"": codes.OK, grpctest.Orders: codes.OK, "none": codes.NotFound} {
		out, err := health.Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service})
		if status.Code(err) != want || err == nil && out.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			t.Errorf("%q: %v, %v", service, out, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch, err := health.Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := watch.Recv(); err != nil || out.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		t.Errorf("%v, %v", out, err)
	}
	cancel()
	stream, err := reflectionpb.NewServerReflectionClient(c).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(q *reflectionpb.ServerReflectionRequest) *reflectionpb.ServerReflectionResponse {
		if err := stream.Send(q); err != nil {
			t.Fatal(err)
		}
		out, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	list := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}})
	if s := list.GetListServicesResponse().GetService(); len(s) != 1 || s[0].GetName() != grpctest.Orders {
		t.Errorf("%v", list)
	}
	files := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: grpctest.Orders}})
	if n := len(files.GetFileDescriptorResponse().GetFileDescriptorProto()); n < 5 {
		t.Errorf("%d files", n)
	}
	none := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: "none.proto"}})
	if codes.Code(none.GetErrorResponse().GetErrorCode()) != codes.NotFound {
		t.Errorf("%v", none)
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}
