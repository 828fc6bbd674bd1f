package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// discovery finds the endpoints of a cluster and publishes them there.
type discovery interface {
	// prepare publishes what is known without asking anybody.
	prepare()
	// run works until the context ends.
	run(ctx context.Context)
}

// cluster is one running cluster. It implements filters.Cluster.
type cluster struct {
	// read-only after construction
	spec      *resource.Cluster
	env       *environment
	settings  *settings // of its members, without their targets
	options   *filters.UpstreamOptions
	balance   *balance
	secrets   *secretView
	stats     *stats
	log       *slog.Logger
	tlsPrint  string
	discovery discovery

	table   atomic.Pointer[filters.Table]
	index   atomic.Pointer[map[*filters.Endpoint]*member]
	rebuild chan struct{} // has room for one
	look    chan struct{} // has room for one: look at the topology again
	search  chan struct{} // has room for one: to the discovery, from look
	settled chan struct{} // closed when the first layout is there, or failed

	settledOnce sync.Once

	watchers watchers

	redirects  atomic.Uint32 // since the latest query
	redirected atomic.Int64  // time of the latest query for redirections, in ns since 1970
	failures   atomic.Uint32 // reported since the latest query

	mu          sync.Mutex // guards below; taken before a member's
	layout      layout
	places      [][]placed
	beside      []placed // in no shard
	members     map[memberKey]*member
	spare       map[memberKey]spare // members that are in no layout at present
	primaries   map[string]*member  // by shard, where roles are probed
	rivals      map[string]bool     // shards of which several are the primary
	ring        *keyed
	ringChanged bool
	version     uint64
	lastError   string // of the discovery
	closed      bool
	cancel      context.CancelFunc
}

// spare is a member that a layout no longer has, or not yet: it may come back,
// as a node does that changes from primary to replica, and shall find its
// connections and what was learnt of it.
type spare struct {
	m     *member
	since time.Time
}

// Name implements filters.Cluster.
func (c *cluster) Name() string { return c.spec.Name }

// LoadBalancing is the policy, for filters that count what the table cannot.
func (c *cluster) LoadBalancing() resource.LoadBalancing { return c.spec.LB }

// Table implements filters.Cluster.
func (c *cluster) Table() *filters.Table { return c.table.Load() }

// Report implements filters.Cluster.
func (c *cluster) Report(e *filters.Endpoint, o filters.Outcome) {
	m, ok := (*c.index.Load())[e]
	if !ok {
		return
	}
	m.report(o, time.Now())
	limit := c.spec.Discovery.RedisCluster.FailureThreshold
	if o != filters.Success && limit > 0 && c.failures.Add(1) >= limit {
		c.lookAgain()
	}
}

// Refresh implements filters.Cluster. Redirections count up to the configured
// threshold; any other reason is taken at its word.
func (c *cluster) Refresh(reason string) {
	if isRedirect(reason) && !c.manyRedirects(time.Now()) {
		return
	}
	c.lookAgain()
}

func (c *cluster) manyRedirects(now time.Time) bool {
	spec := &c.spec.Discovery.RedisCluster
	last := time.Unix(0, c.redirected.Load())
	if c.redirects.Add(1) < spec.RedirectThreshold || now.Sub(last) < spec.RedirectInterval {
		return false
	}
	c.redirected.Store(now.UnixNano())
	return true
}

func isRedirect(reason string) bool {
	return strings.HasPrefix(reason, "MOVED") || strings.HasPrefix(reason, "ASK")
}

func (c *cluster) lookAgain() { signal(c.look) }

// signal wakes the reader of a channel that has room for one, without waiting.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// memberChanged is called by members, which hold their lock: it must not block.
func (c *cluster) memberChanged(suspect bool) {
	signal(c.rebuild)
	if suspect {
		c.lookAgain()
	}
}

// mayEject bounds how many endpoints are ejected at once. One always may be.
func (c *cluster) mayEject() bool {
	if c.spec.Outlier == nil {
		return true
	}
	index := *c.index.Load()
	ejected := 0
	for _, m := range index {
		if m.ejected.Load() {
			ejected++
		}
	}
	return ejected == 0 || (ejected+1)*100 <= len(index)*int(c.spec.Outlier.MaxEjectionPercent)
}

// start takes over from the cluster before, if there was one, and runs.
func (c *cluster) start(before *cluster) {
	if before != nil {
		c.inherit(before)
	}
	ctx, cancel := context.WithCancel(c.env.ctx)
	c.mu.Lock()
	c.cancel = cancel
	c.mu.Unlock()
	c.discovery.prepare()
	c.env.spawn(func() { c.discovery.run(ctx) })
	c.env.spawn(func() { c.tend(ctx) })
}

