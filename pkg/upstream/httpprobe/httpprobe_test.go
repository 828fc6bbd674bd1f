package httpprobe_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/dragoman-mesh/dragoman/pkg/upstream/httpprobe"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func target(addr string, cfg *tls.Config) probe.Target {
	return probe.Target{Network: "tcp", Address: addr, TLS: cfg}
}

// want asks, and checks what is said; "" means that all is well.
func want(t *testing.T, a *httpprobe.Asker, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	switch err := a.Ask(ctx); {
	case err == nil && text != "":
		t.Errorf("it is well, want %q", text)
	case err != nil && (text == "" || !strings.Contains(err.Error(), text)):
		t.Errorf("got %q, want %q", err, text)
	}
}

func TestHTTP(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"HTTP/1.1", "HTTP/1.1 over TLS", "HTTP/2", "HTTP/2 over TLS"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			var connections atomic.Int64
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !strings.HasPrefix(kind, r.Proto[:6]) || r.Host != "orders.example" {
					w.WriteHeader(http.StatusHTTPVersionNotSupported)
				}
				switch r.URL.RequestURI() {
				case "/down?deep=1":
					w.WriteHeader(http.StatusServiceUnavailable)
				case "/busy":
					w.WriteHeader(http.StatusTooManyRequests)
				}
				_, _ = w.Write(make([]byte, 100<<10))
			}))
			s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
				if state == http.StateNew {
					connections.Add(1)
				}
			}
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetHTTP1(true)
			s.Config.Protocols.SetHTTP2(true)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.EnableHTTP2 = true
			var cfg *tls.Config
			if strings.HasSuffix(kind, "TLS") {
				s.StartTLS()
				cfg = s.Client().Transport.(*http.Transport).TLSClientConfig.Clone() //nolint:forcetypeassert // it is a test server's
				cfg.NextProtos, cfg.ServerName = nil, "example.com"
			} else {
				s.Start()
			}
			t.Cleanup(s.Close)
			ask := func(path string, statuses ...resource.StatusRange) *httpprobe.Asker {
				a := httpprobe.New(target(s.Listener.Addr().String(), cfg), "orders.example",
					resource.HTTPCheck{Path: path, Statuses: statuses, HTTP2: strings.HasPrefix(kind, "HTTP/2")})
				t.Cleanup(a.Close)
				return a
			}
			want(t, ask("/"), "")
			want(t, ask("/down?deep=1"), "it answers 503 to GET /down?deep=1")
			want(t, ask("/busy"), "it answers 429")
			want(t, ask("/busy", resource.StatusRange{From: 200, To: 300}, resource.StatusRange{From: 429, To: 430}), "")
			before, kept := connections.Load(), ask("/down?deep=1")
			for range 3 {
				want(t, kept, "503")
			}
			if got := connections.Load() - before; strings.HasPrefix(kind, "HTTP/2") && got != 1 {
				t.Errorf("%d connections for three checks, want 1", got)
			}
			s.Close()
			want(t, kept, "refused")
		})
	}
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	states, s := health.NewServer(), grpc.NewServer()
	healthv1.RegisterHealthServer(s, states)
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(s.Stop)
	ask := func(service string) *httpprobe.Asker {
		a := httpprobe.New(target(ln.Addr().String(), nil), "orders", resource.HTTPCheck{GRPC: true, HTTP2: true, Service: service})
		t.Cleanup(a.Close)
		return a
	}
	whole, orders := ask(""), ask("shop.Orders")
	want(t, whole, "")
	want(t, orders, `gRPC status "5"`) // NOT_FOUND
	states.SetServingStatus("shop.Orders", healthv1.HealthCheckResponse_SERVING)
	want(t, orders, "")
	states.SetServingStatus("shop.Orders", healthv1.HealthCheckResponse_NOT_SERVING)
	want(t, orders, "it says NOT_SERVING")
	want(t, whole, "")
}

// TestNotGRPC asks a server that knows nothing of gRPC, and answers that are none.
func TestNotGRPC(t *testing.T) {
	t.Parallel()
	for answer, text := range map[string]string{
		"":                                     "no message of gRPC",
		"\x00\x00\x00\x00\x02\x08":             "no message of gRPC",
		"\x00\x00\x00\x00\x02\x08\x80":         "no message of gRPC's health protocol",
		"\x00\x00\x00\x00\x02\x08\x09":         "it says 9",
		"\x00\x00\x00\x00\x00":                 "it says UNKNOWN",
		"\x00\x00\x00\x00\x04\x10\x07\x08\x01": "",
		"\x01\x00\x00\x00\x02\x08\x01":         "no message of gRPC",
	} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Trailer", "Grpc-Status")
			_, _ = w.Write([]byte(answer))
			w.Header().Set("Grpc-Status", "0")
		}))
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
		a := httpprobe.New(target(s.Listener.Addr().String(), nil), "", resource.HTTPCheck{GRPC: true, HTTP2: true})
		want(t, a, text)
		a.Close()
		s.Close()
	}
}
