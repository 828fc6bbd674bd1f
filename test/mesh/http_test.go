package mesh

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// httpWorld is an app's server that says where it is and whom it was asked as.
// It returns its port.
func httpWorld(t *testing.T, name string) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name, " ", r.Host, " ", r.URL)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// httpClient keeps to one connection.
type httpClient struct {
	net.Conn
	in *bufio.Reader
}

// get gives the body of an answer.
func (c *httpClient) get(path string) (string, error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: app\r\n\r\n", path); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// TestHTTP has requests of a client that stays connected follow the Service's
// endpoints and the environment, as the control plane learns of them.
func TestHTTP(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	namespace := func(environment string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {mesh.dragoman.io/environment: %s}}\n", environment)
	}
	orders := func(environment string) string {
		return serviceOf("shop", "orders-"+environment, 80, httpWorld(t, environment))
	}
	p := startPlane(t, map[string]string{
		"namespace.yaml": namespace("dev"), "dev.yaml": orders("dev"), "prod.yaml": orders("prod"),
		"orders.yaml": fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  protocol: http
  listen: {port: %d}
  http:
    routes: [{prefix: /v1, rewrite: /api}]
  environments:
    dev: {service: {name: orders-dev, port: 80}}
    prod: {service: {name: orders-prod, port: 80}}
`, port),
	}, web)
	proxy := p.proxy(web, t.TempDir())
	proxy.Ready("LIVE")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(4 * limit)); err != nil {
		t.Fatal(err)
	}
	c := &httpClient{conn, bufio.NewReader(conn)}
	asks := func(want string) {
		t.Helper()
		proxy.Eventually("the answer "+want, func() error {
			got, err := c.get("/v1/a?b=c")
			if err != nil {
				t.Fatalf("the client was dropped: %v", err)
			}
			if got != want {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	asks("dev orders-dev.shop /api/a?b=c")
	p.write("dev.yaml", serviceOf("shop", "orders-dev", 80, httpWorld(t, "other")))
	asks("other orders-dev.shop /api/a?b=c")
	p.write("namespace.yaml", namespace("prod"))
	asks("prod orders-prod.shop /api/a?b=c")
}