// tend does what others must not wait for.
func (c *cluster) tend(ctx context.Context) {
	interval := c.env.timing.refresh
	look := c.look
	pause := time.NewTimer(interval)
	defer pause.Stop()
	sweep := time.NewTicker(c.env.timing.linger / 2)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.rebuild:
			c.mu.Lock()
			c.rebuildLocked()
			c.mu.Unlock()
			c.watchers.tell()
		case <-look:
			c.redirects.Store(0)
			c.failures.Store(0)
			c.searchNow()
			look = nil // not again for a while; what is asked meanwhile is kept
			pause.Reset(interval)
		case <-pause.C:
			look = c.look
		case now := <-sweep.C:
			c.dropSpare(now)
		}
	}
}

// dropSpare lets go of members that did not come back in time. Before the first
// layout there is nothing better than those of the cluster before.
func (c *cluster) dropSpare(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.members) == 0 {
		return
	}
	for key, s := range c.spare {
		if now.Sub(s.since) >= c.env.timing.linger {
			s.m.release(c)
			delete(c.spare, key)
		}
	}
}

// searchNow has everybody look who can.
func (c *cluster) searchNow() {
	signal(c.search)
	if !c.settings.probeRole {
		return
	}
	for _, m := range *c.index.Load() {
		m.askRole.Store(true)
		m.nudge()
	}
}

// publish puts a layout in force.
func (c *cluster) publish(l layout) {
	defer c.watchers.tell()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	members := make(map[memberKey]*member)
	places := make([][]placed, len(l.shards))
	place := func(in *[]placed, t target) {
		if _, twice := members[t.memberKey]; twice {
			return
		}
		m := c.memberLocked(t.memberKey)
		m.configure(t.health)
		members[t.memberKey] = m
		*in = append(*in, placed{m: m, role: t.role})
	}
	for i := range l.shards {
		for _, t := range l.shards[i].targets {
			place(&places[i], t)
		}
	}
	c.beside = nil
	for _, t := range l.spare {
		place(&c.beside, t)
	}
	for key, m := range c.members {
		if members[key] != m {
			c.spare[key] = spare{m, time.Now()}
		}
	}
	c.ringChanged = c.ringChanged || !sameRing(c.layout.shards, l.shards)
	c.layout, c.members, c.places = l, members, places
	index := make(map[*filters.Endpoint]*member, len(members))
	for _, m := range members {
		index[m.ep] = m
	}
	c.index.Store(&index)
	c.rebuildLocked()
}

// sameRing says whether both are distributed over alike.
func sameRing(a, b []shardSpec) bool {
	return slices.EqualFunc(a, b, func(x, y shardSpec) bool {
		return x.hashKey == y.hashKey && x.weight == y.weight && x.priority() == y.priority()
	})
}

// memberLocked finds the member of that identity or makes it.
func (c *cluster) memberLocked(key memberKey) *member {
	if m, ok := c.members[key]; ok {
		return m
	}
	if s, ok := c.spare[key]; ok {
		delete(c.spare, key)
		return s.m
	}
	m := newMember(key, c.tlsConfig(key))
	m.retain(c, c.settingsFor(key, m.ep.TLS))
	ctx, cancel := context.WithCancel(c.env.ctx)
	m.cancel = cancel
	c.env.spawn(func() { m.run(ctx) })
	return m
}

// failed says that the discovery found nothing this time. What it found earlier
// remains.
func (c *cluster) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if text := err.Error(); text != c.lastError {
		c.lastError = text
		c.log.Warn("discovery failed", "error", err)
	}
}

// succeeded says that the discovery has nothing to complain of.
func (c *cluster) succeeded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastError = ""
}

// settle says that all is there that can be had now.
func (c *cluster) settle() { c.settledOnce.Do(func() { close(c.settled) }) }

// warm waits until the cluster knows its endpoints, or that it can't know them
// now, and has asked each for its role if roles are probed.
func (c *cluster) warm(ctx context.Context) error {
	if err := await(ctx, c.settled); err != nil {
		return fmt.Errorf("cluster %q: waiting for its endpoints: %w", c.Name(), err)
	}
	if !c.settings.probeRole {
		return nil
	}
	for _, m := range *c.index.Load() {
		if err := await(ctx, m.probed); err != nil {
			return fmt.Errorf("cluster %q: waiting for the role of %s: %w", c.Name(), m.key.address, err)
		}
	}
	// The probes are done; what they say must be in the table.
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rebuildLocked()
	return nil
}

func await(ctx context.Context, ch <-chan struct{}) error {
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// suspect says whether an endpoint is out of use for what it did.
func (c *cluster) suspect() bool {
	for _, m := range *c.index.Load() {
		if m.suspect() {
			return true
		}
	}
	return false
}

// close ends the cluster. Its last table stays readable.
func (c *cluster) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.cancel != nil {
		c.cancel()
	}
	for _, m := range c.members {
		m.release(c)
	}
	for _, s := range c.spare {
		s.m.release(c)
	}
	clear(c.spare)
}
