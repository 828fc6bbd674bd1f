package http_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// wireApp is an endpoint whose connections are served byte by byte: n counts them
// from 1.
func wireApp(t *testing.T, serve func(n int, c net.Conn, in *bufio.Reader)) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(30 * time.Second))
				serve(n, c, bufio.NewReader(c))
			})
		}
	})
	return l.Addr().String()
}

// headOf reads a request's head and body, and gives its first line.
func headOf(in *bufio.Reader) (string, error) {
	r, err := http.ReadRequest(in)
	if err != nil {
		return "", err
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return "", err
	}
	return r.Method + " " + r.RequestURI, nil
}

// TestAnswers has endpoints that answer badly, or in ways that are rare.
func TestAnswers(t *testing.T) { overEngines(t, testAnswers) }

func testAnswers(t *testing.T, e engine) {
	tests := map[string]struct {
		answer string // the connection ends after it
		status int
		body   string
		cut    bool // the client sees that it is not whole
	}{
		"ends with the connection": {"HTTP/1.1 200 OK\r\n\r\nall of it", 200, "all of it", false},
		"of HTTP/1.0":              {"HTTP/1.0 200 OK\r\n\r\nold", 200, "old", false},
		"length":                   {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 200, "body", false},
		"more than its length":     {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\n\r\n", 200, "body", false},
		"less than its length":     {"HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nbody", 200, "body", true},
		"chunks":                   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0\r\n\r\n", 200, "body", false},
		"chunks without an end":    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", 200, "body", true},
		"a chunk that is none":     {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbodyHTTP", 200, "body", true},
		"length beside chunks":     {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", 200, "body", false},
		"1xx before":               {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody", 200, "body", false},
		"nothing":                  {"", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", false},
		"half a head":              {"HTTP/1.1 200 OK\r\nConte", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", false},
		"no HTTP":                  {"SSH-2.0-OpenSSH\r\n\r\n", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", false},
		"two lengths":              {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", false},
		"folded line":              {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 4\r\n\r\nbody", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", false},
		"a head above the limit":   {"HTTP/1.1 200 OK\r\nA: " + strings.Repeat("a", 70<<10) + "\r\n\r\n", 503, "upstream connect error or disconnect/reset before headers. reset reason: connection termination", false},
		"101 unasked":              {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := wireApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
				if _, err := headOf(in); err == nil {
					_, _ = io.WriteString(c, tt.answer)
				}
			})
			h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addr))
			c := h.dial()
			fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
			in := bufio.NewReader(c)
			resp, err := http.ReadResponse(in, nil)
			for err == nil && resp.StatusCode < 200 {
				resp, err = http.ReadResponse(in, nil)
			}
			if err != nil && tt.cut {
				return // before its head was written
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if resp.StatusCode != tt.status || string(body) != tt.body || (err != nil) != tt.cut {
				t.Errorf("%d %q, %v", resp.StatusCode, body, err)
			}
		})
	}
}

// TestStaleConnection repeats a request without harm whose connection the endpoint
// has closed at the same moment, and no other.
func TestStaleConnection(t *testing.T) { overEngines(t, testStaleConnection) }

func testStaleConnection(t *testing.T, e engine) {
	for method, want := range map[string]int{"GET": 200, "POST": 503} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			addr := wireApp(t, func(n int, c net.Conn, in *bufio.Reader) {
				for {
					line, err := headOf(in)
					if err != nil || n == 1 && strings.HasSuffix(line, "/second") {
						return
					}
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				}
			})
			h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addr))
			c := h.dial()
			in := bufio.NewReader(c)
			for i, status := range []int{200, want} {
				fmt.Fprintf(c, "%s /%s HTTP/1.1\r\nHost: x\r\n\r\n", method, []string{"first", "second"}[i])
				if _, resp := receive(t, in); resp.StatusCode != status {
					t.Errorf("request %d got %d, want %d", i, resp.StatusCode, status)
				}
			}
		})
	}
}

// TestEarlyAnswer has an endpoint that answers before it has read the request.
func TestEarlyAnswer(t *testing.T) { overEngines(t, testEarlyAnswer) }

