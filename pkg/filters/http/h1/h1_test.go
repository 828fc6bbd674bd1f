package h1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/httpproto"
)

// pair is both ends of a TCP connection.
func pair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []net.Conn{near, far} {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		t.Cleanup(func() { c.Close() })
	}
	return near, far
}

func options() h1.Options {
	return h1.Options{Limits: h1.Limits{HeadBytes: 4 << 10, Fields: 20}, Headers: 10 * time.Second, Idle: 30 * time.Second, Trailers: true}
}

// serve has a server serve one connection until the test ends.
func serve(t *testing.T, s *h1.Server, ahead string) net.Conn {
	t.Helper()
	near, far := pair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(far, []byte(ahead))
	}()
	t.Cleanup(func() {
		near.Close()
		<-done
	})
	return near
}

// TestResponses writes what handlers have said, byte by byte.
func TestResponses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		request string
		handler http.HandlerFunc
		want    string // without its Date
	}{
		"nothing": {"GET / HTTP/1.1", func(http.ResponseWriter, *http.Request) {}, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
		"short": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "short") },
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort",
		},
		"flushed": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "one")
				_ = http.NewResponseController(w).Flush()
				fmt.Fprint(w, "three")
			},
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n5\r\nthree\r\n0\r\n\r\n",
		},
		"trailer": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprint(w, "one")
				w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
				w.Header().Set(http.TrailerPrefix+"Content-Length", "7")
			},
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\nX-Sum: 1\r\n\r\n",
		},
		"HEAD": {
			"HEAD / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "5")
				fmt.Fprint(w, "short")
			},
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
		},
		"204": {"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, "HTTP/1.1 204 No Content\r\n\r\n"},
		"1.0, flushed": {
			"GET / HTTP/1.0", func(w http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(w).Flush()
				fmt.Fprint(w, "old")
			},
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nold",
		},
		"1.0, kept alive": {
			"GET / HTTP/1.0\r\nConnection: keep-alive", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "old") },
			"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nold",
		},
		"asks for the end": {
			"GET / HTTP/1.1\r\nConnection: close", func(http.ResponseWriter, *http.Request) {},
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		},
		"the handler asks for the end": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") },
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		},
		"interim": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusEarlyHints) },
			"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		},
		"less than declared": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "5")
				fmt.Fprint(w, "one")
			},
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\none",
		},
		"what is no field": {
			"GET / HTTP/1.1", func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["X Y"] = []string{"1"}
				w.Header().Set("X-Split", "a\r\nb: c")
			},
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		},
		"a panic": {"GET / HTTP/1.1", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ""},
	}
	date := regexp.MustCompile(`Date: [^\r]*\r\n`)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := serve(t, h1.NewServer(tt.handler, options()), "")
			fmt.Fprint(c, tt.request+"\r\nHost: x\r\n\r\n")
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, date.ReplaceAllString(string(got), "")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAhead begins with what somebody else has read, more than a buffer takes.
func TestAhead(t *testing.T) {
	t.Parallel()
	body := strings.Repeat("a", 20_000)
	ahead := fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body)+4, body)
	c := serve(t, h1.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }), options()), ahead)
	fmt.Fprint(c, "more")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != body+"more" || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// TestShutdown closes idle connections at once and others after their answer.
func TestShutdown(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	s := h1.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-leave
		}
		fmt.Fprint(w, "done")
	}), options())
	idle, busy := serve(t, s, ""), serve(t, s, "")
	fmt.Fprint(idle, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(idle)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(busy, "GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-entered
	result := make(chan error, 1)
	go func() { result <- s.Shutdown(t.Context()) }()
	if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the idle connection: %v", err)
	}
	close(leave)
	if resp, err = http.ReadResponse(bufio.NewReader(busy), nil); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(resp.Body); string(got) != "done" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// TestClient sends requests over one connection, and says when it can take others.
func TestClient(t *testing.T) {
	t.Parallel()
	get := func(body string) *http.Request {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://x/", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	chunked := get("body")
	chunked.ContentLength = -1
	chunked.Trailer = http.Header{"X-Sum": {"4"}}
	tests := map[string]struct {
		request  *http.Request
		answer   string
		sent     string
		status   int
		body     string
		trailer  http.Header
		reusable bool
		err      error
	}{
		"length": {
			get("body"), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes", "POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 200, "yes", nil, true, nil,
		},
		"chunks": {
			chunked, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyes\r\n0\r\nX-T: 1\r\n\r\n",
			"POST /t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Sum: 4\r\n\r\n", 200, "yes",
			http.Header{"X-T": {"1"}},
			true, nil,
		},
		"until the end": {get("a"), "HTTP/1.1 200 OK\r\n\r\nyes", "POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", 200, "yes", nil, false, nil},
		"closes": {
			get("a"), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nyes", "POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", 200, "yes", nil, false, nil,
		},
		"too much": {get("a"), "HTTP/1.1 204 No Content\r\n\r\nunasked", "POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", 204, "", nil, false, nil},
		"malformed": {
			get("a"), "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "POST /t HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na", 0, "", nil, false, httpproto.ErrMalformed,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			near, far := pair(t)
			got := make(chan string, 1)
			go func() {
				b := make([]byte, len(tt.sent))
				n, _ := io.ReadFull(far, b)
				got <- string(b[:n])
				_, _ = io.WriteString(far, tt.answer)
				_ = far.(*net.TCPConn).CloseWrite()
			}()
			done := make(chan bool, 1)
			c := h1.NewClient(near, h1.Limits{HeadBytes: 4 << 10, Fields: 20})
			resp, err := c.RoundTrip(tt.request, &h1.Exchange{Target: "/t", Done: func(reusable bool) { done <- reusable }})
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.sent, <-got); diff != "" {
				t.Errorf("sent (-want +got):\n%s", diff)
			}
			if err == nil {
				body, err := io.ReadAll(resp.Body)
				if resp.StatusCode != tt.status || string(body) != tt.body || err != nil {
					t.Errorf("%d %q, %v", resp.StatusCode, body, err)
				}
				resp.Body.Close()
				if diff := cmp.Diff(tt.trailer, resp.Trailer); diff != "" {
					t.Errorf("trailer (-want +got):\n%s", diff)
				}
			}
			if reusable := <-done; reusable != tt.reusable {
				t.Errorf("reusable: %v", reusable)
			}
		})
	}
}

// TestTarget reads the targets of request lines.
func TestTarget(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"/a": "/a", "/a?b=%20": "/a?b=%20", "/%2f": "/%2f", "//a/b": "//a/b", "*": "*", "http://x/a": "http://x/a",
		"/%zz": "", "a": "", "http://u@x/": "", "ftp://x/": "", "http:///": "",
	} {
		got := ""
		if u := h1.Target(http.MethodGet, in); u != nil {
			if got = u.EscapedPath(); u.RawQuery != "" {
				got += "?" + u.RawQuery
			}
			if u.Host != "" {
				got = u.Scheme + "://" + u.Host + got
			}
		}
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
