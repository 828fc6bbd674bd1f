package http_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/path/match/uri_template/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/path/rewrite/uri_template/v3"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	filterhttp "github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// routerChain builds routers, and the filters of answer.
type routerChain struct {
	*filterhttp.RouterBuilder
	testChain
}

func (c *routerChain) Describe(ch chan<- *prometheus.Desc) { c.RouterBuilder.Describe(ch) }
func (c *routerChain) Collect(ch chan<- prometheus.Metric) { c.RouterBuilder.Collect(ch) }
func (c *routerChain) Drain(ctx context.Context) error     { return c.RouterBuilder.Drain(ctx) }
func (c *routerChain) BuildHTTP(cfg any, ctx filters.Context) (filters.HTTP, error) {
	if _, ok := cfg.(*resource.RouterFilter); ok {
		return c.RouterBuilder.BuildHTTP(cfg, ctx)
	}
	return c.testChain.BuildHTTP(cfg, ctx)
}

// routesOf reads a route configuration, and refuses the test's own mistakes.
func routesOf(t *testing.T, json string) *resource.RouteConfig {
	t.Helper()
	var p routev3.RouteConfiguration
	if err := protojson.Unmarshal([]byte(json), &p); err != nil {
		t.Fatal(err)
	}
	c, err := resource.ParseRoutes(&p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// toCluster is a route configuration with one route, and what else is said of
// it.
func toCluster(t *testing.T, more string) *resource.RouteConfig {
	t.Helper()
	return routesOf(t, `{"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
	  {"match": {"prefix": "/"}, "route": {"cluster": "c"`+more+`}}]}]}`)
}

func clusterOf(name string, addrs ...string) *resource.Cluster {
	c := &resource.Cluster{
		Name: name, ConnectTimeout: 5 * time.Second, LB: resource.LoadBalancing{Policy: resource.LBRoundRobin},
		Redis: resource.RedisUpstream{ConnectionsPerEndpoint: 1},
	}
	for _, a := range addrs {
		host, port, _ := net.SplitHostPort(a)
		n, _ := strconv.ParseUint(port, 10, 16)
		c.Endpoints = append(c.Endpoints, resource.Endpoint{Host: host, Port: uint32(n), Name: a, Shard: a, Weight: 1})
	}
	return c
}

// proxy is a listener with a router in front of some clusters.
func proxy(t *testing.T, conf *resource.HTTPManager, clusters ...*resource.Cluster) *host {
	t.Helper()
	return proxyWith(t, conf, nil, clusters...)
}

// proxyWith is one that speaks TLS where cfg is not nil.
func proxyWith(t *testing.T, conf *resource.HTTPManager, cfg *tls.Config, clusters ...*resource.Cluster) *host {
	t.Helper()
	set := upstream.NewSet(upstream.Options{Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(set.Close)
	if err := set.Apply(clusters, nil); err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(clusters))
	for i, c := range clusters {
		names[i] = c.Name
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := set.Warm(ctx, names); err != nil {
		t.Fatal(err)
	}
	return newHostWith(t, conf, cfg, &routerChain{RouterBuilder: filterhttp.NewRouterBuilder(slog.New(slog.DiscardHandler))},
		filters.Context{Listener: "l", Clusters: set})
}

func routing(c *resource.RouteConfig) *resource.HTTPManager {
	m := manager(nil)
	m.Routes = c
	m.Filters = []resource.HTTPFilter{{Name: "router", TypeURL: resource.RouterType, Config: &resource.RouterFilter{}}}
	m.Headers.RequestID = true
	return m
}

// app is a server behind the proxy.
func app(t *testing.T, serve http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(serve)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// do sends a request and reads the answer.
func do(t *testing.T, method, url string, body io.Reader, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}