func testEarlyAnswer(t *testing.T, e engine) {
	addr := wireApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		fmt.Fprint(c, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop")
		_, _ = io.Copy(io.Discard, in)
	})
	h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addr))
	c := h.dial()
	go func() {
		_, _ = io.Copy(c, io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"), zeros{}))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if body, err := io.ReadAll(resp.Body); resp.StatusCode != http.StatusRequestEntityTooLarge || string(body) != "stop" || err != nil || !resp.Close {
		t.Errorf("%d %q, %v, closes: %v", resp.StatusCode, body, err, resp.Close)
	}
}

// TestUnreadableBody answers 400 to a body that is none, also when the endpoint
// has part of it.
func TestUnreadableBody(t *testing.T) { overEngines(t, testUnreadableBody) }

func testUnreadableBody(t *testing.T, e engine) {
	ended := make(chan error, 1)
	h := e.before(t, func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
		fmt.Fprint(w, "well")
	})
	c := h.dial()
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n%s\r\n", strings.Repeat("a", 0x8000))
	fmt.Fprint(c, "nothing like a chunk\r\n")
	if _, resp := receive(t, bufio.NewReader(c)); resp.StatusCode != http.StatusBadRequest || !resp.Close {
		t.Errorf("%d, closes: %v", resp.StatusCode, resp.Close)
	}
	if err := <-ended; err == nil {
		t.Error("the endpoint took half a request for a whole one")
	}
}

// TestHalfClose answers a client that has finished sending.
func TestHalfClose(t *testing.T) { overEngines(t, testHalfClose) }

func testHalfClose(t *testing.T, e engine) {
	h := e.before(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "well") })
	c := h.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	if got, _ := receive(t, in); got != "well" {
		t.Errorf("answer %q", got)
	}
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("after the answer: %v", err)
	}
}

// TestConnectionLimit has requests wait for a connection, or be refused.
func TestConnectionLimit(t *testing.T) { overEngines(t, testConnectionLimit) }

func testConnectionLimit(t *testing.T, e engine) {
	var most, now atomic.Int32
	entered, leave := make(chan struct{}, 8), make(chan struct{})
	addr := app(t, func(w http.ResponseWriter, _ *http.Request) {
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		entered <- struct{}{}
		<-leave
		fmt.Fprint(w, "well")
	})
	c := clusterOf("c", addr)
	c.Limits.MaxConnections, c.Limits.MaxPending = 1, 2
	h := e.proxy(t, routing(toCluster(t, "")), c)
	results := make(chan int, 8)
	ask := func() {
		resp, _ := do(t, "GET", h.url("/"), nil)
		results <- resp.StatusCode
	}
	go ask()
	<-entered
	for range 5 {
		go ask()
	}
	got := map[int]int{}
	for range 3 { // that find no place in the queue
		got[<-results]++
	}
	close(leave)
	for range 3 {
		got[<-results]++
	}
	if got[200] != 3 || got[503] != 3 || most.Load() != 1 {
		t.Errorf("answers %v, %d at once", got, most.Load())
	}
}

// TestTimeLimits ends what takes too long.
func TestTimeLimits(t *testing.T) { overEngines(t, testTimeLimits) }

