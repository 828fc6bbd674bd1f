package server_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// TestTenThousandStreams has one client open far more streams than it may, and
// another one that is served meanwhile.
func TestTenThousandStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{
		Streams: 1000, Pending: 100, StreamsPerIdentity: 50, StreamsPerConnection: 1 << 20, Connects: 1 << 20, Burst: 1 << 20,
	})
	w.people.give(w.grant("eds/a"))
	w.publish("eds/a=1")
	greedy := w.dial()
	ctx, cancel := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "identity", "greedy"))
	defer cancel()
	var all sync.WaitGroup
	var mu sync.Mutex
	ends := map[codes.Code]int{}
	for range 8 {
		all.Go(func() {
			for range 1250 {
				stream, err := greedy.DeltaAggregatedResources(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				_ = stream.Send(hello("a"))
				_, err = stream.Recv()
				mu.Lock()
				ends[status.Code(err)]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if ends[codes.OK] != 50 || ends[codes.ResourceExhausted] != 9950 {
		t.Errorf("streams ended as %v, want 50 that were served and 9950 ResourceExhausted", ends)
	}
	modest := openDelta(t, w.dial(), "modest")
	_ = modest.Send(hello("a"))
	if _, err := modest.Recv(); err != nil {
		t.Errorf("another client is not served: %v", err)
	}
	if got := w.metric("refused_total", "identity_streams"); got != 9950 {
		t.Errorf("refused_total{identity_streams} = %v, want 9950", got)
	}
	if got := w.metric("connected_streams", "delta"); got != 51 {
		t.Errorf("connected_streams = %v, want 51", got)
	}
	cancel()
	eventually(t, "the greedy streams are gone", func() bool { return w.people.count() == 1 })
}

func TestAFloodOfConnectsIsToldWhenToComeBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{Connects: 0.001, Burst: 3, RetryWithin: time.Minute})
	client := w.dial()
	var delays []time.Duration
	for i := range 10 {
		stream := openDelta(t, client, "me")
		_ = stream.Send(hello("a"))
		_, err := stream.Recv()
		if i < 3 {
			if err != nil {
				t.Fatalf("stream %d: %v", i, err)
			}
			continue
		}
		st := status.Convert(err)
		if st.Code() != codes.ResourceExhausted || len(st.Details()) != 1 {
			t.Fatalf("stream %d: %v, want ResourceExhausted with RetryInfo", i, err)
		}
		info, ok := st.Details()[0].(*errdetails.RetryInfo)
		if !ok {
			t.Fatalf("detail %T", st.Details()[0])
		}
		delays = append(delays, info.GetRetryDelay().AsDuration())
	}
	spread := map[time.Duration]bool{}
	for _, d := range delays {
		if d < time.Second || d > time.Minute+time.Second {
			t.Errorf("retry in %s, want 1s to 61s", d)
		}
		spread[d] = true
	}
	if len(spread) < 2 {
		t.Errorf("all are told to come back at once: %v", delays)
	}
}

func TestWhoSaysNothingIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{FirstRequest: 20 * time.Millisecond})
	if err := refusal(openDelta(t, w.dial(), "me"), nil); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("got %v, want DeadlineExceeded", err)
	}
	if got := w.metric("refused_total", "no_request"); got != 1 {
		t.Errorf("refused_total{no_request} = %v, want 1", got)
	}
}

func TestWhoIsNotAdmitted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		deny error
		want codes.Code
		text string
	}{
		{"a status goes to the client", status.Error(codes.Unauthenticated, "the token has expired"), codes.Unauthenticated, "the token has expired"},
		{"another error does not", errors.New("secret detail"), codes.Unavailable, "the node could not be admitted now"},
	}
	for _, tt := range tests {
		for _, protocol := range []string{"delta", "sotw"} {
			t.Run(tt.name+", "+protocol, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, server.Limits{})
				w.people.deny = tt.deny
				var err error
				if protocol == "delta" {
					err = refusal(openDelta(t, w.dial(), "me"), hello("a"))
				} else {
					c := newSotwClient(w)
					_ = c.say("eds", []string{"a"})
					_, err = c.hear()
				}
				if st := status.Convert(err); st.Code() != tt.want || st.Message() != tt.text {
					t.Errorf("got %v, want %v: %s", err, tt.want, tt.text)
				}
				eventually(t, "it is counted", func() bool { return w.metric("refused_total", "denied") == 1 })
				if got := w.metric("connected_streams"); got != 0 {
					t.Errorf("connected_streams = %v, want 0", got)
				}
			})
		}
	}
}

// TestAChattyStreamWaits sends many requests that answer nothing: they are all
// heard, at the pace that is allowed, and other streams are not slowed down.
func TestAChattyStreamWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{Requests: 100, RequestBurst: 10})
	stream := openDelta(t, w.dial(), "me")
	began := time.Now()
	for i := range 40 {
		_ = stream.Send(hello(fmt.Sprint("x", i)))
	}
	subscribed := func() bool {
		for _, st := range w.server.Status() {
			for _, t := range st.Types {
				return t.Subscribed == 40
			}
		}
		return false
	}
	eventually(t, "all is heard", subscribed)
	if took := time.Since(began); took < 250*time.Millisecond {
		t.Errorf("40 requests were heard within %s, want 0.3 s for the 30 beyond the burst", took)
	}
	if got := w.metric("refused_total", "request_rate"); got < 1 {
		t.Errorf("refused_total{request_rate} = %v, want some", got)
	}
}

// TestConnectionsAreBounded opens more connections than may be, and then gives one
// back.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{Connections: 2})
	var conns []net.Conn
	for range 2 {
		conn, err := net.Dial("tcp", w.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		f := raw(t, conn)
		if _, err := f.ReadFrame(); err != nil {
			t.Fatalf("a connection within the limit: %v", err)
		}
		conns = append(conns, conn)
	}
	third, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	_ = third.SetDeadline(time.Now().Add(patience))
	if _, err := third.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a connection beyond the limit: %v, want its end", err)
	}
	if got := w.metric("refused_total", "connections"); got != 1 {
		t.Errorf("refused_total{connections} = %v, want 1", got)
	}
	conns[0].Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	soon := grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: time.Millisecond, MaxDelay: time.Millisecond}})
	stream, err := w.dial(soon).DeltaAggregatedResources(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(hello("a"))
	eventually(t, "there is room again", func() bool { return w.people.count() == 1 })
}

// TestIdleConnectionsAreClosed has one that never opens a stream.
func TestIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{ConnectionIdle: 50 * time.Millisecond})
	conn, err := net.Dial("tcp", w.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	f := raw(t, conn)
	for err == nil {
		_, err = f.ReadFrame()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection is still open: %v", err)
	}
}
