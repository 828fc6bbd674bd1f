package server_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/xds"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// backend is a gRPC server to be found over xDS.
func backend(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	healthv1.RegisterHealthServer(s, health.NewServer())
	go func() { _ = s.Serve(listener) }()
	t.Cleanup(s.Stop)
	return listener.Addr().String()
}

func packed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// ads says that a resource comes over the same stream.
func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
	}
}

// apiListener is what gRPC asks for under the name of its target.
func apiListener(t *testing.T, name string) *listenerv3.Listener {
	return &listenerv3.Listener{Name: name, ApiListener: &listenerv3.ApiListener{ApiListener: packed(t, &hcmv3.HttpConnectionManager{
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: "route"}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packed(t, &routerv3.Router{})},
		}},
	})}}
}

func route(domain string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{Name: "route", VirtualHosts: []*routev3.VirtualHost{{
		Name: "all", Domains: []string{domain},
		Routes: []*routev3.Route{{
			Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}},
			Action: &routev3.Route_Route{Route: &routev3.RouteAction{
				ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "cluster"},
			}},
		}},
	}}}
}

func edsCluster() *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: "cluster", LbPolicy: clusterv3.Cluster_ROUND_ROBIN,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: "endpoints"},
	}
}

func endpoints(t *testing.T, addresses ...string) *endpointv3.ClusterLoadAssignment {
	group := &endpointv3.LocalityLbEndpoints{
		Locality: &corev3.Locality{Region: "r", Zone: "z"}, LoadBalancingWeight: wrapperspb.UInt32(1),
	}
	for _, address := range addresses {
		addr, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		group.LbEndpoints = append(group.LbEndpoints, &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: addr.IP.String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(addr.Port)},
			}}}},
		}})
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: "endpoints", Endpoints: []*endpointv3.LocalityLbEndpoints{group}}
}

// put publishes real messages under their names.
func (w *world) put(messages map[string]proto.Message) {
	w.t.Helper()
	var changes []server.Change
	for word, m := range messages {
		short, name, _ := strings.Cut(word, "/")
		r, err := server.NewResource(typeURLs[short], name, m)
		if err != nil {
			w.t.Fatal(err)
		}
		changes = append(changes, server.Change{Key: server.Key{TypeURL: typeURLs[short], ID: name}, Resource: r, At: time.Now()})
	}
	w.server.Publish(changes)
}

// grpcClient is a client that finds its servers over xDS.
func grpcClient(t *testing.T, w *world, target string) healthv1.HealthClient {
	t.Helper()
	bootstrap := fmt.Sprintf(`{"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}]}], "node": {"id": "n1"}}`, w.address)
	resolver, err := xds.NewXDSResolverWithConfigForTesting([]byte(bootstrap))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithResolvers(resolver))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return healthv1.NewHealthClient(conn)
}

// callees calls so many times, and counts who has answered.
func callees(t *testing.T, client healthv1.HealthClient, calls int) map[string]int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got := map[string]int{}
	for range calls {
		var p peer.Peer
		if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{}, grpc.Peer(&p), grpc.WaitForReady(true)); err != nil {
			t.Fatal(err)
		}
		got[p.Addr.String()]++
	}
	return got
}

// TestGRPCsOwnClient has grpc-go's xds client resolve and balance over state of
// the world: two servers, then one of them and a third; a configuration that it
// refuses, and then a better one.
func TestGRPCsOwnClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	w.people.give(w.grant("lds/shop", "rds/route", "cds/cluster", "eds/endpoints"))
	one, two, three := backend(t), backend(t), backend(t)
	w.put(map[string]proto.Message{
		"lds/shop": apiListener(t, "shop"), "rds/route": route("shop"), "cds/cluster": edsCluster(), "eds/endpoints": endpoints(t, one, two),
	})
	client := grpcClient(t, w, "shop")
	eventually(t, "both answer", func() bool { got := callees(t, client, 10); return got[one] > 0 && got[two] > 0 })
	got := callees(t, client, 100)
	if got[one] < 30 || got[two] < 30 {
		t.Errorf("calls went to %v, want about as many to %s and %s", got, one, two)
	}

	w.put(map[string]proto.Message{"eds/endpoints": endpoints(t, two, three)})
	eventually(t, "the third answers and the first no longer does", func() bool {
		got := callees(t, client, 10)
		return got[three] > 0 && got[two] > 0 && got[one] == 0
	})

	w.put(map[string]proto.Message{"cds/cluster": &clusterv3.Cluster{
		Name: "cluster", ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS},
	}})
	refused := next(t, "the NACK", w.people.nacks)
	if refused.TypeURL != server.ClusterType || len(refused.Keys) != 1 || refused.Keys[0].ID != "cluster" || refused.Message == "" {
		t.Errorf("refused: %+v", refused)
	}
	if got := callees(t, client, 10); got[two] == 0 {
		t.Errorf("after the NACK calls went to %v", got)
	}
	pushes := w.metric("pushes_total", "cds")
	if c := w.server.Coverage(server.Key{TypeURL: server.ClusterType, ID: "cluster"}); c.Refused != 1 || len(c.Refusals) != 1 {
		t.Errorf("coverage of the refused cluster: %+v", c)
	}
	w.put(map[string]proto.Message{"cds/cluster": &clusterv3.Cluster{
		Name: "cluster", LbPolicy: clusterv3.Cluster_ROUND_ROBIN, ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:         &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: "endpoints"},
		MaxRequestsPerConnection: wrapperspb.UInt32(7), //nolint:staticcheck // any change will do
	}})
	eventually(t, "the better one is accepted", func() bool {
		return w.server.Coverage(server.Key{TypeURL: server.ClusterType, ID: "cluster"}).Acked == 1
	})
	if got := w.metric("pushes_total", "cds"); got != pushes+1 {
		t.Errorf("%v responses after the NACK, want one, for the new version", got-pushes)
	}
}

// TestGRPCsOwnClientOnDemand has resources made when a client asks for them.
func TestGRPCsOwnClientOnDemand(t *testing.T) {
	t.Parallel()
	w := newWorld(t, server.Limits{})
	address := backend(t)
	w.people.finder = func(n *server.Node, typeURL string, names []string) {
		if typeURL != server.ListenerType || len(names) != 1 || names[0] != "made" {
			t.Errorf("asked to find %s %v", typeURL, names)
			return
		}
		n.SetGrant(w.grant("lds/made", "rds/route", "cds/cluster", "eds/endpoints"))
		w.put(map[string]proto.Message{
			"lds/made": apiListener(t, "made"), "rds/route": route("*"), "cds/cluster": edsCluster(), "eds/endpoints": endpoints(t, address),
		})
	}
	if got := callees(t, grpcClient(t, w, "made"), 3); got[address] != 3 {
		t.Errorf("calls went to %v, want %s", got, address)
	}
}
