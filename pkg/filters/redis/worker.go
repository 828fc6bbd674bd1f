package redis

import (
	"math/bits"
	"time"
	"unsafe"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// worker is everything the filter has on one loop: the pools that all its
// listeners share, and scratch memory. Only the loop's goroutine uses it.
type worker struct {
	b    *Builder
	loop *netloop.Loop

	pools     map[poolKey]*pool
	recent    [64]*pool // direct-mapped cache of pools
	endpoints map[endpointKey]*endpointStats
	adhoc     map[string]*filters.Endpoint // targets of redirections that are in no table
	filters   map[*Filter]*localFilter
	listeners map[string]*listenerStats

	deadlines []*upstream // connections with a request that can time out
	spare     []*upstream // the other half of a double buffer
	ticking   bool
	stuck     []*client
	sweeping  bool

	// scratch
	cmd    redisproto.Command
	req    request
	inline []byte
	out    []byte
	keys   []int
	rings  [16][][]slot
	merges []*merge
	merged []byte
	groups []group
}

func newWorker(b *Builder, l *netloop.Loop) *worker {
	return &worker{
		b: b, loop: l,
		pools:     map[poolKey]*pool{},
		endpoints: map[endpointKey]*endpointStats{},
		adhoc:     map[string]*filters.Endpoint{},
		filters:   map[*Filter]*localFilter{},
		listeners: map[string]*listenerStats{},
	}
}

// pool finds or makes the pool of a key.
func (w *worker) pool(key poolKey, cluster filters.Cluster, opts *filters.UpstreamOptions) *pool {
	i := (uintptr(unsafe.Pointer(key.endpoint))>>6 ^ uintptr(key.db)<<1 ^ uintptr(key.resp)) % uintptr(len(w.recent))
	p := w.recent[i]
	if p == nil || p.key != key {
		if p = w.pools[key]; p == nil {
			p = newPool(w, key, cluster, opts)
			w.pools[key] = p
		}
		w.recent[i] = p
	}
	p.opts = opts
	p.lastUsed = w.loop.Now()
	w.sweepLater()
	return p
}

// Rings are kept by the exponent of their length.
const keepRings = 64

func (w *worker) takeRing(n int) []slot {
	class := bits.TrailingZeros(uint(n))
	if class < len(w.rings) {
		if free := w.rings[class]; len(free) > 0 {
			r := free[len(free)-1]
			w.rings[class] = free[:len(free)-1]
			return r
		}
	}
	return make([]slot, n)
}

// putRing takes a ring whose slots are all zero.
func (w *worker) putRing(r []slot) {
	class := bits.TrailingZeros(uint(len(r)))
	if class < len(w.rings) && len(w.rings[class]) < keepRings {
		w.rings[class] = append(w.rings[class], r)
	}
}

// tick is the resolution of request timeouts.
const tick = 20 * time.Millisecond

func (w *worker) watchDeadlines(u *upstream) {
	w.deadlines = append(w.deadlines, u)
	w.startTicking()
}

func (w *worker) watchStuck(c *client) {
	w.stuck = append(w.stuck, c)
	w.startTicking()
}

func (w *worker) startTicking() {
	if !w.ticking {
		w.ticking = true
		w.loop.After(tick, w.onTick)
	}
}

// onTick fails what is overdue. It stops by itself when nothing can be.
func (w *worker) onTick() {
	w.ticking = false
	now := w.loop.Now()
	due := w.deadlines
	w.deadlines = w.spare[:0]
	for _, u := range due {
		u.timeout = !u.closed && u.queue.len() > 0
		if u.timeout {
			u.expire(now)
			u.timeout = !u.closed && u.queue.len() > 0
		}
		if u.timeout {
			w.deadlines = append(w.deadlines, u)
		}
	}
	clear(due)
	w.spare = due
	w.expireStuck(now)
	if len(w.deadlines) > 0 || len(w.stuck) > 0 {
		w.startTicking()
	}
}

// expire answers the requests whose time is over. Their replies are dropped
// when they come; a connection on which nothing comes at all is given up.
func (u *upstream) expire(now int64) {
	overdue := false
	for i := 0; i < u.queue.len(); i++ {
		p := u.queue.at(i)
		if p.deadline == 0 {
			continue
		}
		if p.deadline > now {
			break
		}
		overdue = true
		if p.what == expectSetup {
			u.pool.cluster.Report(u.pool.key.endpoint, filters.RequestTimeout)
			u.fail("did not complete the connection's set-up in time")
			return
		}
		if c := p.c; c != nil {
			seq, part := p.seq, p.part
			p.c = nil
			if !c.has(stateClosed) {
				u.pool.stats.timeouts++
				c.failPart(seq, part, "ERR dragoman: "+u.pool.describe()+" did not answer in time")
			}
		}
	}
	if !overdue || u.closed {
		return
	}
	u.pool.cluster.Report(u.pool.key.endpoint, filters.RequestTimeout)
	if f := u.queue.front(); f.c == nil && now-u.lastIn > int64(silence) && now-f.start > int64(silence) {
		u.fail("does not answer")
	}
}

// silence is how long a connection may be without a byte while an overdue
// reply is missing before it is given up.
const silence = 2 * time.Second

// expireStuck closes clients that do not read what they asked for.
func (w *worker) expireStuck(now int64) {
	kept := w.stuck[:0]
	for _, c := range w.stuck {
		if c.has(stateClosed) || c.x.stuckSince == 0 {
			continue
		}
		if now-c.x.stuckSince > c.f.slowClient(c.x.paused) {
			c.f.stats.slowClients++
			w.b.log.Warn("closing a client that does not read its replies", "listener", c.f.name, "client", c.conn.RemoteAddr())
			c.drop()
			continue
		}
		kept = append(kept, c)
	}
	clear(w.stuck[len(kept):])
	w.stuck = kept
}

const sweepEvery = time.Second

func (w *worker) sweepLater() {
	if !w.sweeping {
		w.sweeping = true
		w.loop.After(sweepEvery, w.sweep)
	}
}

// sweep closes connections to endpoints that no cluster has any more, and
// those that nobody has used for a while.
func (w *worker) sweep() {
	w.sweeping = false
	current := map[*filters.Endpoint]bool{}
	for _, f := range w.filters {
		f.markEndpoints(current)
	}
	now := w.loop.Now()
	for key, p := range w.pools {
		switch {
		case !current[key.endpoint] && now-p.lastUsed > int64(time.Second):
			p.retire()
			delete(w.adhoc, key.endpoint.Address)
		case now-p.lastUsed > int64(idlePool):
			p.retire()
		case now-p.lastUsed > int64(idleExclusive):
			p.closeIdle()
		}
		if p.unused() && now-p.lastUsed > int64(time.Second) {
			delete(w.pools, key)
			w.recent = [64]*pool{}
		}
	}
	if len(w.pools) > 0 {
		w.sweepLater()
	}
}

const (
	idlePool      = 10 * time.Minute
	idleExclusive = time.Minute
)
