package http_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/path/rewrite/uri_template/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestForward(t *testing.T) { overEngines(t, testForward) }

func testForward(t *testing.T, e engine) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", r.Method+" "+r.RequestURI+" "+r.Host+" "+r.Header.Get("X-Add")+" "+r.Header.Get("Keep-Alive"))
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "1")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(append([]byte("got "), body...))
	})
	h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addr))
	resp, body := do(t, "POST", h.url("/a/../b%2fc?d=e"), strings.NewReader("payload"), "Host", "example.com", "Keep-Alive", "5")
	if resp.StatusCode != http.StatusAccepted || body != "got payload" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if got, want := resp.Header.Get("X-Seen"), "POST /b%2Fc?d=e example.com"; got != want {
		t.Errorf("seen %q, want %q", got, want)
	}
	if resp.Header.Get("X-Hop") != "" || resp.Header.Get("Server") != "dragoman" {
		t.Errorf("headers %v", resp.Header)
	}
}

// TestRoutes chooses among routes by every kind of match.
func TestRoutes(t *testing.T) { overEngines(t, testRoutes) }

func testRoutes(t *testing.T, e engine) {
	answer := func(name, match string) string {
		return `{"name": "` + name + `", "match": ` + match + `, "direct_response": {"status": 200, "body": {"inline_string": "` + name + `"}}}`
	}
	h := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [
	  {"name": "exact", "domains": ["exact.example"], "routes": [`+answer("host", `{"prefix": "/"}`)+`]},
	  {"name": "suffix", "domains": ["*.example"], "routes": [`+answer("suffix", `{"prefix": "/"}`)+`]},
	  {"name": "prefix", "domains": ["www.*"], "routes": [`+answer("www", `{"prefix": "/"}`)+`]},
	  {"name": "any", "domains": ["*"], "routes": [
	  `+answer("method", `{"prefix": "/m", "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]}`)+`,
	  `+answer("header", `{"prefix": "/h", "headers": [{"name": "x-a", "string_match": {"prefix": "B", "ignore_case": true}}]}`)+`,
	  `+answer("inverted", `{"prefix": "/h", "headers": [{"name": "x-a", "present_match": true, "invert_match": true}]}`)+`,
	  `+answer("range", `{"prefix": "/r", "headers": [{"name": "x-n", "range_match": {"start": "5", "end": "8"}}]}`)+`,
	  `+answer("query", `{"prefix": "/q", "query_parameters": [{"name": "a", "string_match": {"exact": "b"}}]}`)+`,
	  `+answer("segments", `{"path_separated_prefix": "/s/t"}`)+`,
	  `+answer("path", `{"path": "/Path", "case_sensitive": false}`)+`,
	  `+answer("regex", `{"safe_regex": {"regex": "/x/[0-9]+"}}`)+`,
	  `+answer("template", `{"path_match_policy": {"name": "t", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": "/v/{id}/*/{rest=**}"}}}`)+`,
	  `+answer("grpc", `{"prefix": "/g", "grpc": {}}`)+`,
	  {"match": {"path": "/redirect"}, "redirect": {"https_redirect": true, "prefix_rewrite": "/new"}}
	  ]}]}`)))
	tests := []struct {
		method, host, path string
		header             []string
		want               string
	}{
		{"GET", "exact.example", "/", nil, "host"},
		{"GET", "EXACT.example", "/", nil, "host"},
		{"GET", "other.example", "/", nil, "suffix"},
		{"GET", "www.net", "/", nil, "www"},
		{"PUT", "x", "/m", nil, "method"},
		{"GET", "x", "/m", nil, "404"},
		{"GET", "x", "/h", []string{"X-A", "bcd"}, "header"},
		{"GET", "x", "/h", nil, "inverted"},
		{"GET", "x", "/h", []string{"X-A", "c"}, "404"},
		{"GET", "x", "/r", []string{"X-N", "7"}, "range"},
		{"GET", "x", "/r", []string{"X-N", "8"}, "404"},
		{"GET", "x", "/q?a=b", nil, "query"},
		{"GET", "x", "/q?a=c", nil, "404"},
		{"GET", "x", "/s/t", nil, "segments"},
		{"GET", "x", "/s/t/u", nil, "segments"},
		{"GET", "x", "/s/tu", nil, "404"},
		{"GET", "x", "/pATH", nil, "path"},
		{"GET", "x", "/x/12", nil, "regex"},
		{"GET", "x", "/x/12/3", nil, "404"},
		{"GET", "x", "/v/1/2/3/4", nil, "template"},
		{"GET", "x", "/v/1", nil, "404"},
		{"GET", "x", "/g", []string{"Content-Type", "application/grpc+proto"}, "grpc"},
		{"GET", "x", "/g", []string{"Content-Type", "application/grpcx"}, "404"},
		{"GET", "x", "/redirect?a=b", nil, "301 https://x/new?a=b"},
	}
	for _, tt := range tests {
		t.Run(tt.host+" "+tt.path+" "+tt.want, func(t *testing.T) {
			t.Parallel()
			resp, got := do(t, tt.method, h.url(tt.path), nil, append(tt.header, "Host", tt.host)...)
			switch {
			case resp.StatusCode == http.StatusNotFound:
				got = "404"
			case resp.StatusCode != http.StatusOK:
				got = fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Location"))
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestRewrites looks at what arrives at the app.
func TestRewrites(t *testing.T) { overEngines(t, testRewrites) }

func testRewrites(t *testing.T, e engine) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Host, " ", r.RequestURI, " ", r.Header["X-A"], r.Header["X-Gone"], r.Header["X-Envoy-Original-Path"])
	})
	tests := map[string]struct{ match, route, more, path, want string }{
		"prefix":        {`{"prefix": "/a/"}`, `"prefix_rewrite": "/b/"`, "", "/a/c?d", "x /b/c?d [1] [] [/a/c?d]"},
		"whole path":    {`{"path": "/a"}`, `"prefix_rewrite": "/b"`, "", "/a", "x /b [1] [] [/a]"},
		"regex":         {`{"prefix": "/"}`, `"regex_rewrite": {"pattern": {"regex": "^/([a-z]+)/([a-z]+)"}, "substitution": "/\\2/\\1"}`, "", "/a/b/c", "x /b/a/c [1] [] [/a/b/c]"},
		"literal host":  {`{"prefix": "/"}`, `"host_rewrite_literal": "other"`, "", "/", "other / [1] [] []"},
		"host of path":  {`{"prefix": "/"}`, `"host_rewrite_path_regex": {"pattern": {"regex": "^/([a-z]+)/.*"}, "substitution": "\\1.example"}`, "", "/a/b", "a.example /a/b [1] [] []"},
		"template":      {`{"path_match_policy": {"name": "t", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", "path_template": "/v/{id}/{rest=**}"}}}`, `"path_rewrite_policy": {"name": "t", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig", "path_template_rewrite": "/{rest}/of/{id}"}}`, "", "/v/7/a/b", "x /a/b/of/7 [1] [] [/v/7/a/b]"},
		"append":        {`{"prefix": "/"}`, "", `"request_headers_to_add": [{"header": {"key": "x-a", "value": "2"}}]`, "/", "x / [1 2] [] []"},
		"overwrite":     {`{"prefix": "/"}`, "", `"request_headers_to_add": [{"header": {"key": "x-a", "value": "%REQ(:METHOD)%-%PROTOCOL%"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]`, "/", "x / [GET-HTTP/1.1] [] []"},
		"add if absent": {`{"prefix": "/"}`, "", `"request_headers_to_add": [{"header": {"key": "x-a", "value": "2"}, "append_action": "ADD_IF_ABSENT"}]`, "/", "x / [1] [] []"},
		"only existing": {`{"prefix": "/"}`, "", `"request_headers_to_add": [{"header": {"key": "x-gone", "value": "2"}, "append_action": "OVERWRITE_IF_EXISTS"}]`, "/", "x / [1] [] []"},
		"remove":        {`{"prefix": "/"}`, "", `"request_headers_to_remove": ["x-a"]`, "/", "x / [] [] []"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			route := `{"cluster": "c"`
			if tt.route != "" {
				route += ", " + tt.route
			}
			entry := `{"match": ` + tt.match + `, "route": ` + route + `}`
			if tt.more != "" {
				entry += ", " + tt.more
			}
			h := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [`+entry+`}]}]}`)), clusterOf("c", addr))
			_, got := do(t, "GET", h.url(tt.path), nil, "Host", "x", "X-A", "1")
			got = strings.Join(strings.Fields(strings.ReplaceAll(got, "[]", " [] ")), " ")
			want := strings.Join(strings.Fields(strings.ReplaceAll(tt.want, "[]", " [] ")), " ")
			if diff := cmp.Diff(strings.ReplaceAll(want, "] [", "]["), strings.ReplaceAll(got, "] [", "][")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestRetries has a request tried again as far as the policy allows it.
func TestRetries(t *testing.T) { overEngines(t, testRetries) }

func testRetries(t *testing.T, e engine) {
	var calls atomic.Int32
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if n := calls.Add(1); n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "%s %s", body, r.Header.Get("X-Envoy-Attempt-Count"))
	})
	h := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "include_request_attempt_count": true, "routes": [
	  {"match": {"prefix": "/"}, "route": {"cluster": "c", "retry_policy": {"retry_on": "gateway-error", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}}}}]}]}`)),
		clusterOf("c", addr))
	if resp, got := do(t, "POST", h.url("/"), strings.NewReader("payload")); got != "payload 3" {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

// TestRetryElsewhere avoids an endpoint that refuses connections.
func TestRetryElsewhere(t *testing.T) { overEngines(t, testRetryElsewhere) }

func testRetryElsewhere(t *testing.T, e engine) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	addr := app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") })
	h := e.proxy(t, routing(toCluster(t, `, "retry_policy": {"retry_on": "connect-failure", "num_retries": 1, "retry_host_predicate": [
	  {"name": "p", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}]}`)), clusterOf("c", dead, addr))
	for range 4 {
		if resp, got := do(t, "GET", h.url("/"), nil); got != "well" {
			t.Errorf("%d %q", resp.StatusCode, got)
		}
	}
}

func TestTimeouts(t *testing.T) { overEngines(t, testTimeouts) }

func testTimeouts(t *testing.T, e engine) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begun" {
			fmt.Fprint(w, "beginning")
			_ = http.NewResponseController(w).Flush()
		}
		<-r.Context().Done()
	})
	h := e.proxy(t, routing(toCluster(t, `, "timeout": "0.05s"`)), clusterOf("c", addr))
	if resp, got := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
	c := h.dial()
	fmt.Fprint(c, "GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("a response that was cut looks whole")
	}
	h = e.proxy(t, routing(toCluster(t, `, "retry_policy": {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.02s"}`)), clusterOf("c", addr))
	if resp, got := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusGatewayTimeout {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
}

// TestMirror sends a copy elsewhere, of which the client knows nothing.
func TestMirror(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 1)
	copies := app(t, func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen <- r.Host + " " + string(body)
	})
	addr := app(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	h := proxy(t, routing(toCluster(t, `, "request_mirror_policies": [{"cluster": "m"}]`)), clusterOf("c", addr), clusterOf("m", copies))
	if _, got := do(t, "POST", h.url("/"), strings.NewReader("payload"), "Host", "x"); got != "payload" {
		t.Errorf("answer %q", got)
	}
	if got := <-seen; got != "x-shadow payload" {
		t.Errorf("mirrored %q", got)
	}
}

// TestBreaker refuses what is above a cluster's limit.
func TestBreaker(t *testing.T) { overEngines(t, testBreaker) }

func testBreaker(t *testing.T, e engine) {
	entered, leave := make(chan struct{}), make(chan struct{})
	addr := app(t, func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-leave
	})
	c := clusterOf("c", addr)
	c.Limits.MaxRequests = 1
	h := e.proxy(t, routing(toCluster(t, "")), c)
	first := h.dial()
	fmt.Fprint(first, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	if resp, got := do(t, "GET", h.url("/"), nil); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got, "overflow") {
		t.Errorf("%d %q", resp.StatusCode, got)
	}
	close(leave)
	if _, resp := receive(t, bufio.NewReader(first)); resp.StatusCode != http.StatusOK {
		t.Errorf("the first got %d", resp.StatusCode)
	}
}

// TestUpgrade has a client and an app go over to another protocol.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "echo" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(conn, rw)
	})
	m := routing(toCluster(t, ""))
	m.Upgrades = map[string]bool{"echo": true}
	h := proxy(t, m, clusterOf("c", addr))
	c := h.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get("Upgrade") != "echo" {
		t.Fatalf("%v %v", resp, err)
	}
	fmt.Fprint(c, " and late")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); string(got) != "early and late" {
		t.Errorf("echo %q, %v", got, err)
	}
	if resp, _ := do(t, "GET", h.url("/"), nil, "Connection", "Upgrade", "Upgrade", "other"); resp.StatusCode != http.StatusForbidden {
		t.Errorf("an upgrade that is not allowed: %d", resp.StatusCode)
	}
	if resp, _ := do(t, "GET", h.url("/"), nil, "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", ""); resp.StatusCode == http.StatusForbidden {
		t.Errorf("an upgrade to h2c, which need not be heeded: %d", resp.StatusCode)
	}
}

// TestTrailers has trailers pass in both directions where they are enabled, and
// be dropped elsewhere.
func TestTrailers(t *testing.T) { overEngines(t, testTrailers) }

func testTrailers(t *testing.T, e engine) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.Proto, body, r.Trailer.Get("X-In"))
		w.Header().Set("X-Sum", "12")
	})
	for name, p := range map[string]resource.HTTPProtocol{"HTTP/1.1": resource.UpstreamHTTP1, "HTTP/2.0": resource.UpstreamHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := clusterOf("c", addr)
			c.HTTP.Protocol = p
			for enabled, want := range map[bool]string{true: name + " body 7 trailer 12", false: name + " body  trailer "} {
				m := routing(toCluster(t, ""))
				m.HTTP1.Trailers = enabled
				conn := e.proxy(t, m, c).dial()
				fmt.Fprint(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-In\r\n\r\n4\r\nbody\r\n0\r\nX-In: 7\r\n\r\n")
				body, resp := receive(t, bufio.NewReader(conn))
				if got := body + " trailer " + resp.Trailer.Get("X-Sum"); got != want {
					t.Errorf("with enable_trailers %t: %q, want %q", enabled, got, want)
				}
			}
		})
	}
}

// TestBalance spreads requests over the endpoints.
func TestBalance(t *testing.T) { overEngines(t, testBalance) }

func testBalance(t *testing.T, e engine) {
	var addrs []string
	for i := range 3 {
		addrs = append(addrs, app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addrs...))
	got := map[string]int{}
	for range 9 {
		_, body := do(t, "GET", h.url("/"), nil)
		got[body]++
	}
	if diff := cmp.Diff(map[string]int{"0": 3, "1": 3, "2": 3}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
