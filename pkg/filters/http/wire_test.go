package http_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestSmuggling refuses what two recipients could read in two ways. Nothing of
// it reaches a filter.
func TestSmuggling(t *testing.T) { overEngines(t, testSmuggling) }

func testSmuggling(t *testing.T, e engine) {
	h := e.before(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusTeapot)
		}
	})
	chunked := "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	tests := map[string]struct {
		in   string
		want int
	}{
		"well":                      {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"empty line before":         {"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"chunks":                    {chunked + "3\r\nabc\r\n0\r\n\r\n", 200},
		"length and chunks":         {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":               {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", 400},
		"list of lengths":           {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4, 4\r\n\r\nabcd", 400},
		"negative length":           {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -4\r\n\r\n", 400},
		"chunked is not the coding": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", 501},
		"chunked twice":             {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"coding in 1.0":             {"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"folded line":               {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
		"folded coding":             {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400},
		"bare LF":                   {"GET / HTTP/1.1\nHost: x\n\n", 400},
		"bare LF in a field":        {"GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400},
		"bare CR":                   {"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", 400},
		"space before the colon":    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 4\r\n\r\nabcd", 400},
		"NUL":                       {"GET / HTTP/1.1\r\nHost: x\r\nA: \x00\r\n\r\n", 400},
		"no host":                   {"GET / HTTP/1.1\r\n\r\n", 400},
		"two hosts":                 {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
		"host with a tab":           {"GET / HTTP/1.1\r\nHost: x\ty\r\n\r\n", 400},
		"host with a path":          {"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400},
		"other version":             {"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505},
		"1.0":                       {"GET / HTTP/1.0\r\nHost: x\r\n\r\n", 426},
		"fragment":                  {"GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"above the root":            {"GET /../a HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"escape that is none":       {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
		"CONNECT":                   {"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 405},
		"chunk extension":           {chunked + "3;a=b\r\nabc\r\n0\r\n\r\n", 400},
		"chunk with bare LF":        {chunked + "3\nabc\n0\n\n", 400},
		"chunk size is no number":   {chunked + "0x3\r\nabc\r\n0\r\n\r\n", 400},
		"chunk is longer":           {chunked + "3\r\nabcd\r\n0\r\n\r\n", 400},
		"folded trailer":            {chunked + "0\r\nA: b\r\n c\r\n\r\n", 400},
		"head above the limit":      {"GET / HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", 431},
		"fields above the limit":    {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 100) + "\r\n", 431},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := h.dial()
			go func() { _, _ = io.WriteString(c, tt.in) }()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != tt.want {
				t.Errorf("%d, want %d", resp.StatusCode, tt.want)
			}
			if tt.want == 400 && !resp.Close {
				t.Error("the connection goes on")
			}
		})
	}
}

// TestEscapedSlashes sends clients to the path with plain slashes, on the host that they have asked.
func TestEscapedSlashes(t *testing.T) { overEngines(t, testEscapedSlashes) }

func testEscapedSlashes(t *testing.T, e engine) {
	m := routing(toCluster(t, ""))
	m.Path = resource.HTTPPath{Escaped: resource.SlashesRedirected}
	h := e.proxy(t, m)
	for path, want := range map[string]string{
		"/a%2Fb?c=%2F":      "/a/b?c=%2F",
		"/%2Fother.example": "/.//other.example",
		"/%5Cother.example": `/./\other.example`,
	} {
		resp, _ := do(t, "GET", h.url(path), nil)
		if got := resp.Header.Get("Location"); resp.StatusCode != http.StatusTemporaryRedirect || got != want {
			t.Errorf("%s: %d to %q, want %q", path, resp.StatusCode, got, want)
		}
	}
}

// TestSlowHead ends a connection whose client takes too long for a request's
// head, and none that is merely idle.
func TestSlowHead(t *testing.T) { overEngines(t, testSlowHead) }

func testSlowHead(t *testing.T, e engine) {
	m := routing(toCluster(t, ""))
	m.Limits.HeadersTimeout = 50 * time.Millisecond
	h := e.proxy(t, m, clusterOf("c", app(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") })))
	idle, slow := h.dial(), h.dial()
	fmt.Fprint(slow, "GET / HTTP/1.1\r\nHos")
	resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%v, %v", resp, err)
	}
	if got, _ := ask(t, idle, "/"); got != "well" {
		t.Errorf("answer %q on the idle connection", got)
	}
}

// TestContinue has a client wait for "100 Continue".
func TestContinue(t *testing.T) {
	t.Parallel()
	h := newHost(t, manager(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}), nil)
	c := h.dial()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(in, nil)
	if err != nil || resp.StatusCode != http.StatusContinue {
		t.Fatalf("%v, %v", resp, err)
	}
	fmt.Fprint(c, "body")
	if got, _ := receive(t, in); got != "body" {
		t.Errorf("answer %q", got)
	}
	fmt.Fprint(c, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if _, resp := receive(t, in); resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("%d, closes: %v", resp.StatusCode, resp.Close)
	}
}

// TestContinueUpstream has a client wait for "100 Continue", which it does not get
// where its body is not wanted.
func TestContinueUpstream(t *testing.T) { overEngines(t, testContinueUpstream) }

func testContinueUpstream(t *testing.T, e engine) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	h := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"match": {"prefix": "/refused"}, "direct_response": {"status": 403}},
	  {"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]}`)), clusterOf("c", addr))
	c := h.dial()
	in := bufio.NewReader(c)
	for range 2 { // on a new connection to the app, and on one that was used
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != http.StatusContinue {
			t.Fatalf("%v, %v", resp, err)
		}
		fmt.Fprint(c, "body")
		if got, _ := receive(t, in); got != "body" {
			t.Errorf("answer %q", got)
		}
	}
	fmt.Fprint(c, "POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if _, resp := receive(t, in); resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("%d, closes: %v", resp.StatusCode, resp.Close)
	}
}

// TestPipeline answers requests that were sent at once in their order.
func TestPipeline(t *testing.T) { overEngines(t, testPipeline) }

func testPipeline(t *testing.T, e engine) {
	h := e.before(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/unread" {
			_, _ = io.Copy(io.Discard, r.Body)
		}
		fmt.Fprint(w, r.URL.Path)
	})
	c := h.dial()
	go fmt.Fprint(c, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"+
		"HEAD /3 HTTP/1.1\r\nHost: x\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	in := bufio.NewReader(c)
	for _, want := range []string{"/1", "/unread", "", "/4"} {
		req := &http.Request{Method: http.MethodGet}
		if want == "" {
			req.Method = http.MethodHead
		}
		resp, err := http.ReadResponse(in, req)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); string(body) != want || err != nil {
			t.Errorf("answer %q, %v, want %q", body, err, want)
		}
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("after the end: %q, %v", rest, err)
	}
}

// TestClientGone ends the request of a client that has gone.
func TestClientGone(t *testing.T) { overEngines(t, testClientGone) }

func testClientGone(t *testing.T, e engine) {
	entered, ended := make(chan struct{}), make(chan struct{})
	h := e.before(t, func(_ http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
		close(ended)
	})
	c := h.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	c.Close()
	<-ended
}

// TestUpload streams a body that is far larger than what may be held in memory.
func TestUpload(t *testing.T) { overEngines(t, testUpload) }

func testUpload(t *testing.T, e engine) {
	const size = 128 << 20
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addr))
	peak := make(chan uint64, 1)
	stop := make(chan struct{})
	go func() {
		var most uint64
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	_, got := do(t, "POST", h.url("/"), io.LimitReader(zeros{}, size))
	close(stop)
	if want := fmt.Sprint(size, " <nil>"); got != want && got != fmt.Sprint(size, "<nil>") {
		t.Errorf("received %q, want %q", got, want)
	}
	const most = 64 << 20 // of this process with all its tests; the body is twice that
	if p := <-peak; p > most {
		t.Errorf("the heap grew to %d MiB", p>>20)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestAnswerBeforeTheBody: a client that sends all of a body that nobody takes gets the answer, and no reset.
func TestAnswerBeforeTheBody(t *testing.T) { overEngines(t, testAnswerBeforeTheBody) }

func testAnswerBeforeTheBody(t *testing.T, e engine) {
	x := e.proxy(t, routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"match": {"prefix": "/"}, "direct_response": {"status": 413}}]}]}`)))
	c := x.dial()
	const size = 4 << 20
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", size); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, size)); err != nil {
		t.Errorf("sending the body: %v", err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", resp.StatusCode)
	}
}

// TestHeadBeforeTheBody passes the head of an answer on although its body is late.
// Of a body whose length is known goroutines wait for the first piece.
func TestHeadBeforeTheBody(t *testing.T) { overEngines(t, testHeadBeforeTheBody) }

func testHeadBeforeTheBody(t *testing.T, e engine) {
	seen := make(chan struct{}, 1)
	h := e.before(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/stream" {
			w.Header().Set("Content-Length", "4")
		}
		_ = http.NewResponseController(w).Flush()
		switch r.URL.Path {
		case "/late", "/stream":
			select {
			case <-seen:
			case <-r.Context().Done():
			}
		case "/never":
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, "late")
	})
	c := h.dial()
	in := bufio.NewReader(c)
	paths := []string{"/stream", "/soon"}
	if e == loops {
		paths = append(paths, "/late", "/never")
	}
	for _, path := range paths {
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if path == "/late" || path == "/stream" {
			seen <- struct{}{}
		}
		body, err := io.ReadAll(resp.Body)
		if path == "/never" {
			if err == nil {
				t.Errorf("%s: an answer that was cut is whole: %q", path, body)
			}
			continue
		}
		if err != nil || string(body) != "late" || (resp.ContentLength == 4) != (path != "/stream") {
			t.Errorf("%s: %q, %v, length %d", path, body, err, resp.ContentLength)
		}
	}
}
