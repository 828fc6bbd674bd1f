package http_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestNominated: a client's Connection takes out headers of its own, and none that
// the proxy or a filter adds.
func TestNominated(t *testing.T) { overEngines(t, testNominated) }

func testNominated(t *testing.T, e engine) {
	conf := routing(toCluster(t, ""))
	conf.Headers.UseRemoteAddress, conf.Headers.RequestID = true, true
	seen := make(chan http.Header, 1)
	c := e.proxy(t, conf, clusterOf("c", app(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))).dial()
	const request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For,x-forwarded-proto\r\n" +
		"Connection: X-Request-Id, Keep-Alive, X-Own\r\nX-Own: 1\r\nX-Other: 2\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Fatalf("%q, %v", answer, err)
	}
	h := <-seen
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Request-Id", "X-Other"} {
		if h.Get(name) == "" {
			t.Errorf("the app has not got %s: %v", name, h)
		}
	}
	for _, name := range []string{"X-Own", "Connection", "Keep-Alive"} {
		if h[name] != nil {
			t.Errorf("the app has got %s: %v", name, h)
		}
	}
	if got := h.Get("X-Forwarded-For"); got != "127.0.0.1" {
		t.Errorf("X-Forwarded-For is %q", got)
	}
}

// TestNominatedByFilter: what a filter sets goes on, whatever the client's
// Connection names.
func TestNominatedByFilter(t *testing.T) {
	t.Parallel()
	conf := routing(toCluster(t, ""))
	sets := manager(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Set("X-Tenant", "acme")
		next.ServeHTTP(w, r)
	})
	conf.Filters = append(sets.Filters, conf.Filters...)
	seen := make(chan http.Header, 1)
	c := proxy(t, conf, clusterOf("c", app(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header }))).dial()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Tenant\r\nX-Tenant: other\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Fatalf("%q, %v", answer, err)
	}
	if h := <-seen; h.Get("X-Tenant") != "acme" {
		t.Errorf("the app has got %v", h)
	}
}
