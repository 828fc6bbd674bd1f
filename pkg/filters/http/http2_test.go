package http_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestGRPC passes every kind of call on, with what comes before and after it.
func TestGRPC(t *testing.T) { overEngines(t, testGRPC) }

func testGRPC(t *testing.T, e engine) {
	cluster := clusterOf("c", grpctest.Serve(t))
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	h := e.proxy(t, routing(toCluster(t, "")), cluster)
	conn, err := grpc.NewClient("passthrough:///"+h.ln.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(8<<20)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	var header, trailer metadata.MD
	var order shop.Order
	err = conn.Invoke(metadata.AppendToOutgoingContext(ctx, "x-tenant", "a"), "/"+grpctest.Orders+"/Get", &shop.GetRequest{Name: "orders/large"}, &order, grpc.Trailer(&trailer))
	if err != nil || len(order.GetCustomerName()) != 3<<20 || strings.Join(trailer["x-cost"], "") != "5" {
		t.Errorf("unary: %v, %d bytes, trailers %v", err, len(order.GetCustomerName()), trailer)
	}
	err = conn.Invoke(metadata.AppendToOutgoingContext(ctx, "x-tenant", "a"), "/"+grpctest.Orders+"/Get", &shop.GetRequest{Name: "orders/1"}, &order, grpc.Header(&header))
	if err != nil || strings.Join(header["x-seen"], "") != "a" {
		t.Errorf("metadata: %v, %v", err, header)
	}
	err = conn.Invoke(ctx, "/"+grpctest.Orders+"/Get", &shop.GetRequest{Name: "orders/missing"}, &order)
	if s := status.Convert(err); s.Code() != codes.NotFound || s.Message() != "no order \"missing\": 100% gone, é" || len(s.Details()) != 2 {
		t.Errorf("an error: %v", err)
	}
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	chat, err := conn.NewStream(ctx, desc, "/"+grpctest.Orders+"/Chat")
	if err != nil {
		t.Fatal(err)
	}
	for i := range int64(100) { // one waits for the other
		if err := chat.SendMsg(&shop.Order{Serial: 2 * i}); err != nil {
			t.Fatal(err)
		}
		if err := chat.RecvMsg(&order); err != nil || order.GetSerial() != 2*i+1 {
			t.Fatalf("turn %d: %v, %v", i, &order, err)
		}
	}
	if err := chat.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := chat.RecvMsg(&order); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}

	watch, err := conn.NewStream(ctx, desc, "/"+grpctest.Orders+"/Watch")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(watch.SendMsg(&shop.ListRequest{PageSize: 500, PageToken: "lost"}), watch.CloseSend()); err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if err := watch.RecvMsg(&order); err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if err := watch.RecvMsg(&order); status.Code(err) != codes.DataLoss || strings.Join(watch.Trailer()["x-cost"], "") != "7" {
		t.Errorf("at the end: %v, trailers %v", err, watch.Trailer())
	}
}

// TestGRPCCancel has the app hear that a client has given its call up.
func TestGRPCCancel(t *testing.T) { overEngines(t, testGRPCCancel) }

func testGRPCCancel(t *testing.T, e engine) {
	ended := make(chan error, 1)
	addr := grpctest.Serve(t, func(s *grpc.Server) {
		s.RegisterService(&grpc.ServiceDesc{ServiceName: "test.Held", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
			StreamName: "Held", ServerStreams: true, ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
				_ = s.SendMsg(&shop.Order{})
				<-s.Context().Done()
				ended <- s.Context().Err()
				return nil
			},
		}}}, nil)
	})
	cluster := clusterOf("c", addr)
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	h := e.proxy(t, routing(toCluster(t, "")), cluster)
	conn, err := grpc.NewClient("passthrough:///"+h.ln.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Held/Held")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(&shop.Order{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the app's call has ended with %v", err)
	}
}

// clear2 is a client of HTTP/2 without TLS, that counts its connections.
func clear2(t *testing.T) (c *http.Client, dials *int) {
	t.Helper()
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	dials = new(int)
	tr := &http.Transport{Protocols: &p, ExpectContinueTimeout: time.Hour, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		*dials++
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}, dials
}

func askBy(t *testing.T, c *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// TestHTTP2Successor has a connection outlive its configuration, and end in good
// order where the next one has other limits.
func TestHTTP2Successor(t *testing.T) {
	t.Parallel()
	h := newHost(t, manager(text("first")), nil)
	c, dials := clear2(t)
	replace := func(conf *resource.HTTPManager) {
		t.Helper()
		before := h.swap(conf)
		done := make(chan struct{})
		before.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Minute, Done: func() { close(done) }})
		<-done
	}
	if got := askBy(t, c, h.url("/")); got != "first" {
		t.Errorf("answer %q", got)
	}
	replace(manager(text("second")))
	if got := askBy(t, c, h.url("/")); got != "second" || *dials != 1 {
		t.Errorf("answer %q after %d dials, want that of the successor on the same connection", got, *dials)
	}
	limited := manager(text("third"))
	limited.HTTP2.MaxStreams = 7
	replace(limited)
	if got := askBy(t, c, h.url("/")); got != "third" || *dials != 2 {
		t.Errorf("answer %q after %d dials, want that of the successor on another connection", got, *dials)
	}
}

// TestHTTP2Continue has a client send its body when it is wanted.
func TestHTTP2Continue(t *testing.T) { overEngines(t, testHTTP2Continue) }

func testHTTP2Continue(t *testing.T, e engine) {
	h := e.before(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, string(body), err)
	})
	c, _ := clear2(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url("/"), strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Expect", "100-continue")
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "body<nil>" {
		t.Errorf("%q, %v", body, err)
	}
}

// TestNoProtocol: where either version is spoken, what is neither gets no answer,
// which could be meant for the wrong one.
func TestNoProtocol(t *testing.T) { overEngines(t, testNoProtocol) }

func testNoProtocol(t *testing.T, e engine) {
	h := e.before(t, func(http.ResponseWriter, *http.Request) {})
	for _, text := range []string{"INVALID CONNECTION PREFACE\r\n\r\n", "PRI * HTTX/2.0\r\n\r\nSM\r\n\r\n", "hello\r\n\r\n"} {
		c := h.dial()
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(c); len(got) > 0 || err != nil {
			t.Errorf("%q: answer %q, %v", text, got, err)
		}
	}
}
