package redis

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/linked"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// Filter is the Redis filter of one listener in one configuration. It is
// read-only after construction.
type Filter struct {
	b        *Builder
	cfg      *resource.RedisFilter
	ctx      filters.Context
	routes   []*route // longest prefix first
	catchAll *route   // nil: keys without a matching prefix are refused
	users    map[string]*user
	limits   redisproto.Limits
}

// route says where keys of one prefix live.
type route struct {
	prefix       string
	folded       string // prefix in lower case
	removePrefix bool
	cluster      filters.Cluster
	readCluster  filters.Cluster // nil: cluster does the reads, too
	mirrors      []mirror
}

type mirror struct {
	cluster      filters.Cluster
	fraction     uint32
	excludeReads bool
}

func newFilter(b *Builder, cfg *resource.RedisFilter, ctx filters.Context) (*Filter, error) {
	f := &Filter{b: b, cfg: cfg, ctx: ctx, limits: redisproto.DefaultLimits()}
	if n := cfg.Limits.MaxRequestBytes; n != 0 {
		f.limits.MaxBulk = min(f.limits.MaxBulk, int64(n))
	}
	for i := range cfg.Routes {
		r, err := f.newRoute(&cfg.Routes[i])
		if err != nil {
			return nil, err
		}
		f.routes = append(f.routes, r)
	}
	if cfg.CatchAll != nil {
		r, err := f.newRoute(cfg.CatchAll)
		if err != nil {
			return nil, err
		}
		f.catchAll = r
	}
	f.users = newUsers(b, cfg.Users, ctx)
	b.preconnect(f)
	return f, nil
}

func (f *Filter) newRoute(cfg *resource.RedisRoute) (*route, error) {
	find := func(name string) (filters.Cluster, error) {
		if c, ok := f.ctx.Clusters.Cluster(name); ok {
			return c, nil
		}
		return nil, fmt.Errorf("redis filter of listener %q: route %q names the cluster %q, which does not exist", f.ctx.Listener, cfg.Prefix, name)
	}
	r := &route{prefix: cfg.Prefix, folded: asciiLower(cfg.Prefix), removePrefix: cfg.RemovePrefix}
	var err error
	if r.cluster, err = find(cfg.Cluster); err != nil {
		return nil, err
	}
	if cfg.ReadCluster != "" {
		if r.readCluster, err = find(cfg.ReadCluster); err != nil {
			return nil, err
		}
	}
	for _, m := range cfg.Mirrors {
		c, err := find(m.Cluster)
		if err != nil {
			return nil, err
		}
		r.mirrors = append(r.mirrors, mirror{c, m.Fraction, m.ExcludeReads})
	}
	return r, nil
}

// asciiLower leaves all but ASCII letters alone.
func asciiLower(s string) string {
	b := []byte(s)
	for i, ch := range b {
		if ch >= 'A' && ch <= 'Z' {
			b[i] = ch + 'a' - 'A'
		}
	}
	return string(b)
}

// clusters returns each cluster once, in a stable order.
func (f *Filter) clusters() []filters.Cluster {
	var all []filters.Cluster
	add := func(c filters.Cluster) {
		if c != nil && !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	routes := f.routes
	if f.catchAll != nil {
		routes = append(slices.Clone(routes), f.catchAll)
	}
	for _, r := range routes {
		add(r.cluster)
		add(r.readCluster)
		for _, m := range r.mirrors {
			add(m.cluster)
		}
	}
	return all
}

// Accept takes a new client.
func (f *Filter) Accept(conn *netloop.Conn) netloop.Driver {
	w := f.b.worker(conn.Loop())
	lf := w.local(f)
	c := &client{conn: conn, w: w, resp: 2, db: int32(f.cfg.Database)}
	lf.add(c)
	c.user = f.initialUser()
	c.since, c.lastIn = w.tenths(), w.tenths()
	conn.SetHangupNotice(true)
	lf.stats.connections++
	return c
}

// Refusal is what a client above the listener's limit is told, in Redis' words.
func (*Filter) Refusal() []byte { return []byte("-ERR max number of clients reached\r\n") }

// localFilter is a Filter on one loop, with its clients there.
type localFilter struct {
	*Filter
	w     *worker
	name  string
	stats *listenerStats

	maxPipeline      int
	maxGather        int64
	maxSubscriptions int
	slowNanos        int64

	untilSample uint32 // keys until the next one is sampled
	version     uint64 // of the tables that clients were last compared with, see endMisplaced
	placings    []placing
	inherited   bool // see inherit

	clients   linked.List[*client]
	successor *localFilter // where the clients go at their next request
	over      bool         // retired without a successor
	retired   func()       // set when the filter has to go; called when the last client has
}

// local returns the part of f on this loop.
func (w *worker) local(f *Filter) *localFilter {
	lf := w.filters[f]
	if lf != nil {
		return lf
	}
	lf = &localFilter{
		Filter: f, w: w, name: f.ctx.Listener,
		stats:            w.listener(f.ctx.Listener),
		maxPipeline:      max(1, int(f.cfg.Limits.MaxPipeline)),
		maxGather:        min(maxGather, f.limits.MaxBulk+requestSlack),
		maxSubscriptions: maxSubscriptions,
		slowNanos:        1<<63 - 1,
	}
	if f.cfg.SlowLog.Enabled() {
		lf.slowNanos = int64(f.cfg.SlowLog.Threshold)
	}
	lf.stats.histograms = f.cfg.CommandStats
	w.filters[f] = lf
	w.sweepLater()
	lf.watchIdle()
	return lf
}

// maxGather is how much of a request is kept in memory when it has to be seen
// whole before it can be routed, e.g. an MSET over several shards.
const maxGather = 64 << 20

func (f *localFilter) add(c *client) {
	c.f = f
	f.clients.Add(c)
	f.stats.active++
}

func (f *localFilter) remove(c *client) {
	f.clients.Remove(c)
	f.stats.active--
	if f.clients.Len() == 0 && f.retired != nil {
		f.retired()
		f.retired = nil
	}
}

// markEndpoints adds the endpoints that the filter's clusters have now.
func (f *localFilter) markEndpoints(current map[*filters.Endpoint]bool) {
	for _, cl := range f.clusters() {
		t := cl.Table()
		for _, s := range t.Shards {
			current[s.Primary] = true
			for _, r := range s.Replicas {
				current[r] = true
			}
		}
		for _, e := range t.Spare {
			current[e] = true
		}
	}
}

// deadline is when a request that is sent now is overdue; 0 if never.
func (f *localFilter) deadline() int64 {
	if f.cfg.OpTimeout <= 0 {
		return 0
	}
	return f.w.loop.Now() + int64(f.cfg.OpTimeout)
}

// route finds the route of a key; nil if no prefix matches and there is no
// catch-all.
func (f *localFilter) route(key []byte) *route {
	for _, r := range f.routes {
		if len(key) < len(r.prefix) {
			continue
		}
		if head := key[:len(r.prefix)]; string(head) == r.prefix || (f.cfg.CaseInsensitive && equalFold(head, r.folded)) {
			return r
		}
	}
	return f.catchAll
}

// chance reports true in fraction of a million cases.
func chance(fraction uint32) bool {
	return fraction >= resource.MirrorScale || rand.Uint32N(resource.MirrorScale) < fraction
}
