package client_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func containsSecret(p []byte) bool { return bytes.Contains(p, []byte(secretValue)) }

// foreign is go-control-plane's own server.
type foreign struct {
	cache   cache.SnapshotCache
	version int

	mu    sync.Mutex
	nacks []string
	acks  map[string]int // by type URL
}

func newForeign(ads bool) *foreign {
	return &foreign{cache: cache.NewSnapshotCache(ads, cache.IDHash{}, nil), acks: make(map[string]int)}
}

func (f *foreign) register(s *grpc.Server) { f.registerWith(s) }

// grpcRegistrar gets hold of a service without a server.
type grpcRegistrar struct {
	service discoveryv3.AggregatedDiscoveryServiceServer
}

// RegisterService implements grpc.ServiceRegistrar.
func (r *grpcRegistrar) RegisterService(_ *grpc.ServiceDesc, service any) {
	r.service, _ = service.(discoveryv3.AggregatedDiscoveryServiceServer)
}

func (f *foreign) registerWith(s grpc.ServiceRegistrar) {
	callbacks := server.CallbackFuncs{
		StreamRequestFunc: func(_ int64, r *discoveryv3.DiscoveryRequest) error {
			f.note(r.GetTypeUrl(), r.GetResponseNonce(), r.GetErrorDetail().GetMessage())
			return nil
		},
		StreamDeltaRequestFunc: func(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
			f.note(r.GetTypeUrl(), r.GetResponseNonce(), r.GetErrorDetail().GetMessage())
			return nil
		},
	}
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, server.NewServer(context.Background(), f.cache, callbacks))
}

func (f *foreign) note(typeURL, nonce, problem string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case problem != "":
		f.nacks = append(f.nacks, problem)
	case nonce != "":
		f.acks[typeURL]++
	}
}

func (f *foreign) refusals() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nacks)
}

func (f *foreign) accepted(typeURL string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.acks[typeURL]
}

// set makes these the node's resources.
func (f *foreign) set(t *testing.T, resources ...types.Resource) {
	t.Helper()
	f.version++
	byType := make(map[string][]types.Resource)
	for _, r := range resources {
		switch r.(type) {
		case *listenerv3.Listener:
			byType[resource.ListenerType] = append(byType[resource.ListenerType], r)
		case *clusterv3.Cluster:
			byType[resource.ClusterType] = append(byType[resource.ClusterType], r)
		case *endpointv3.ClusterLoadAssignment:
			byType[resource.EndpointType] = append(byType[resource.EndpointType], r)
		case *tlsv3.Secret:
			byType[resource.SecretType] = append(byType[resource.SecretType], r)
		default:
			t.Fatalf("unknown resource %T", r)
		}
	}
	snap, err := cache.NewSnapshot(fmt.Sprint("v", f.version), byType)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.cache.SetSnapshot(t.Context(), "web-0.shop", snap); err != nil {
		t.Fatal(err)
	}
}

// TestForeignControlPlane takes a client through the life of a configuration
// that go-control-plane's server gives, in both protocols.
func TestForeignControlPlane(t *testing.T) {
	t.Parallel()
	for _, mode := range []client.Mode{client.Delta, client.SotW} {
		for _, ads := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s ads=%t", mode, ads), func(t *testing.T) {
				t.Parallel()
				foreignLife(t, mode, newForeign(ads))
			})
		}
	}
}

func foreignLife(t *testing.T, mode client.Mode, f *foreign) {
	t.Helper()
	address, _ := serve(t, f.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.Mode = mode
	c, _ := start(t, o)

	f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.1"))
	proxy.runs(t, "l1:c1:10.0.0.1")

	// More endpoints; another listener with another cluster, and a secret.
	f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.1", "10.0.0.2"),
		tlsListener("l2", 1002, "c2", "s1"), edsCluster("c2"), assignment("c2", "10.0.0.3"), certificate("s1"))
	proxy.runs(t, "l1:c1:10.0.0.1,10.0.0.2", "l2:c2:10.0.0.3")

	// A bad cluster: the old version goes on, the rest of the change is taken.
	f.set(t, listener("l1", 1001, "c1"), edsCluster("c1"), assignment("c1", "10.0.0.9"),
		tlsListener("l2", 1002, "c2", "s1"), badCluster("c2"), assignment("c2", "10.0.0.3"), certificate("s1"))
	proxy.runs(t, "l1:c1:10.0.0.9", "l2:c2:10.0.0.3")
	eventually(t, func() bool {
		n := f.refusals()
		return len(n) > 0 && strings.Contains(n[0], `Cluster "c2": http2_protocol_options: is not supported`)
	}, func() string { return fmt.Sprintf("NACKs: %q", f.refusals()) })

	// It is mended, and moves.
	before := f.accepted(resource.ClusterType)
	f.set(t, listener("l1", 1001, "c2"), staticCluster("c2", "10.0.0.4"))
	proxy.runs(t, "l1:c2:10.0.0.4")
	eventually(t, func() bool { return f.accepted(resource.ClusterType) > before },
		func() string { return "the mended cluster is not acknowledged" })

	s := c.Status()
	if !s.Connected || s.Server != address || s.Mode != mode || s.Origin.Disk {
		t.Errorf("status: %+v", s)
	}
	f.set(t)
	proxy.runs(t)
}

// TestForeignNackStorm shows that a server that answers every NACK with the same
// again (as go-control-plane's SotW does) is not asked thousands of times.
func TestForeignNackStorm(t *testing.T) {
	t.Parallel()
	f := newForeign(false)
	address, _ := serve(t, f.register)
	proxy := newConsumer()
	o := options(t, proxy, address)
	o.Mode = client.SotW
	start(t, o)
	f.set(t, listener("l1", 1001, "c1"), staticCluster("c1", "10.0.0.1"), badCluster("c2"))
	proxy.runs(t, "l1:c1:10.0.0.1")
	<-time.After(300 * time.Millisecond)
	if n := len(f.refusals()); n < 1 || n > 3 {
		t.Errorf("%d NACKs in the first moments, want one or two", n)
	}
	// The storm is over as soon as the resource is well.
	f.set(t, listener("l1", 1001, "c2"), staticCluster("c2", "10.0.0.2"))
	proxy.runs(t, "l1:c2:10.0.0.2")
}
