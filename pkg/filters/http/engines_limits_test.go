package http_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

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
