package transform_test

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	filterhttp "github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/filters/standard"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// both are the versions of HTTP, in clear text.
func both() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// proxied runs a whole listener of a document before an app, and gives its URL.
func proxied(t *testing.T, api string, protocol resource.HTTPProtocol, app http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewUnstartedServer(app)
	server.Config.Protocols = both()
	server.Start()
	t.Cleanup(server.Close)
	listener, routes, c := parsed(t, api)
	host, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	n, _ := strconv.ParseUint(port, 10, 16)
	c.Endpoints = []resource.Endpoint{{Host: host, Port: uint32(n), Name: "app", Shard: "app", Weight: 1}}
	c.HTTP.Protocol = protocol
	return listen(t, listener, routes, c)
}

func listen(t *testing.T, listener *resource.Listener, routes *resource.RouteConfig, c *resource.Cluster) string {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	clusters := upstream.NewSet(upstream.Options{Log: log})
	t.Cleanup(clusters.Close)
	if err := clusters.Apply([]*resource.Cluster{c}, nil); err != nil {
		t.Fatal(err)
	}
	conf, ok := listener.Filter.Config.(*resource.HTTPManager)
	if !ok {
		t.Fatalf("the filter is a %T", listener.Filter.Config)
	}
	conf.Routes, conf.RoutesName = routes, ""
	builder := filterhttp.NewBuilder(log, standard.HTTPFilters(log))
	f, err := builder.Build(conf, filters.Context{Listener: "orders", Clusters: clusters, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + filtertest.Listen(t, 1, f, builder.Drain)
	filtertest.Eventually(t, "the app is reached", func() bool {
		resp, err := nettest.Client.Get(url + "/ready")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == http.StatusOK
	})
	return url
}

// TestRequestTrailers: those of a request whose body was changed go on, over both
// versions of HTTP on either side, without digests of the body that it was.
func TestRequestTrailers(t *testing.T) {
	t.Parallel()
	const api = `
    routes:
    - {match: {path: /whole}, request: {body: {from: json, to: xml, xml: {root: order}}}}
    - {match: {path: /checked}, request: {schema: {type: object}}}
    - {match: {path: /records}, request: {body: {from: ndjson, to: csv}}}
    - {match: {path: /ready}}
`
	for name, protocol := range map[string]resource.HTTPProtocol{"app with HTTP/1.1": resource.UpstreamHTTP1, "app with HTTP/2": resource.UpstreamHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := proxied(t, api, protocol, func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				fmt.Fprintf(w, "%s %v sum %q digest %q %d", strings.Join(strings.Fields(string(body)), ""), err, r.Trailer.Get("X-Sum"), r.Trailer.Get("Content-Digest"), r.ContentLength)
			})
			one, two := &http.Protocols{}, &http.Protocols{}
			one.SetHTTP1(true)
			two.SetUnencryptedHTTP2(true)
			for client, p := range map[string]*http.Protocols{"HTTP/1.1": one, "HTTP/2": two} {
				tr := &http.Transport{Protocols: p}
				t.Cleanup(tr.CloseIdleConnections)
				for path, want := range map[string]string{
					"/whole": `<order><a>1</a></order>`, "/checked": `{"a":1}`, "/records": "a1",
				} {
					req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+path, io.MultiReader(strings.NewReader(`{"a":1}`)))
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("Content-Type", map[string]string{"/records": "application/x-ndjson"}[path])
					if path != "/records" {
						req.Header.Set("Content-Type", "application/json")
					}
					req.Trailer = http.Header{"X-Sum": {"7"}, "Content-Digest": {"sha-256=:AAAA:"}}
					resp, err := tr.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
					text, _ := io.ReadAll(resp.Body)
					resp.Body.Close()
					if got := string(text); !strings.Contains(got, want+` <nil> sum "7" digest "" -1`) {
						t.Errorf("%s %s: %s %s", client, path, resp.Status, got)
					}
				}
			}
		})
	}
}
