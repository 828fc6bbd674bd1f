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
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

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
