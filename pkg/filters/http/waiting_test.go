package http_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestWaitingClient: a client that sends the beginning of its body, and waits for an
// answer before it goes on, gets one, whatever a route says of retries.
func TestWaitingClient(t *testing.T) { overEngines(t, testWaitingClient) }

func testWaitingClient(t *testing.T, e engine) {
	for name, more := range map[string]string{
		"no retries": "", "retries": `, "retry_policy": {"retry_on": "5xx,refused-stream", "num_retries": 2}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := clusterOf("c", grpctest.Serve(t))
			cluster.HTTP.Protocol = resource.UpstreamHTTP2
			h := e.proxy(t, routing(toCluster(t, more)), cluster)
			conn, err := grpc.NewClient("passthrough:///"+h.ln.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			chat, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/"+grpctest.Orders+"/Chat")
			if err != nil {
				t.Fatal(err)
			}
			var order shop.Order
			for i := range int64(3) {
				if err := chat.SendMsg(&shop.Order{Serial: 2 * i}); err != nil {
					t.Fatal(err)
				}
				if err := chat.RecvMsg(&order); err != nil || order.GetSerial() != 2*i+1 {
					t.Fatalf("turn %d: %v, %v", i, &order, err)
				}
			}
		})
	}
}

// TestResetWhileClientWaits: that an endpoint ends a request is told to a client at
// once, who may send no more until it is answered.
func TestResetWhileClientWaits(t *testing.T) { overEngines(t, testResetWhileClientWaits) }

func testResetWhileClientWaits(t *testing.T, e engine) {
	for name, more := range map[string]string{
		"no retries": "", "retries": `, "retry_policy": {"retry_on": "reset", "num_retries": 1}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := clusterOf("c", wireApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
				_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
				f := http2.NewFramer(c, c)
				_ = f.WriteSettings()
				for {
					frame, err := f.ReadFrame()
					if err != nil {
						return
					}
					if d, ok := frame.(*http2.DataFrame); ok {
						_ = f.WriteRSTStream(d.StreamID, http2.ErrCodeInternal)
					}
				}
			}))
			cluster.HTTP.Protocol = resource.UpstreamHTTP2
			h := e.proxy(t, routing(toCluster(t, more)), cluster)
			body, rest := io.Pipe()
			defer rest.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url("/"), body)
			if err != nil {
				t.Fatal(err)
			}
			defer context.AfterFunc(ctx, func() { _ = rest.CloseWithError(io.ErrClosedPipe) })()
			go func() { _, _ = io.WriteString(rest, "the beginning") }()
			resp, err := nettest.Client.Transport.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Error(resp.Status)
			}
		})
	}
}
