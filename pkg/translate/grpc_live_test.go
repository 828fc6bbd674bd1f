package translate_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/xds"

	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestGRPCClientFindsAService: grpc-go's own xDS client resolves each name of a
// Service through go-control-plane's server, calls all of its endpoints, and
// follows when they change.
func TestGRPCClientFindsAService(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, b, c := healthServer(t), healthServer(t), healthServer(t)
	cache := cachev3.NewSnapshotCache(false, cachev3.IDHash{}, nil)
	publish(t, cache, "1", serviceAt(a, b))
	resolver, err := xds.NewXDSResolverWithConfigForTesting(fmt.Appendf(nil,
		`{"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}]}], "node": {"id": "n1"}}`,
		serveXDS(t, cache)))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range translate.GRPCNames(inventory.Key{Namespace: "shop", Name: "web"}, 80, "mesh.example") {
		conn, err := grpc.NewClient("xds:///"+name, grpc.WithResolvers(resolver), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		untilCalled(ctx, t, conn, a, b)
		if name == "web.shop:80" {
			publish(t, cache, "2", serviceAt(c))
			untilCalled(ctx, t, conn, c)
			publish(t, cache, "3", serviceAt(a, b))
		}
	}
}

func serviceAt(addresses ...net.Addr) *inventory.Service {
	svc := &inventory.Service{
		Key:   inventory.Key{Namespace: "shop", Name: "web"},
		Ports: []inventory.ServicePort{{Name: "grpc", Port: 80, Protocol: "TCP"}},
	}
	for i, address := range addresses {
		at := address.(*net.TCPAddr)
		svc.Endpoints = append(svc.Endpoints, inventory.Endpoint{
			Address: at.IP.String(), Ports: map[string]uint32{"grpc": uint32(at.Port)}, Ready: true,
			Zone: strings.Repeat("z", i), // the first says none
		})
	}
	return svc
}

// healthServer answers health checks on a port of its own.
func healthServer(t *testing.T) net.Addr {
	t.Helper()
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	return serve(t, s)
}

func serveXDS(t *testing.T, cache cachev3.SnapshotCache) string {
	t.Helper()
	s := grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, serverv3.NewServer(t.Context(), cache, nil))
	return serve(t, s).String()
}

// serve runs a server until the end of the test.
func serve(t *testing.T, s *grpc.Server) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr()
}

func publish(t *testing.T, cache cachev3.SnapshotCache, version string, svc *inventory.Service) {
	t.Helper()
	set, _, err := translate.GRPCService(svc, 80, translate.Spot{}, "mesh.example")
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := cachev3.NewSnapshot(version, byType(set))
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.SetSnapshot(t.Context(), "n1", snapshot); err != nil {
		t.Fatal(err)
	}
}

func byType(set resource.Set) map[resourcev3.Type][]types.Resource {
	out := make(map[resourcev3.Type][]types.Resource)
	for _, p := range set.Listeners {
		out[resourcev3.ListenerType] = append(out[resourcev3.ListenerType], p)
	}
	for _, p := range set.Routes {
		out[resourcev3.RouteType] = append(out[resourcev3.RouteType], p)
	}
	for _, p := range set.Clusters {
		out[resourcev3.ClusterType] = append(out[resourcev3.ClusterType], p)
	}
	for _, p := range set.Endpoints {
		out[resourcev3.EndpointType] = append(out[resourcev3.EndpointType], p)
	}
	return out
}

// untilCalled calls until ten calls in a row went to the servers that are wanted
// and to each of them.
func untilCalled(ctx context.Context, t *testing.T, conn *grpc.ClientConn, want ...net.Addr) {
	t.Helper()
	for ctx.Err() == nil {
		called := make(map[string]bool)
		for range 10 {
			var from peer.Peer
			_, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.Peer(&from), grpc.WaitForReady(true))
			if err != nil {
				t.Fatal(err)
			}
			called[from.Addr.String()] = true
		}
		all := len(called) == len(want)
		for _, address := range want {
			all = all && called[address.String()]
		}
		if all {
			return
		}
	}
	t.Fatal("the calls do not go to the servers that are wanted")
}
