package redis

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// cluster is a filters.Cluster whose table a test sets.
type cluster struct {
	name  string
	table atomic.Pointer[filters.Table]

	mu      sync.Mutex // guards below
	reports []filters.Outcome
	wanted  []string // reasons of Refresh
}

func (c *cluster) Name() string          { return c.name }
func (c *cluster) Table() *filters.Table { return c.table.Load() }

func (c *cluster) Report(_ *filters.Endpoint, o filters.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports = append(c.reports, o)
}

func (c *cluster) Refresh(reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = append(c.wanted, reason)
}

// clusters is a filters.ClusterSource.
type clusters map[string]*cluster

func (cs clusters) Cluster(name string) (filters.Cluster, bool) {
	c, ok := cs[name]
	return c, ok
}

func (clusters) Secret(name string) (string, error) { return "password of " + name, nil }

// endpointOf makes a healthy endpoint.
func endpointOf(addr, shard string) *filters.Endpoint {
	e := &filters.Endpoint{Network: "tcp", Address: addr, Shard: shard, Weight: 1}
	e.SetHealthy(true)
	return e
}

// newCluster spreads keys over servers by ketama, one shard for each.
func newCluster(name string, servers ...*redistest.Node) *cluster {
	var shards []filters.Shard
	for i, s := range servers {
		shard := fmt.Sprintf("s%d", i+1)
		shards = append(shards, filters.Shard{Name: shard, Primary: endpointOf(s.Addr(), shard)})
	}
	return clusterOf(name, shards...)
}

// picker is a filters.Picker.
type picker struct {
	hash keyhash.Func
	distribution.Distribution
}

func (p picker) Pick(key []byte) int { return p.Distribution.Pick(p.hash(key)) }

func clusterOf(name string, shards ...filters.Shard) *cluster {
	c := &cluster{name: name}
	t := &filters.Table{Version: 1, Shards: shards, Options: &filters.UpstreamOptions{
		ConnectTimeout: 2 * time.Second, ConnectionsPerEndpoint: 1,
	}}
	if len(shards) > 1 {
		var members []distribution.Member
		for _, s := range shards {
			members = append(members, distribution.Member{Name: s.Name, Weight: 1})
		}
		hash, _ := keyhash.Lookup("fnv1a_64")
		t.Picker = picker{hash, distribution.NewKetama(members)}
	}
	c.table.Store(t)
	return c
}

// fixture is a running filter on a listener.
type fixture struct {
	tb       testing.TB
	addr     string
	builder  *Builder
	filter   *Filter
	group    *netloop.Group
	clusters clusters
}

// defaults is the configuration that most tests use.
func defaults() *resource.RedisFilter {
	return &resource.RedisFilter{
		CatchAll:    &resource.RedisRoute{Cluster: "main"},
		OpTimeout:   5 * time.Second,
		Redirection: true, CommandStats: true,
		HashTag: resource.HashTag{Open: '{', Close: '}'},
		Limits:  resource.RedisLimits{MaxRequestBytes: 512 << 20, MaxPipeline: 1024},
		SlowLog: resource.SlowLog{Threshold: -1},
	}
}

// start runs the filter in front of a cluster named main, and others.
func start(tb testing.TB, cfg *resource.RedisFilter, all ...*cluster) *fixture {
	tb.Helper()
	return startLoops(tb, 1, cfg, all...)
}

// startLoops is start with several loops.
func startLoops(tb testing.TB, loops int, cfg *resource.RedisFilter, all ...*cluster) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, builder: NewBuilder(slog.New(slog.DiscardHandler)), clusters: clusters{}}
	for _, c := range all {
		f.clusters[c.name] = c
	}
	var err error
	if f.group, err = netloop.NewGroup(netloop.GroupOptions{Loops: loops}); err != nil {
		tb.Fatal(err)
	}
	f.group.Start()
	f.filter = f.build(cfg)
	l, err := netloop.Listen(f.group, "tcp", "127.0.0.1:0", netloop.ListenOptions{},
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return f.filter.Accept(c) })
	if err != nil {
		tb.Fatal(err)
	}
	f.addr = l.Addr()
	tb.Cleanup(func() {
		l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := f.group.Stop(ctx); err != nil {
			tb.Errorf("stopping the loops: %v", err)
		}
	})
	return f
}

func (f *fixture) build(cfg *resource.RedisFilter) *Filter {
	f.tb.Helper()
	network, err := f.builder.Build(cfg, filters.Context{
		Listener: "test/redis", Clusters: f.clusters, Secrets: f.clusters, Loops: f.group.Loops, Zone: "here",
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.tb.Fatal(err)
	}
	return network.(*Filter)
}

func (f *fixture) dial() *redistest.Client {
	f.tb.Helper()
	return redistest.Dial(f.tb, f.addr)
}

// onLoop runs fn with the filter's worker, on the loop.
func (f *fixture) onLoop(fn func(*worker)) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	l := f.group.Loops()[0]
	if err := l.Call(ctx, func() { fn(f.builder.worker(l)) }); err != nil {
		f.tb.Fatal(err)
	}
}

// servers starts n Redis servers.
func servers(tb testing.TB, n int) []*redistest.Node {
	tb.Helper()
	list := make([]*redistest.Node, n)
	for i := range list {
		list[i] = redistest.Server(tb)
	}
	return list
}
