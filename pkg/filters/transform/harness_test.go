package transform_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/route"
	"github.com/dragoman-mesh/dragoman/pkg/filters/transform"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// matched is an exchange that knows its route.
type matched struct {
	table *route.Table
	route *resource.Route
}

func (m *matched) FilterConfig(name string) any { return m.route.PerFilter[name].Config }
func (*matched) Timeout() time.Duration         { return 0 }
func (*matched) Explain(string, string)         {}
func (m *matched) Reroute(r *http.Request) {
	_, m.route = m.table.Find(&route.Request{
		Method: r.Method, Scheme: "http", Host: r.Host, Path: r.URL.EscapedPath(), Query: r.URL.RawQuery, Header: r.Header,
	})
}

// adapter is a document's filter before an app.
type adapter struct {
	*httptest.Server
	t        testing.TB
	registry *prometheus.Registry
}

// parsed is what an Adapter leads to. api is what spec.api has beside its listener and
// upstream, in YAML.
func parsed(t testing.TB, api string) (*resource.Listener, *resource.RouteConfig, *resource.Cluster) {
	t.Helper()
	objs, errs := mesh.Decode("api.yaml", []byte(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: orders}
spec:
  api:
    listen: {port: 8081}
    upstream: {address: "127.0.0.1:8080"}
`+api))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	set, _ := translate.Translate(objs, translate.Node{}, nil)
	routes, err := resource.ParseRoutes(set.Routes[0])
	if err != nil {
		t.Fatal(err)
	}
	listener, err := resource.ParseListener(set.Listeners[0])
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := resource.ParseCluster(set.Clusters[0])
	if err != nil {
		t.Fatal(err)
	}
	return listener, routes, cluster
}

// serve runs the filter of a document; api is as in parsed.
func serve(t testing.TB, api string, app http.HandlerFunc) *adapter {
	t.Helper()
	listener, routes, _ := parsed(t, api)
	manager, _ := listener.Filter.Config.(*resource.HTTPManager)
	builder := transform.NewBuilder()
	f, err := builder.BuildHTTP(manager.Filters[0].Config, filters.Context{Listener: "orders", Filter: manager.Filters[0].Name})
	if err != nil {
		t.Fatal(err)
	}
	table, handler := route.New(routes), f.Handler(app)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := &matched{table: table}
		m.Reroute(r)
		handler.ServeHTTP(w, r.WithContext(filters.WithExchange(r.Context(), m)))
	}))
	a := &adapter{Server: server, t: t, registry: prometheus.NewPedanticRegistry()}
	a.registry.MustRegister(builder)
	t.Cleanup(func() {
		server.Close()
		f.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := builder.Drain(ctx); err != nil {
			t.Error(err)
		}
	})
	return a
}

// failures is how many requests or responses were refused.
func (a *adapter) failures(direction string) float64 {
	families, err := a.registry.Gather()
	if err != nil {
		a.t.Error(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "dragoman_transform_failures_total" && l.GetName() == "direction" && l.GetValue() == direction {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

// answered is a response.
type answered struct {
	status int
	head   http.Header
	body   string
	late   http.Header // trailers
}

// String is the status, the content type and the body.
func (a answered) String() string {
	return fmt.Sprintf("%d %s\n%s", a.status, a.head.Get("Content-Type"), a.body)
}

// ask sends a request with headers in pairs.
func (a *adapter) ask(method, path, body string, header ...string) answered {
	a.t.Helper()
	return a.send(method, path, strings.NewReader(body), header...)
}

func (a *adapter) send(method, path string, body io.Reader, header ...string) answered {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.URL+path, body)
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := nettest.Client.Transport.RoundTrip(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	return answered{resp.StatusCode, resp.Header, string(text), resp.Trailer}
}

// echo answers with the request as it came, as text in a JSON string.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(w, "%s %s %s %d\n%s", r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.ContentLength, body)
}

// replies answers with these bytes, and headers in pairs.
func replies(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func zipped(t testing.TB, text string) string {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func unzipped(t testing.TB, text string) string {
	t.Helper()
	r, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}
