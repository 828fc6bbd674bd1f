package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	redisv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/redis_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
	"github.com/dragoman-mesh/dragoman/pkg/xds/snapshot"
)

// patience is how long a test waits for what must happen.
const patience = time.Minute

func fromJSON[M proto.Message](m M, text string) M {
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		panic(fmt.Sprintf("%v in\n%s", err, text))
	}
	return m
}

func listener(name string, port int, cluster string) *listenerv3.Listener {
	return fromJSON(&listenerv3.Listener{}, fmt.Sprintf(`{"name": %q, "address": {"socket_address": {"address": "127.0.0.1", "port_value": %d}},
	  "filter_chains": [{"filters": [{"name": "f", "typed_config": {
	    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "cluster": %q}}]}]}`, name, port, cluster))
}

// tlsListener needs a secret.
func tlsListener(name string, port int, cluster, secret string) *listenerv3.Listener {
	l := listener(name, port, cluster)
	l.FilterChains[0].TransportSocket = fromJSON(&corev3.TransportSocket{}, fmt.Sprintf(`{"name": "tls", "typed_config": {
	  "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
	  "common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": %q, "sds_config": {"ads": {}, "resource_api_version": "V3"}}]}}}`, secret))
	return l
}

func edsCluster(name string) *clusterv3.Cluster {
	return fromJSON(&clusterv3.Cluster{}, fmt.Sprintf(`{"name": %q, "type": "EDS", "eds_cluster_config": {"eds_config": {"ads": {}, "resource_api_version": "V3"}}}`, name))
}

func staticCluster(name, address string) *clusterv3.Cluster {
	return fromJSON(&clusterv3.Cluster{}, fmt.Sprintf(`{"name": %q, "type": "STATIC", "load_assignment": {"cluster_name": %q, "endpoints": [
	  {"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": %q, "port_value": 6379}}}}]}]}}`, name, name, address))
}

// badCluster is refused by the parser.
func badCluster(name string) *clusterv3.Cluster {
	c := staticCluster(name, "10.0.0.1")
	c.Http2ProtocolOptions = &corev3.Http2ProtocolOptions{} //nolint:staticcheck // what is not supported
	return c
}

func assignment(name string, addresses ...string) *endpointv3.ClusterLoadAssignment {
	a := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	for _, address := range addresses {
		a.Endpoints = append(a.Endpoints, fromJSON(&endpointv3.LocalityLbEndpoints{}, fmt.Sprintf(
			`{"lb_endpoints": [{"endpoint": {"address": {"socket_address": {"address": %q, "port_value": 6379}}}}]}`, address)))
	}
	return a
}

const secretValue = "c2VjcmV0IHZhbHVl-do-not-tell"

func certificate(name string) *tlsv3.Secret {
	return fromJSON(&tlsv3.Secret{}, fmt.Sprintf(`{"name": %q, "tls_certificate": {
	  "certificate_chain": {"inline_string": "chain"}, "private_key": {"inline_string": %q}}}`, name, secretValue))
}

// consumer builds snapshots as a proxy does, and remembers them.
type consumer struct {
	refuse func(client.Update) error // nil: only what is no snapshot is refused

	mu      sync.Mutex
	updates []client.Update
	snaps   []*snapshot.Snapshot
	changed chan struct{}
}

func newConsumer() *consumer { return &consumer{changed: make(chan struct{}, 1)} }

// Apply implements client.Consumer.
func (c *consumer) Apply(_ context.Context, u client.Update) error {
	snap, err := snapshot.Build(u.Set)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuse != nil {
		if err := c.refuse(u); err != nil {
			return err
		}
	}
	c.updates, c.snaps = append(c.updates, u), append(c.snaps, snap)
	return nil
}

// last is what runs; nil: nothing.
func (c *consumer) last() (*snapshot.Snapshot, client.Update) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.snaps) == 0 {
		return nil, client.Update{}
	}
	return c.snaps[len(c.snaps)-1], c.updates[len(c.updates)-1]
}

func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.snaps)
}

// runs waits until what runs is as wanted: "listener:cluster:host,host" for each
// listener, sorted.
func (c *consumer) runs(t *testing.T, want ...string) client.Update {
	t.Helper()
	var got []string
	var u client.Update
	eventually(t, func() bool {
		var snap *snapshot.Snapshot
		snap, u = c.last()
		got = summary(snap)
		return snap != nil && slices.Equal(got, want)
	}, func() string { return fmt.Sprintf("it runs %q, want %q", got, want) })
	return u
}

func summary(snap *snapshot.Snapshot) []string {
	if snap == nil {
		return nil
	}
	out := []string{}
	for name, l := range snap.Listeners {
		cluster := l.Filter.Config.ClusterNames()[0]
		line := name + ":" + cluster + ":"
		for i, e := range snap.Clusters[cluster].Endpoints {
			if i > 0 {
				line += ","
			}
			line += e.Host
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// eventually polls until ok, and says what was wrong when that never happens.
func eventually(t *testing.T, ok func() bool, wrong func() string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatal(wrong())
		case <-tick.C:
		}
	}
}

// options are those of a client for tests: no pauses, plain text.
func options(t *testing.T, c client.Consumer, servers ...string) client.Options {
	t.Helper()
	return client.Options{
		Servers:     servers,
		Credentials: func(string) (credentials.TransportCredentials, error) { return insecure.NewCredentials(), nil },
		Node:        &corev3.Node{Id: "web-0.shop", Cluster: "web"},
		BackoffBase: 5 * time.Millisecond, BackoffMax: 50 * time.Millisecond,
		Consumer: c, Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// testWriter shows the log with a failed test, and fails where a secret is in it.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if containsSecret(p) {
		w.t.Error("a secret is in the log")
	}
	w.t.Logf("%s", p)
	return len(p), nil
}

// start runs a client until the test ends, or until stop.
func start(t *testing.T, o client.Options) (c *client.Client, stop func()) {
	t.Helper()
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run: %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not end")
		}
	})
	t.Cleanup(stop)
	return c, stop
}

// serve runs a gRPC server until the test ends, or until stop.
func serve(t *testing.T, register func(*grpc.Server), more ...grpc.ServerOption) (address string, stop func()) {
	t.Helper()
	return serveAt(t, "127.0.0.1:0", register, more...)
}

func serveAt(t *testing.T, at string, register func(*grpc.Server), more ...grpc.ServerOption) (address string, stop func()) {
	t.Helper()
	var config net.ListenConfig
	l, err := config.Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(more...)
	register(s)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	stop = sync.OnceFunc(func() {
		s.Stop()
		<-done
	})
	t.Cleanup(stop)
	return l.Addr().String(), stop
}

// nobody gives an address on which nobody listens.
func nobody(t *testing.T) string {
	t.Helper()
	address, stop := serve(t, func(*grpc.Server) {})
	stop()
	return address
}

func cachePath(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "last.xds")
}

// redisPassword is a password that stands in the cluster itself.
func redisPassword(password string) map[string]*anypb.Any {
	packed, err := anypb.New(fromJSON(&redisv3.RedisProtocolOptions{}, fmt.Sprintf(`{"auth_password": {"inline_string": %q}}`, password)))
	if err != nil {
		panic(err)
	}
	return map[string]*anypb.Any{resource.RedisProtocolOptionsKey: packed}
}
