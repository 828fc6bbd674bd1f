package exporter_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/exporter"
)

const patience = 60e9

// start serves on so many listeners until stop is called.
func start(t *testing.T, listeners int, h http.Handler) (addresses []string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all []net.Listener
	for range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
		addresses = append(addresses, l.Addr().String())
	}
	done := make(chan error, 1)
	go func() { done <- exporter.Serve(ctx, all, h, slog.New(slog.DiscardHandler)) }()
	return addresses, func() error {
		cancel()
		return <-done
	}
}

// TestServe: all listeners answer, and at the end what runs is answered, while
// connections that are idle are closed and the ports are free.
func TestServe(t *testing.T) {
	t.Parallel()
	asked, go1 := make(chan struct{}), make(chan struct{})
	addresses, stop := start(t, 2, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(asked)
			<-go1
		}
		_, _ = io.WriteString(w, "answer of "+r.URL.Path)
	}))
	get := func(i int, path string) (string, error) {
		res, err := nettest.Client.Get("http://" + addresses[i] + path)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	for i := range addresses {
		if got, err := get(i, "/a"); err != nil || got != "answer of /a" {
			t.Errorf("listener %d: %q, %v", i, got, err)
		}
	}
	slow, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		got, err := get(0, "/slow")
		slow <- got
		if err != nil {
			slow <- err.Error()
		}
	}()
	<-asked
	go func() { ended <- stop() }()
	redistest.Eventually(t, patience, "the port to be closed", func() error {
		if c, err := net.Dial("tcp", addresses[0]); err == nil {
			c.Close()
			return errors.New("it is open")
		}
		return nil
	})
	close(go1)
	if got := <-slow; got != "answer of /slow" {
		t.Errorf("what ran at the end: %q", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRefuses: what is no request gets 400, and a handler that panics costs its
// own connection alone.
func TestRefuses(t *testing.T) {
	t.Parallel()
	addresses, stop := start(t, 1, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic(http.ErrAbortHandler)
		}
	}))
	for request, want := range map[string]string{
		"nonsense\r\n\r\n":                             "HTTP/1.1 400 ",
		"GET /panic HTTP/1.1\r\nHost: x\r\n\r\n":       "",
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":            "HTTP/1.1 200 ",
		"GET / HTTP/1.1\r\n\r\n":                       "HTTP/1.1 400 ",
		"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n": "HTTP/1.1 400 ",
	} {
		c, err := net.Dial("tcp", addresses[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 13)
		n, _ := io.ReadFull(c, b) // it may be closed at once
		if got := string(b[:n]); !strings.HasPrefix(got, want) || want == "" && n > 0 {
			t.Errorf("%q: got %q, want %q", request, got, want)
		}
		c.Close()
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestListenerFails: a listener that somebody closed ends it, with an error.
func TestListenerFails(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := exporter.Serve(t.Context(), []net.Listener{l}, http.NotFoundHandler(), slog.New(slog.DiscardHandler)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
