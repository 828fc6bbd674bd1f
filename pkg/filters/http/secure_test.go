package http_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestRequireTLS: a client whose TLS has ended at a proxy before is not sent to https again, where that proxy is to be believed.
func TestRequireTLS(t *testing.T) { overEngines(t, testRequireTLS) }

func testRequireTLS(t *testing.T, e engine) {
	for name, tt := range map[string]struct {
		edge  bool
		proto string
		want  int
	}{
		"plain":                   {false, "", http.StatusMovedPermanently},
		"plain, by a proxy":       {false, "http", http.StatusMovedPermanently},
		"TLS, by a proxy":         {false, "https", http.StatusOK},
		"a client that says so":   {true, "https", http.StatusMovedPermanently},
		"a client that says much": {false, "https,https", http.StatusMovedPermanently},
	} {
		m := routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "require_tls": "ALL", "routes": [
		  {"match": {"prefix": "/"}, "direct_response": {"status": 200}}]}]}`))
		m.Headers.UseRemoteAddress = tt.edge
		h := e.proxy(t, m)
		var header []string
		if tt.proto != "" {
			header = []string{"X-Forwarded-Proto", tt.proto}
		}
		if resp, _ := do(t, "GET", h.url("/"), nil, header...); resp.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", name, resp.StatusCode, tt.want)
		}
	}
}

// TestRedirectsStaySecure: a redirect that names no scheme has the client's, whose TLS may end at a proxy before.
func TestRedirectsStaySecure(t *testing.T) { overEngines(t, testRedirectsStaySecure) }

func testRedirectsStaySecure(t *testing.T, e engine) {
	for _, tt := range []struct {
		edge        bool
		proto, want string
	}{{false, "https", "https"}, {false, "http", "http"}, {true, "https", "http"}, {false, "gopher", "http"}} {
		m := routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
		  {"match": {"prefix": "/"}, "redirect": {"path_redirect": "/new"}}]}]}`))
		m.Headers.UseRemoteAddress = tt.edge
		h := e.proxy(t, m)
		resp, _ := do(t, "GET", h.url("/"), nil, "X-Forwarded-Proto", tt.proto)
		if got, want := resp.Header.Get("Location"), tt.want+"://"+h.ln.Addr()+"/new"; got != want {
			t.Errorf("edge %v, %s: to %s, want %s", tt.edge, tt.proto, got, want)
		}
	}
}

// TestHintsLeaveTheRest: the headers of 103 are its own, and take none from the response that follows.
func TestHintsLeaveTheRest(t *testing.T) {
	t.Parallel()
	addr := app(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		fmt.Fprint(w, "well")
	})
	m := routing(toCluster(t, ""))
	m = goroutines.chain(m)
	m.Filters[0].Config = &answer{func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Link", "</of/a/filter>")
		next.ServeHTTP(w, r)
	}}
	h := proxy(t, m, clusterOf("c", addr))
	if resp, body := do(t, "GET", h.url("/"), nil); body != "well" || resp.Header.Get("Link") != "</of/a/filter>" {
		t.Errorf("%q, Link %q", body, resp.Header["Link"])
	}
}

// TestHintsWithoutEnd: hints that still come when the request has timed out are not mixed into its answer.
func TestHintsWithoutEnd(t *testing.T) {
	t.Parallel()
	cluster := clusterOf("c", wireApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		_, _ = io.CopyN(io.Discard, c, int64(len(http2.ClientPreface)))
		f := http2.NewFramer(c, c)
		_ = f.WriteSettings()
		var stream uint32
		for stream == 0 {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if _, ok := frame.(*http2.HeadersFrame); ok {
				stream = frame.Header().StreamID
			}
		}
		go func() { _, _ = io.Copy(io.Discard, c) }()
		var head bytes.Buffer
		enc := hpack.NewEncoder(&head)
		for {
			head.Reset()
			_ = enc.WriteField(hpack.HeaderField{Name: ":status", Value: "103"})
			_ = enc.WriteField(hpack.HeaderField{Name: "link", Value: "</a>"})
			if f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true}) != nil {
				return
			}
		}
	}))
	cluster.HTTP.Protocol = resource.UpstreamHTTP2
	cluster.HTTP.MaxRequests = 1
	h := goroutines.proxy(t, routing(toCluster(t, `, "timeout": "0.02s"`)), cluster)
	for range 10 {
		if resp, _ := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusGatewayTimeout || resp.Header.Get("Link") != "" {
			t.Errorf("%s %v", resp.Status, resp.Header)
		}
	}
}
