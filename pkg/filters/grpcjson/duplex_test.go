package grpcjson_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest/shop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// chat begins a call whose messages go both ways at once, to an app that speaks JSON.
func chat(t *testing.T, app http.HandlerFunc) (grpc.ClientStream, context.CancelFunc) {
	t.Helper()
	s := httptest.NewServer(app)
	t.Cleanup(s.Close)
	conf, err := parse(t, toJSON(`, "print_options": {"stream": "NDJSON"}, "max_request_bytes": 1000`), "")
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := proxy(t, conf, cluster(s.Listener.Addr().String(), resource.UpstreamHTTP1))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	both := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	c, err := dialProxy(t, addr).NewStream(ctx, both, "/"+grpctest.Orders+"/Chat")
	if err != nil {
		t.Fatal(err)
	}
	return c, cancel
}

// echoLines answers each line when it comes. seen, which may be nil, hears why the
// lines have ended.
func echoLines(t *testing.T, seen chan<- error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				if seen != nil {
					seen <- err
				}
				return
			}
			_, _ = io.WriteString(w, line)
			_ = control.Flush()
		}
	}
}

// exchanges sends n messages, each when the one before has come back.
func exchanges(t *testing.T, c grpc.ClientStream, n int) {
	t.Helper()
	for i := range n {
		name := fmt.Sprint("order ", i)
		got := &shop.Order{}
		if err := errors.Join(c.SendMsg(&shop.Order{Name: name}), c.RecvMsg(got)); err != nil || got.GetName() != name {
			t.Fatalf("message %d: %v, %v", i, got, err)
		}
	}
}

// TestReverseBothWays: an app's answers come while the client still sends.
func TestReverseBothWays(t *testing.T) {
	t.Parallel()
	c, _ := chat(t, echoLines(t, nil))
	exchanges(t, c, 5)
	if err := errors.Join(c.CloseSend(), c.RecvMsg(&shop.Order{})); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
}

// TestReverseBothWaysCancelled: an app hears of a client that has gone, and must not
// take what it has for whole.
func TestReverseBothWaysCancelled(t *testing.T) {
	t.Parallel()
	seen := make(chan error, 1)
	c, cancel := chat(t, echoLines(t, seen))
	exchanges(t, c, 2)
	cancel()
	if err := <-seen; errors.Is(err, io.EOF) {
		t.Error("the app has taken the body for whole")
	}
}

// TestReverseBothWaysWrong: a message that is too large ends the call, and the app's
// request, although both have begun.
func TestReverseBothWaysWrong(t *testing.T) {
	t.Parallel()
	seen := make(chan error, 1)
	c, _ := chat(t, echoLines(t, seen))
	exchanges(t, c, 2)
	if err := c.SendMsg(&shop.Order{Name: strings.Repeat("x", 2000)}); err != nil {
		t.Fatal(err)
	}
	if err := c.RecvMsg(&shop.Order{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("the call ends with %v", err)
	}
	if err := <-seen; errors.Is(err, io.EOF) {
		t.Error("the app has taken the body for whole")
	}
}

// TestReverseBothWaysEarly: an app may say all before the client has.
func TestReverseBothWaysEarly(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   codes.Code
	}{
		"well":    {func(w http.ResponseWriter) { fmt.Fprint(w, `{"name": "last"}`) }, codes.OK},
		"refused": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) }, codes.PermissionDenied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, _ := chat(t, func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
					t.Error(err)
				}
				if _, err := bufio.NewReader(r.Body).ReadString('\n'); err != nil {
					t.Error(err)
				}
				w.Header().Set("Content-Type", "application/x-ndjson")
				tt.answer(w)
			})
			if err := c.SendMsg(&shop.Order{Name: "first"}); err != nil {
				t.Fatal(err)
			}
			got := &shop.Order{}
			err := c.RecvMsg(got)
			if tt.want == codes.OK && err == nil {
				err = c.RecvMsg(&shop.Order{})
			}
			if errors.Is(err, io.EOF) {
				err = nil
			}
			if status.Code(err) != tt.want || tt.want == codes.OK && got.GetName() != "last" {
				t.Errorf("%v, %v, want %v", got, err, tt.want)
			}
		})
	}
}

// TestReverseEndless: a call that has failed ends although its app goes on.
func TestReverseEndless(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		contentType, first, rest string
		want                     codes.Code
	}{
		"an error event": {"text/event-stream", "data: {\"name\": \"a\"}\n\nevent: error\ndata: {\"code\": 8}\n\n", ": still there\n\n", codes.ResourceExhausted},
		"no order":       {"application/x-ndjson", "{\"name\": \"a\"}\n{\"name\": 5}\n", "{}\n", codes.Internal},
		"compressed":     {"application/x-ndjson", "", "{}\n", codes.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			c, _ := chat(t, func(w http.ResponseWriter, r *http.Request) {
				defer close(gone)
				control := http.NewResponseController(w)
				_ = control.EnableFullDuplex()
				w.Header().Set("Content-Type", tt.contentType)
				if name == "compressed" {
					w.Header().Set("Content-Encoding", "gzip")
				}
				_, _ = io.WriteString(w, tt.first)
				for control.Flush() == nil && r.Context().Err() == nil {
					_, _ = io.WriteString(w, tt.rest)
				}
			})
			if err := errors.Join(c.SendMsg(&shop.Order{}), c.CloseSend()); err != nil {
				t.Fatal(err)
			}
			var err error
			for err == nil {
				err = c.RecvMsg(&shop.Order{})
			}
			if status.Code(err) != tt.want {
				t.Errorf("%v, want %v", err, tt.want)
			}
			<-gone
		})
	}
}

// TestBothWaysWrong: a value that is no message ends a call whose answer has begun, so
// that nobody takes that for whole.
func TestBothWaysWrong(t *testing.T) {
	t.Parallel()
	addr := start(t, envoy(""))
	out, in := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/v1/orders:chat", out)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(in, `[{"name": "a"},`)
		sent <- err
	}()
	resp, err := clients(t)["HTTP/2"].Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := make([]byte, len(`[{"name":"a"}`))
	if _, err := io.ReadFull(resp.Body, got); errors.Join(err, <-sent) != nil {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := io.WriteString(in, `{"name": 5}`); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the answer ends well, with %q", rest)
	}
	in.Close()
}

// TestEndless: a client has its answer although the server of a call that has failed
// goes on.
func TestEndless(t *testing.T) {
	t.Parallel()
	for name, piece := range map[string][]byte{
		"too large": append(frame(0, 1<<30, nil), make([]byte, 1000)...),
		"twice":     frame(0, 0, nil),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			gone := make(chan struct{})
			app := serveHTTP2(t, httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(gone)
				w.Header().Set("Content-Type", "application/grpc")
				for control := http.NewResponseController(w); control.Flush() == nil && r.Context().Err() == nil; {
					_, _ = w.Write(piece)
				}
			})))
			conf, err := parse(t, envoy(""), `{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}`)
			if err != nil {
				t.Fatal(err)
			}
			addr, _ := proxy(t, conf, cluster(app, resource.UpstreamHTTP2))
			r := ask(t, clients(t)["HTTP/1.1"], "GET", "http://"+addr+"/v1/orders/5", "")
			if r.StatusCode < 500 || r.err != nil || r.Header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s, %v", r.Status, r.body, r.err)
			}
			<-gone
		})
	}
}
