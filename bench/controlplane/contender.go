package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	resourcev3 "github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/pkg/xds/server"
)

// contender is an ADS server with a mesh in it.
type contender interface {
	// serve gives the gRPC server, registered.
	serve(options ...grpc.ServerOption) *grpc.Server
	// change puts a new version of one service's endpoints in place.
	change(service, generation int) error
	// convergence are the times from change to ACK since it was last asked, if the
	// contender knows them.
	convergence() []time.Duration
}

func newContender(name string, s size) (contender, error) {
	switch name {
	case "dragoman":
		return newDragoman(s)
	case "snapshot":
		return newSnapshots(s)
	case "linear":
		return newLinear(s)
	default:
		return nil, fmt.Errorf("no contender %q", name)
	}
}

// dragoman is pkg/xds/server.
type dragoman struct {
	size   size
	server *server.Server
	grants map[string]*server.Grant

	mu    sync.Mutex
	times []time.Duration
}

func newDragoman(s size) (*dragoman, error) {
	d := &dragoman{size: s, grants: map[string]*server.Grant{}}
	d.server = server.New(server.Options{Nodes: d, Observer: d, Limits: server.Limits{
		Streams: 2 * s.Proxies, Pending: 2 * s.Proxies, StreamsPerIdentity: 2 * s.Proxies, Connects: math.MaxInt32, Burst: math.MaxInt32, ConnectionAge: -1,
	}})
	changes := make([]server.Change, s.Services)
	for i := range changes {
		c, err := d.version(i, 0)
		if err != nil {
			return nil, err
		}
		changes[i] = c
	}
	d.server.Publish(changes)
	for p := range s.Proxies {
		names := map[string]string{}
		for _, i := range s.names(p) {
			names[changes[i].Key.ID] = changes[i].Key.ID // strings that exist once, as a control plane's do
		}
		d.grants[nodeID(p)] = d.server.NewGrant(map[string]map[string]string{server.EndpointType: names})
	}
	return d, nil
}

func (d *dragoman) version(service, generation int) (server.Change, error) {
	r, err := server.NewResource(server.EndpointType, serviceName(service), d.size.assignment(service, generation))
	return server.Change{Key: server.Key{TypeURL: server.EndpointType, ID: serviceName(service)}, Resource: r, At: time.Now()}, err
}

// Connect believes everybody: identities are not what is measured.
func (d *dragoman) Connect(_ context.Context, n *server.Node) (string, error) {
	n.SetGrant(d.grants[n.ID()])
	return n.ID(), nil
}

func (d *dragoman) Disconnected(*server.Node) {}

func (d *dragoman) Acked(_ *server.Node, a server.Ack) {
	if a.At.IsZero() {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.times = append(d.times, a.Took)
}

func (d *dragoman) Refused(*server.Node, server.Refusal) {}

func (d *dragoman) serve(options ...grpc.ServerOption) *grpc.Server {
	g := grpc.NewServer(append(append(d.server.GRPCOptions(), grpc.MaxConcurrentStreams(math.MaxUint32)), options...)...)
	d.server.Register(g)
	return g
}

func (d *dragoman) change(service, generation int) error {
	c, err := d.version(service, generation)
	if err != nil {
		return err
	}
	d.server.Publish([]server.Change{c})
	return nil
}

func (d *dragoman) convergence() []time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	times := d.times
	d.times = nil
	return times
}

// goControlPlane is what the library's two caches share.
type goControlPlane struct{ cache cachev3.Cache }

func (g goControlPlane) serve(options ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append(options, grpc.MaxConcurrentStreams(math.MaxUint32), grpc.ReadBufferSize(2<<10), grpc.WriteBufferSize(8<<10))...)
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, serverv3.NewServer(context.Background(), g.cache, nil))
	return s
}

func (goControlPlane) convergence() []time.Duration { return nil }

// snapshots is a SnapshotCache: one snapshot per node. The assignments
// themselves are shared by all snapshots.
type snapshots struct {
	goControlPlane
	size        size
	cache       cachev3.SnapshotCache
	assignments []types.Resource
	// followers are the proxies of each service.
	followers [][]int
}

func newSnapshots(s size) (*snapshots, error) {
	c := cachev3.NewSnapshotCache(false, cachev3.IDHash{}, nil)
	n := &snapshots{goControlPlane: goControlPlane{c}, size: s, cache: c, assignments: make([]types.Resource, s.Services), followers: make([][]int, s.Services)}
	for i := range n.assignments {
		n.assignments[i] = s.assignment(i, 0)
	}
	for p := range s.Proxies {
		for _, i := range s.names(p) {
			n.followers[i] = append(n.followers[i], p)
		}
		if err := n.set(p, 0); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func (n *snapshots) set(proxy, generation int) error {
	var list []types.Resource
	for _, i := range n.size.names(proxy) {
		list = append(list, n.assignments[i])
	}
	snapshot, err := cachev3.NewSnapshot(strconv.Itoa(generation), map[resourcev3.Type][]types.Resource{resourcev3.EndpointType: list})
	if err != nil {
		return err
	}
	return n.cache.SetSnapshot(context.Background(), nodeID(proxy), snapshot)
}

func (n *snapshots) change(service, generation int) error {
	n.assignments = slices.Clone(n.assignments)
	n.assignments[service] = n.size.assignment(service, generation)
	for _, p := range n.followers[service] {
		if err := n.set(p, generation); err != nil {
			return err
		}
	}
	return nil
}

// linear is a LinearCache behind a MuxCache.
type linear struct {
	goControlPlane
	size  size
	cache *cachev3.LinearCache
}

func newLinear(s size) (*linear, error) {
	initial := map[string]types.Resource{}
	for i := range s.Services {
		initial[serviceName(i)] = s.assignment(i, 0)
	}
	c := cachev3.NewLinearCache(resourcev3.EndpointType, cachev3.WithInitialResources(initial))
	mux := &cachev3.MuxCache{
		Classify:      func(r *cachev3.Request) string { return r.GetTypeUrl() },
		ClassifyDelta: func(r *cachev3.DeltaRequest) string { return r.GetTypeUrl() },
		Caches:        map[string]cachev3.Cache{resourcev3.EndpointType: c},
	}
	return &linear{goControlPlane: goControlPlane{mux}, size: s, cache: c}, nil
}

func (l *linear) change(service, generation int) error {
	return l.cache.UpdateResource(serviceName(service), l.size.assignment(service, generation))
}
