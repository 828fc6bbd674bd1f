package grpcjson_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/grpctest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	filterhttp "github.com/dragoman-mesh/dragoman/pkg/filters/http"
	"github.com/dragoman-mesh/dragoman/pkg/filters/standard"
	"github.com/dragoman-mesh/dragoman/pkg/upstream"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const transcoder = "envoy.extensions.filters.http.grpc_json_transcoder.v3.GrpcJsonTranscoder"

// set is the test server's descriptors, as JSON has bytes.
func set() string { return base64.StdEncoding.EncodeToString(grpctest.Descriptors()) }

// parse reads a listener with one filter, given as JSON, before its router.
func parse(tb testing.TB, filter, route string) (*resource.HTTPManager, error) {
	tb.Helper()
	if route == "" {
		route = `{"match": {"prefix": "/"}, "route": {"cluster": "app"}}`
	}
	text := `{"name": "l", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}, "filter_chains": [{"filters": [{
	  "name": "h", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
	  "stat_prefix": "s", "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [` + route + `]}]},
	  "http_filters": [{"name": "grpcjson", "typed_config": ` + filter + `},
	    {"name": "router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}}]}]}`
	var p listenerv3.Listener
	if err := protojson.Unmarshal([]byte(text), &p); err != nil {
		tb.Fatal(err)
	}
	l, err := resource.ParseListener(&p)
	if err != nil {
		return nil, err
	}
	conf, ok := l.Filter.Config.(*resource.HTTPManager)
	if !ok {
		tb.Fatalf("the filter is a %T", l.Filter.Config)
	}
	return conf, nil
}

// envoy is Envoy's filter with the test's descriptors, and what else is said.
func envoy(more string) string {
	return `{"@type": "type.googleapis.com/` + transcoder + `", "proto_descriptor_bin": "` + set() + `", "services": ["` + grpctest.Orders + `", "` + grpctest.Files + `"]` + more + `}`
}

func cluster(addr string, protocol resource.HTTPProtocol) *resource.Cluster {
	host, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseUint(port, 10, 16)
	return &resource.Cluster{
		Name: "app", ConnectTimeout: 5 * time.Second, LB: resource.LoadBalancing{Policy: resource.LBRoundRobin},
		Redis: resource.RedisUpstream{ConnectionsPerEndpoint: 1}, HTTP: resource.HTTPUpstream{Protocol: protocol},
		Endpoints: []resource.Endpoint{{Host: host, Port: uint32(n), Name: addr, Shard: addr, Weight: 1}},
	}
}

// proxy runs a listener before an upstream, and gives its address.
func proxy(tb testing.TB, conf *resource.HTTPManager, app *resource.Cluster) (addr string, chain *standard.HTTPRegistry) {
	tb.Helper()
	chain = standard.HTTPFilters(slog.New(slog.DiscardHandler))
	return proxyOf(tb, chain, conf, app), chain
}

// proxyOf does it with these filters.
func proxyOf(tb testing.TB, chain *standard.HTTPRegistry, conf *resource.HTTPManager, app *resource.Cluster) (addr string) {
	tb.Helper()
	log := slog.New(slog.DiscardHandler)
	clusters := upstream.NewSet(upstream.Options{Log: log})
	tb.Cleanup(clusters.Close)
	if err := clusters.Apply([]*resource.Cluster{app}, nil); err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := clusters.Warm(ctx, []string{app.Name}); err != nil {
		tb.Fatal(err)
	}
	builder := filterhttp.NewBuilder(log, chain)
	f, err := builder.Build(conf, filters.Context{Listener: "l", Clusters: clusters, Log: log})
	if err != nil {
		tb.Fatal(err)
	}
	return filtertest.Listen(tb, 0, f, builder.Drain)
}

// start runs the proxy with a filter before the test server.
func start(tb testing.TB, filter string) string {
	tb.Helper()
	addr, _ := startWith(tb, filter, "")
	return addr
}

func startWith(tb testing.TB, filter, route string) (string, *standard.HTTPRegistry) {
	tb.Helper()
	conf, err := parse(tb, filter, route)
	if err != nil {
		tb.Fatal(err)
	}
	return proxy(tb, conf, cluster(grpctest.Serve(tb), resource.UpstreamHTTP2))
}

// clients are those that everybody has: HTTP/1.1, and HTTP/2 without TLS.
func clients(tb testing.TB) map[string]*http.Client {
	tb.Helper()
	two := &http.Protocols{}
	two.SetUnencryptedHTTP2(true)
	list := map[string]*http.Client{"HTTP/1.1": {Transport: &http.Transport{DisableCompression: true}}, "HTTP/2": {Transport: &http.Transport{Protocols: two, DisableCompression: true}}}
	tb.Cleanup(func() {
		for _, c := range list {
			c.CloseIdleConnections()
		}
	})
	return list
}

// reply is an answer, read to its end.
type reply struct {
	*http.Response
	body string
	err  error // of the body
}

// ask sends a request; the header is names and values in turn.
func ask(tb testing.TB, c *http.Client, method, url, body string, header ...string) *reply {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, url, strings.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &reply{resp, string(b), err}
}

// fields is a problem's status and the first field that it names.
func (r *reply) fields(tb testing.TB) string {
	tb.Helper()
	var p struct {
		Status int
		Detail string
		Errors []struct{ In, Field, Detail string }
	}
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.Header.Get("Content-Type") != "application/problem+json" || p.Status != r.StatusCode {
		tb.Errorf("no problem: %v %s %s", err, r.Status, r.body)
		return ""
	}
	if len(p.Errors) == 0 {
		return fmt.Sprintf("%d %s", p.Status, p.Detail)
	}
	return fmt.Sprintf("%d %s %s: %s", p.Status, p.Errors[0].In, p.Errors[0].Field, p.Errors[0].Detail)
}

// build makes the filters of a configuration, without a listener.
func build(log *slog.Logger, conf *resource.HTTPManager) error {
	_, err := filterhttp.NewBuilder(log, standard.HTTPFilters(log)).Build(conf, filters.Context{Listener: "l", Log: log})
	return err
}
