package http_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
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