func testTimeLimits(t *testing.T, e engine) {
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/well" {
			fmt.Fprint(w, "well")
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	const post = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
	tests := map[string]struct {
		limits resource.HTTPLimits
		in     string
		status int // 0: the connection ends without an answer
	}{
		"stream idle":             {resource.HTTPLimits{StreamIdle: 50 * time.Millisecond}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 408},
		"stream idle, in a body":  {resource.HTTPLimits{StreamIdle: 50 * time.Millisecond}, post, 408},
		"request not whole":       {resource.HTTPLimits{RequestTimeout: 50 * time.Millisecond}, post, 408},
		"whole exchange":          {resource.HTTPLimits{MaxStream: 50 * time.Millisecond}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 504},
		"idle connection":         {resource.HTTPLimits{Idle: 50 * time.Millisecond}, "", 0},
		"one request only":        {resource.HTTPLimits{MaxRequests: 1}, "GET /well HTTP/1.1\r\nHost: x\r\n\r\nGET /well HTTP/1.1\r\nHost: x\r\n\r\n", 200},
		"too old for another one": {resource.HTTPLimits{MaxConnection: time.Nanosecond}, "GET /well HTTP/1.1\r\nHost: x\r\n\r\nGET /well HTTP/1.1\r\nHost: x\r\n\r\n", 200},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := routing(toCluster(t, `, "timeout": "0s"`))
			tt.limits.HeaderBytes, tt.limits.HeaderCount = m.Limits.HeaderBytes, m.Limits.HeaderCount
			m.Limits = tt.limits
			c := e.proxy(t, m, clusterOf("c", addr)).dial()
			fmt.Fprint(c, tt.in)
			in := bufio.NewReader(c)
			if tt.status > 0 {
				if _, resp := receive(t, in); resp.StatusCode != tt.status {
					t.Errorf("%d, want %d", resp.StatusCode, tt.status)
				}
			}
			if tt.status > 0 && tt.status != 200 {
				return
			}
			if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
}

// TestSlowReader has a client take a large answer slowly: what is not taken waits
// at the endpoint.
func TestSlowReader(t *testing.T) { overEngines(t, testSlowReader) }

func testSlowReader(t *testing.T, e engine) {
	const size = 32 << 20
	var written atomic.Int64
	h := e.before(t, func(w http.ResponseWriter, _ *http.Request) {
		piece := make([]byte, 64<<10)
		for range size / len(piece) {
			if _, err := w.Write(piece); err != nil {
				return
			}
			written.Add(int64(len(piece)))
		}
	})
	c := h.dial()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := heldUp(t, &written); n >= size {
		t.Errorf("%d bytes were taken that nobody has read", n)
	}
	if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// TestNobodyReads has a client send requests and read no answer: there is a bound
// to what waits for it.
func TestNobodyReads(t *testing.T) { overEngines(t, testNobodyReads) }

func testNobodyReads(t *testing.T, e engine) {
	var served atomic.Int64
	body := strings.Repeat("a", 32<<10)
	h := e.before(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		fmt.Fprint(w, body)
	})
	c := h.dial()
	if err := c.SetDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	const requests = 1000 // with 31 MiB of answers
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", requests))
		sent <- err
	}()
	if n := heldUp(t, &served); n >= requests {
		t.Errorf("%d requests were served whose answers nobody has read", n)
	}
	in := bufio.NewReader(c)
	for i := range requests {
		if got, _ := receive(t, in); len(got) != len(body) {
			t.Fatalf("answer %d has %d bytes", i, len(got))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestConfigurations has a connection live through changes of its configuration.
func TestConfigurations(t *testing.T) { overEngines(t, testConfigurations) }

func testConfigurations(t *testing.T, e engine) {
	entered, leave := make(chan struct{}), make(chan struct{})
	addr := app(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-leave
		}
		fmt.Fprint(w, "app")
	})
	h := e.proxy(t, routing(toCluster(t, "")), clusterOf("c", addr))
	kept, slow := h.dial(), h.dial()
	said := func(text string) *resource.HTTPManager {
		return routing(routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
		  {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "`+text+`"}}}]}]}`))
	}
	if got, _ := ask(t, kept, "/"); got != "app" {
		t.Errorf("answer %q", got)
	}
	fmt.Fprint(slow, "GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
	<-entered
	first := h.swap(e.chain(said("second")))
	done := make(chan struct{})
	first.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Minute, Done: func() { close(done) }})
	if got, _ := ask(t, kept, "/"); got != "second" {
		t.Errorf("answer %q on the connection of before", got)
	}
	close(leave)
	if got, _ := receive(t, bufio.NewReader(slow)); got != "app" {
		t.Errorf("answer %q to the request under way", got)
	}
	<-done
	other := loops // a chain of the other engine
	if e == loops {
		other = goroutines
	}
	second := h.swap(other.chain(said("third")))
	second.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Minute, Done: func() {}})
	for range 2 {
		if got, _ := ask(t, kept, "/"); got != "third" {
			t.Errorf("answer %q of the other engine", got)
		}
	}
	if n := h.ln.Connections(); n != 2 {
		t.Errorf("%d connections counted", n)
	}
	narrow := said("fourth")
	narrow.Limits.HeaderBytes = 1 << 10
	third := h.swap(e.chain(narrow))
	third.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Minute, Done: func() {}})
	if _, err := bufio.NewReader(kept).ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a connection of other limits: %v", err)
	}
}

// TestEnds has requests under way cut when their configuration is, and end well
// when the proxy drains.
func TestEnds(t *testing.T) { overEngines(t, testEnds) }

func testEnds(t *testing.T, e engine) {
	for name, end := range map[string]func(*host){
		"cut": func(h *host) {
			(*h.current.Load()).Retire(filters.Retirement{Cut: true, Done: func() {}})
		},
		"deadline": func(h *host) {
			(*h.current.Load()).Retire(filters.Retirement{Deadline: time.Millisecond, Done: func() {}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entered, ended := make(chan struct{}), make(chan struct{})
			h := e.before(t, func(_ http.ResponseWriter, r *http.Request) {
				close(entered)
				<-r.Context().Done()
				close(ended)
			})
			c := h.dial()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			<-entered
			end(h)
			<-ended
			_, _ = io.ReadAll(c) // it ends, with an answer or without
		})
	}
	t.Run("drain", func(t *testing.T) {
		t.Parallel()
		entered, leave := make(chan struct{}), make(chan struct{})
		h := e.before(t, func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-leave
			fmt.Fprint(w, "done")
		})
		idle, c := h.dial(), h.dial()
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		<-entered
		result := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			result <- h.builder.Drain(ctx)
		}()
		if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("the idle connection: %v", err)
		}
		close(leave)
		if got, _ := receive(t, bufio.NewReader(c)); got != "done" {
			t.Errorf("answer %q", got)
		}
		if err := <-result; err != nil {
			t.Errorf("Drain: %v", err)
		}
	})
}

// TestProtocols has clients begin with what is not HTTP/1.1, in one piece or byte
// by byte, and ask for an upgrade behind other requests.
func TestProtocols(t *testing.T) { overEngines(t, testProtocols) }

func testProtocols(t *testing.T, e engine) {
	m := routing(toCluster(t, ""))
	m.Upgrades = map[string]bool{"echo": true}
	addr := wireApp(t, func(_ int, c net.Conn, in *bufio.Reader) {
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if r.Header.Get("Upgrade") == "echo" {
				fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				_, _ = io.Copy(c, in)
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 1<<20, strings.Repeat("a", 1<<20))
		}
	})
	h := e.proxy(t, m, clusterOf("c", addr))
	t.Run("preface byte by byte", func(t *testing.T) {
		t.Parallel()
		c := h.dial()
		for _, b := range []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00") {
			if _, err := c.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		var head [9]byte
		if _, err := io.ReadFull(c, head[:]); err != nil || head[3] != 4 { // SETTINGS
			t.Errorf("frame %x, %v", head, err)
		}
	})
	t.Run("nearly the preface", func(t *testing.T) {
		t.Parallel()
		c := h.dial()
		fmt.Fprint(c, "PRI * HTTP/2.0\r\n\r\nGET")
		if _, resp := receive(t, bufio.NewReader(c)); resp.StatusCode != http.StatusHTTPVersionNotSupported {
			t.Errorf("%d", resp.StatusCode)
		}
	})
	t.Run("upgrade behind answers that wait", func(t *testing.T) {
		t.Parallel()
		c := h.dial()
		fmt.Fprint(c, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 3)+
			"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
		in := bufio.NewReader(c)
		for range 3 {
			if got, _ := receive(t, in); len(got) != 1<<20 {
				t.Errorf("an answer of %d bytes", len(got))
			}
		}
		if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("%v %v", resp, err)
		}
		fmt.Fprint(c, " and late")
		got := make([]byte, len("early and late"))
		if _, err := io.ReadFull(in, got); string(got) != "early and late" {
			t.Errorf("echo %q, %v", got, err)
		}
	})
}
