package http_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// ask sends a request over an open connection.
func ask(t *testing.T, c net.Conn, path string) (string, *http.Response) {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	return receive(t, bufio.NewReader(c))
}

func receive(t *testing.T, in *bufio.Reader) (string, *http.Response) {
	t.Helper()
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body), resp
}

// TestSuccessor has an open connection go on with the configuration that
// replaces the one it was accepted with, while a request under way ends as it
// began.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	first := manager(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Path == "/slow" {
			close(entered)
			<-leave
		}
		fmt.Fprint(w, "first")
	})
	h := newHost(t, first, nil)
	kept, slow := h.dial(), h.dial()
	if got, _ := ask(t, kept, "/"); got != "first" {
		t.Errorf("answer %q", got)
	}
	fmt.Fprint(slow, "GET /slow HTTP/1.1\r\nHost: test\r\n\r\n")
	<-entered
	before := h.swap(manager(text("second")))
	done := make(chan struct{})
	before.Retire(filters.Retirement{Next: *h.current.Load(), Deadline: time.Minute, Done: func() { close(done) }})
	if got, _ := ask(t, kept, "/"); got != "second" {
		t.Errorf("answer %q on the connection of before", got)
	}
	select {
	case <-done:
		t.Error("retired with a request under way")
	default:
	}
	close(leave)
	if got, _ := receive(t, bufio.NewReader(slow)); got != "first" {
		t.Errorf("answer %q to the request under way", got)
	}
	<-done
	if n := h.chain.closed.Load(); n != 1 {
		t.Errorf("%d filters closed", n)
	}
	if got, _ := ask(t, slow, "/"); got != "second" {
		t.Errorf("answer %q after it", got)
	}
	if n := h.ln.Connections(); n != 2 {
		t.Errorf("%d connections counted", n)
	}
}

// TestRetirement has requests under way end at the deadline, or at once, when
// nothing takes the listener's place.
func TestRetirement(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]filters.Retirement{
		"deadline": {Deadline: time.Millisecond},
		"cut":      {Deadline: time.Minute, Cut: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			entered := make(chan struct{})
			h := newHost(t, manager(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
				close(entered)
				<-r.Context().Done()
			}), nil)
			c := h.dial()
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
			<-entered
			done := make(chan struct{})
			r.Done = func() { close(done) }
			(*h.current.Load()).Retire(r)
			<-done
			if _, err := io.ReadAll(c); err != nil {
				t.Logf("the connection ended with %v", err)
			}
		})
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	h := newHost(t, manager(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		close(entered)
		<-leave
		fmt.Fprint(w, "done")
	}), nil)
	c := h.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: test\r\n\r\n")
	<-entered
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		result <- h.builder.Drain(ctx)
	}()
	close(leave)
	if got, _ := receive(t, bufio.NewReader(c)); got != "done" {
		t.Errorf("answer %q", got)
	}
	if err := <-result; err != nil {
		t.Errorf("Drain: %v", err)
	}
}

// TestHTTP2 has a client speak HTTP/2 without TLS.
func TestHTTP2(t *testing.T) {
	t.Parallel()
	h := newHost(t, manager(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		fmt.Fprint(w, r.Proto)
	}), nil)
	for proto, set := range map[string]func(*http.Protocols, bool){
		"HTTP/1.1": (*http.Protocols).SetHTTP1, "HTTP/2.0": (*http.Protocols).SetUnencryptedHTTP2,
	} {
		var p http.Protocols
		set(&p, true)
		tr := &http.Transport{Protocols: &p}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.url("/"), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		tr.CloseIdleConnections()
		if err != nil || string(body) != proto {
			t.Errorf("answer %q, %v", body, err)
		}
	}
}

// TestPanic has a filter's panic end its request alone.
func TestPanic(t *testing.T) {
	t.Parallel()
	h := newHost(t, manager(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if r.URL.Path == "/panic" {
			panic("on purpose")
		}
		fmt.Fprint(w, "well")
	}), nil)
	c := h.dial()
	fmt.Fprint(c, "GET /panic HTTP/1.1\r\nHost: test\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil {
		t.Error("an answer to a request that has failed")
	}
	if got, _ := ask(t, h.dial(), "/"); got != "well" {
		t.Errorf("answer %q", got)
	}
}
