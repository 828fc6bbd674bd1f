package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/fetch"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// counted serves and counts connections.
func counted(t *testing.T, handler http.HandlerFunc) (url string, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return server.URL, connections
}

func small(t *testing.T, uri string) *fetch.Page {
	t.Helper()
	p := fetch.Open(&resource.MetricsFetch{URI: uri, Timeout: time.Minute}, metrics.Env{MaxBytes: 4096}, fetch.Config{Small: true})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// TestSmallPages: however a page is sent, it arrives, and the connection is used
// again where that is possible.
func TestSmallPages(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		handler     http.HandlerFunc
		connections int32 // for three pages
		err         string
	}{
		{"with a length", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }, 1, ""},
		{"in chunks", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "pa")
			_ = http.NewResponseController(w).Flush()
			fmt.Fprint(w, "ge")
		}, 1, ""},
		{"after hints", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "page")
		}, 1, ""},
		{"the last of its connection", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "close")
			fmt.Fprint(w, "page")
		}, 3, ""},
		{"elsewhere", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				http.Redirect(w, r, "/there", http.StatusFound)
				return
			}
			fmt.Fprint(w, "page")
		}, 1, ""},
		{"a status", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, 1, "status 403"},
		{"too large", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 5000)) }, 3, "too large"},
		{"a head without end", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 100_000)) }, 3, "head of the answer is too large"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, connections := counted(t, tt.handler)
			p := small(t, url+"/")
			for range 3 {
				page, err := p.Get(t.Context())
				switch {
				case tt.err == "" && (err != nil || string(page) != "page"):
					t.Errorf("got %q, %v", page, err)
				case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
					t.Errorf("got %q, %v; want an error with %q", page, err, tt.err)
				}
			}
			if n := connections.Load(); n != tt.connections {
				t.Errorf("%d connections, want %d", n, tt.connections)
			}
		})
	}
}

// TestSmallPageAgain: a server that closed the connection meanwhile is asked in
// another one, and one that is there no more is an error.
func TestSmallPageAgain(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }))
	defer server.Close()
	p := small(t, server.URL)
	for range 3 {
		if page, err := p.Get(t.Context()); err != nil || string(page) != "page" {
			t.Fatalf("got %q, %v", page, err)
		}
		server.CloseClientConnections()
	}
	server.Close()
	if page, err := p.Get(t.Context()); err == nil {
		t.Errorf("of a server that has ended: got %q", page)
	}
}

// TestSmallPageLate: whoever waits no more is not kept.
func TestSmallPageLate(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url, _ := counted(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done() // the client has gone
	})
	if _, err := small(t, url).Get(ctx); err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
	slow, _ := counted(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	short, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	if _, err := small(t, slow).Get(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestSmallPageOfSocket is one behind a unix socket.
func TestSmallPageOfSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host, r.URL.Path) }))
	_ = server.Listener.Close() // the one that it made
	server.Listener = l
	server.Start()
	defer server.Close()
	if page, err := small(t, "unix:"+path+":/status").Get(t.Context()); err != nil || string(page) != "localhost/status" {
		t.Errorf("got %q, %v", page, err)
	}
}
