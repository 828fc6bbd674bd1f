package server_test

import (
	"context"
	"runtime"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestShutdownHandsNodesOver checks that streams are told to go one after the
// other, that nobody is let in any more, and that a gRPC server then stops by
// itself.
func TestShutdownHandsNodesOver(t *testing.T) {
	t.Parallel()
	const span = 5 * time.Second // much longer than a machine stands still
	w := newWorld(t, server.Limits{Drain: span, StreamsPerIdentity: 100})
	client := w.dial()
	ends := make(chan error, 40)
	for range 20 {
		stream := openDelta(t, client, "me")
		_ = stream.Send(hello("a"))
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		go func() { ends <- refusal(stream, nil) }()
	}
	for range 20 {
		c := newSotwClient(w)
		_ = c.say("eds", []string{"a"})
		go func() {
			_, err := c.hear()
			ends <- err
		}()
	}
	eventually(t, "all are connected", func() bool { return w.people.count() == 40 })

	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stopped := make(chan struct{})
	shut := make(chan error, 1)
	go func() { shut <- w.server.Shutdown(ctx) }()
	var first, last time.Duration
	for range 40 {
		err := next(t, "a farewell", ends)
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "connect again") {
			t.Errorf("a stream ended with %v, want Unavailable", err)
		}
		last = time.Since(began)
		if first == 0 {
			first = last
		}
	}
	if last-first < span/4 {
		t.Errorf("all were told within %s, want them spread over %s", last-first, span)
	}
	if err := next(t, "Shutdown's end", shut); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if w.people.count() != 0 {
		t.Errorf("%d nodes are left", w.people.count())
	}
	if err := refusal(openDelta(t, client, "me"), hello("a")); status.Code(err) != codes.Unavailable {
		t.Errorf("a new stream got %v, want Unavailable", err)
	}
	go func() {
		w.grpc.GracefulStop()
		close(stopped)
	}()
	next(t, "GracefulStop's end", stopped)
}

// TestShutdownInAHurry ends at once when its context does.
func TestShutdownInAHurry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{Drain: time.Hour})
	stream := openDelta(t, w.dial(), "me")
	_ = stream.Send(hello("a"))
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.server.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if err := refusal(stream, nil); status.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

// plainStream is a gRPC stream without what is not documented of it.
type plainStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s plainStream) Context() context.Context { return s.ctx }

type plainTransport struct{ grpc.ServerTransportStream }

// withoutStatus hides from the server how gRPC's own streams can be ended.
func withoutStatus(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := stream.Context()
	return handler(srv, plainStream{stream, grpc.NewContextWithServerTransportStream(ctx, plainTransport{grpc.ServerTransportStreamFromContext(ctx)})})
}

// TestANodeIsSentAway closes one stream with a reason of the caller's.
func TestANodeIsSentAway(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]grpc.ServerOption{
		"the way of gRPC's streams": nil,
		"the documented way":        {grpc.StreamInterceptor(withoutStatus)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, server.Limits{}, options...)
			stream := openDelta(t, w.dial(), "me")
			_ = stream.Send(hello("a"))
			node := next(t, "the node's arrival", w.people.arrived)
			node.Close(status.Error(codes.Unauthenticated, "the token has expired"))
			node.Close(status.Error(codes.Unavailable, "too late"))
			if err := refusal(stream, nil); status.Code(err) != codes.Unauthenticated || status.Convert(err).Message() != "the token has expired" {
				t.Errorf("got %v, want Unauthenticated: the token has expired", err)
			}
			eventually(t, "it is gone", func() bool { return w.people.count() == 0 })
			node.SetGrant(w.grant("eds/a")) // it must not matter
		})
	}
}

// TestReconnectsLeakNothing has clients come and go a thousand times, in every
// way: hanging up in the middle of a response, asking for what does not exist,
// never reading.
func TestReconnectsLeakNothing(t *testing.T) {
	w := newWorld(t, server.Limits{Burst: 1 << 20})
	g := w.grant("cds/a", "eds/a", "eds/b", "lds/l")
	w.people.give(g)
	w.publish("cds/a=1", "eds/a="+strings.Repeat("x", 100<<10), "lds/l=1")
	cycle := func(n int) {
		conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := discoveryv3.NewAggregatedDiscoveryServiceClient(conn)
		if n%3 == 0 {
			stream, err := client.StreamAggregatedResources(ctx)
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(&discoveryv3.DiscoveryRequest{TypeUrl: server.ClusterType})
			_, _ = stream.Recv()
			return
		}
		stream, err := client.DeltaAggregatedResources(ctx)
		if err != nil {
			t.Fatal(err)
		}
		_ = stream.Send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: server.ListenerType})
		_ = stream.Send(hello("a", "b", "nobody"))
		if n%2 == 0 {
			_, _ = stream.Recv()
		}
	}
	for n := range 50 {
		cycle(n)
	}
	eventually(t, "the first have gone", func() bool { return w.people.count() == 0 })
	goroutines, before := runtime.NumGoroutine(), heap()
	for n := range 1000 {
		cycle(n)
		if n%100 == 0 {
			w.publish("eds/a=" + strings.Repeat("x", 100<<10) + string(rune('a'+n/100)))
		}
	}
	eventually(t, "all have gone", func() bool { return w.people.count() == 0 && runtime.NumGoroutine() <= goroutines+5 })
	for len(w.people.arrived) > 0 {
		<-w.people.arrived // the test's own hold on the nodes
	}
	eventually(t, "memory is given back", func() bool { return heap()-before < 4<<20 })
	if got := w.metric("connected_streams"); got != 0 {
		t.Errorf("connected_streams = %v, want 0", got)
	}
	if c := w.server.Coverage(server.Key{TypeURL: server.EndpointType, ID: "a"}); c.Subscribers != 0 {
		t.Errorf("%d subscribers are left", c.Subscribers)
	}
}
