package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// httpWorld is an app's server of one environment. It says which one, and what it was asked for.
func httpWorld(t *testing.T, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/failing" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprint(w, name, " ", r.Method, " ", r.URL)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// httpClient keeps to one connection.
type httpClient struct {
	net.Conn
	t  *testing.T
	in *bufio.Reader
}

func dialHTTP(t *testing.T, addr string) *httpClient {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * readyLimit)); err != nil {
		t.Fatal(err)
	}
	return &httpClient{c, t, bufio.NewReader(c)}
}

// get gives status and body.
func (c *httpClient) get(path string) string {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: orders\r\n\r\n", path); err != nil {
		c.t.Fatal(err)
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
	return fmt.Sprint(resp.StatusCode, " ", string(body))
}

// TestHTTPEnvironments has an app talk HTTP to the server of its environment, and go over to the other one, on the connection that it has,
// when the pod's label changes.
func TestHTTPEnvironments(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: http
  listen: {port: %d}
  http:
    routes:
    - {prefix: /internal, status: 403}
    - {prefix: /v1, rewrite: /api/v1}
  environments:
    dev: {address: %q}
    prod: {address: %q}
`, port, httpWorld(t, "dev"), httpWorld(t, "prod")))
	label := filepath.Join(t.TempDir(), "labels")
	filetest.Put(t, label, labels("dev"))
	p := launch(t, nil, "run", "-f", file, "--labels-file", label)
	p.awaitReady()
	c := dialHTTP(t, mesh{port: port}.Addr())
	want := func(path, answer string) {
		t.Helper()
		if got := c.get(path); got != answer {
			t.Errorf("GET %s: got %q, want %q", path, got, answer)
		}
	}
	want("/a?b=c", "200 dev GET /a?b=c")
	want("/v1/orders", "200 dev GET /api/v1/orders")
	want("/internal/x", "403 ")
	for range 10 { // nothing is ejected for what the app itself says
		want("/failing", "500 dev GET /failing")
	}
	filetest.Put(t, label, labels("prod"))
	redistest.Eventually(t, readyLimit, "requests to go to prod", func() error {
		if got := c.get("/"); got != "200 prod GET /" {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	want("/v1/orders", "200 prod GET /api/v1/orders")
}
