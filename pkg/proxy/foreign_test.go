package proxy_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/inventory"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/client"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const nodeID = "web-1.shop"

// foreign is somebody else's control plane: go-control-plane's own server.
type foreign struct {
	t       *testing.T
	addr    string
	cache   cachev3.SnapshotCache
	version int
	grpc    *grpc.Server
	cancel  context.CancelFunc
}

func startForeign(t *testing.T) *foreign {
	t.Helper()
	f := &foreign{
		t: t, addr: local(redistest.Port(t)),
		cache: cachev3.NewSnapshotCache(false, cachev3.IDHash{}, nil),
	}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *foreign) start() {
	f.t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(f.t.Context(), "tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.grpc, f.cancel = grpc.NewServer(), cancel
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(f.grpc, serverv3.NewServer(ctx, f.cache, nil))
	server := f.grpc
	go func() { _ = server.Serve(ln) }() // until stop
}

func (f *foreign) stop() {
	f.cancel()
	f.grpc.Stop()
}

// publish makes a set what the node gets.
func (f *foreign) publish(set *resource.Set) {
	f.t.Helper()
	f.version++
	snap, err := cachev3.NewSnapshot(strconv.Itoa(f.version), map[string][]types.Resource{
		resource.ListenerType: generic(set.Listeners),
		resource.ClusterType:  generic(set.Clusters),
		resource.EndpointType: generic(set.Endpoints),
		resource.SecretType:   generic(set.Secrets),
		resource.RouteType:    generic(set.Routes),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.cache.SetSnapshot(f.t.Context(), nodeID, snap); err != nil {
		f.t.Fatal(err)
	}
}

func generic[P proto.Message](list []P) []types.Resource {
	out := make([]types.Resource, len(list))
	for i, p := range list {
		out[i] = proto.Clone(p)
	}
	return out
}

// options take a proxy's configuration from f, with quick retries.
func (f *foreign) options(change ...func(*client.Options)) func(*proxy.Options) {
	return func(o *proxy.Options) {
		c := &client.Options{
			Servers:         []string{f.addr},
			Credentials:     func(string) (credentials.TransportCredentials, error) { return insecure.NewCredentials(), nil },
			Node:            &corev3.Node{Id: nodeID},
			BackoffBase:     20 * time.Millisecond,
			BackoffMax:      100 * time.Millisecond,
			ResourceTimeout: 2 * time.Second,
			CacheWait:       100 * time.Millisecond,
		}
		for _, ch := range change {
			ch(c)
		}
		o.Source, o.ControlPlane = nil, c
	}
}

// mesh is a set that can be edited as a control plane would.
type meshSet struct {
	t *testing.T
	resource.Set
}

// translated makes the resources of a document, for an environment, with
// endpoints by EDS.
func translated(t *testing.T, document, environment string, secrets ...*inventory.Secret) *meshSet {
	t.Helper()
	objs, wrong := mesh.Decode("test", []byte(document), mesh.InCluster())
	if err := wrong.Err(); err != nil {
		t.Fatal(err)
	}
	world := inventory.NewStore()
	for _, s := range secrets {
		inventory.Put(world, inventory.Ref{Kind: inventory.KindSecret, Key: s.Key}, s, time.Now())
	}
	set, conditions := translate.Translate(objs, translate.Node{Facts: mesh.NodeFacts{Flag: environment}}, world)
	for _, c := range conditions {
		if !c.Status {
			t.Fatal(c.Message)
		}
	}
	m := &meshSet{t, set}
	for _, c := range m.Clusters {
		if c.GetType() != clusterv3.Cluster_STATIC {
			continue
		}
		load := c.GetLoadAssignment()
		load.ClusterName = c.GetName()
		m.Endpoints = append(m.Endpoints, load)
		c.LoadAssignment = nil
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{
			ServiceName: c.GetName(),
			EdsConfig:   &corev3.ConfigSource{ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}},
		}
	}
	return m
}

// endpoints finds the addresses of a cluster.
func (m *meshSet) addresses(cluster string) []*corev3.SocketAddress {
	var list []*corev3.SocketAddress
	for _, e := range m.Endpoints {
		if e.GetClusterName() != cluster {
			continue
		}
		for _, l := range e.GetEndpoints() {
			for _, one := range l.GetLbEndpoints() {
				list = append(list, one.GetHostIdentifier().(*endpointv3.LbEndpoint_Endpoint).Endpoint.GetAddress().GetSocketAddress())
			}
		}
	}
	if len(list) == 0 {
		m.t.Fatalf("no endpoints of %q in %v", cluster, m.Endpoints)
	}
	return list
}

// move gives the i-th endpoint of a cluster another port.
func (m *meshSet) move(cluster string, i, port int) {
	m.addresses(cluster)[i].PortSpecifier = &corev3.SocketAddress_PortValue{PortValue: uint32(port)}
}

// secret is one of Kubernetes, of keys and values by turns.
func secret(name string, data ...string) *inventory.Secret {
	s := &inventory.Secret{Key: inventory.Key{Namespace: "default", Name: name}, Data: map[string][]byte{}}
	for i := 0; i < len(data); i += 2 {
		s.Data[data[i]] = []byte(data[i+1])
	}
	return s
}

// shards is an environment "test" with one shard for each address.
func shards(nodes ...*redistest.Node) string {
	text := "test: {shards: ["
	for i, n := range nodes {
		text += fmt.Sprintf("{name: s%d, primary: {address: %q}}, ", i, n.Addr())
	}
	return text + "]}"
}
