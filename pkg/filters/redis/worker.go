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

	subscribed map[*subscriptions]struct{}

	deadlines  []*upstream        // connections with a request that can time out
	spare      []*upstream        // the other half of a double buffer
	strays     map[string][]stray // by the address that they wait for
	retrying   []*client          // who has requests that are tried again
	retryBytes int                // of them
	givenUp    map[vain]int64
	ticking    bool
	stuck      []*client // clients that something is held up for
	stuckSpare []*client // the other half of a double buffer
	sweeping   bool

	// scratch
	cmd     redisproto.Command
	req     request
	inline  []byte
	out     []byte
	keys    []int
	rings   [16][][]slot
	merges  []*merge
	merged  []byte
	groups  []group
	stashes [][]byte
	stashed int      // bytes of stashes
	latest  struct { // the command that was looked up last
		name    [16]byte
		n       int
		command *command
	}
}

func newWorker(b *Builder, l *netloop.Loop) *worker {
	return &worker{
		b: b, loop: l,
		pools:     map[poolKey]*pool{},
		endpoints: map[endpointKey]*endpointStats{},
		adhoc:     map[string]*filters.Endpoint{},
		filters:   map[*Filter]*localFilter{},
		listeners: map[string]*listenerStats{},

		subscribed: map[*subscriptions]struct{}{},
	}
}

// pool finds or makes the pool of a key.
func (w *worker) pool(key poolKey, cluster filters.Cluster, opts *filters.UpstreamOptions) *pool {
	//nolint:gosec // the address only chooses a place in the cache
	i := (uintptr(unsafe.Pointer(key.endpoint))>>6 ^ uintptr(key.db)<<1 ^ uintptr(key.resp)) % uintptr(len(w.recent))
	p := w.recent[i]
	if p == nil || p.key != key {
		if p = w.pools[key]; p == nil {
			p = newPool(w, key, cluster, opts)
			w.pools[key] = p
		}
		w.recent[i] = p
	}
	if p.opts != opts {
		p.configure(opts)
	}
	p.lastUsed = w.loop.Now()
	w.sweepLater()
	return p
}

// Rings are kept by the exponent of their length, so many slots of each.
const keepRings = 16 << 10

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
	if class < len(w.rings) && len(w.rings[class])*len(r) < keepRings {
		w.rings[class] = append(w.rings[class], r)
	}
}

// keepStashes is how many bytes of stashes wait for their next client.
const keepStashes = 2 << 20

func (w *worker) takeStash() []byte {
	n := len(w.stashes)
	if n == 0 {
		return make([]byte, 0, 4<<10)
	}
	s := w.stashes[n-1]
	w.stashes = w.stashes[:n-1]
	w.stashed -= cap(s)
	return s
}

func (w *worker) putStash(s []byte) {
	if w.stashed+cap(s) <= keepStashes {
		w.stashes = append(w.stashes, s[:0])
		w.stashed += cap(s)
	}
}

// lookup finds a command, nil if it is unknown. Most requests are for the same
// command, in the same spelling, as the one before.
func (w *worker) lookup(name []byte) *command {
	l := &w.latest
	if len(name) == l.n && string(name) == string(l.name[:l.n]) {
		return l.command
	}
	c := w.b.commands.lookup(name)
	if len(name) <= len(l.name) {
		l.n, l.command = copy(l.name[:], name), c
	}
	return c
}

// tick is the resolution of request timeouts.
const tick = 20 * time.Millisecond

func (w *worker) watchDeadlines(u *upstream) {
	w.deadlines = append(w.deadlines, u)
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
	w.sendStrays()
	w.retryAll(now)
	if len(w.deadlines) > 0 || len(w.stuck) > 0 || len(w.strays) > 0 || len(w.retrying) > 0 {
		w.startTicking()
	}
}

// expire answers the requests whose time is over. Their replies are dropped
// when they come; a connection on which nothing comes at all is given up.
func (u *upstream) expire(now int64) {
	overdue := 0
	for i := 0; i < u.queue.len() && !u.closed; i++ {
		p := u.queue.at(i)
		if p.deadline == 0 {
			continue
		}
		if p.deadline > now {
			if u.unordered {
				continue
			}
			break
		}
		p.deadline = 0
		overdue++
		if p.what.own() {
			reason := "did not answer in time"
			if p.what == expectSetup {
				reason = "did not complete the connection's set-up in time"
			}
			u.pool.cluster.Report(u.pool.key.endpoint, filters.RequestTimeout)
			u.fail(reason)
			return
		}
		c, live := p.c, p.live()
		if live || p.what == expectMirrored {
			u.pool.stats.timeouts++
		}
		p.c, p.what = nil, expectOverdue
		if live {
			if t := c.watching(); t != nil && t.u == u {
				t.spoil() // the server may have queued it
			}
			c.failPart(p.seq, p.part, "ERR dragoman: "+u.pool.describe()+" did not answer in time")
		}
	}
	if u.closed || u.paused { // it is not the server that is late
		return
	}
	if overdue > 0 {
		u.pool.cluster.Report(u.pool.key.endpoint, filters.RequestTimeout)
	}
	u.giveUp(now)
}

// giveUp closes a connection that has gone silent.
func (u *upstream) giveUp(now int64) {
	quiet := now - u.lastIn
	switch f := u.queue.front(); {
	case u.pieces:
		if u.patience > 0 && quiet > max(u.patience, int64(silence)) {
			u.fail("stopped in the middle of a reply")
		}
	case f.what == expectOverdue && quiet > int64(silence) && now-f.start > int64(silence):
		u.fail("does not answer")
	}
}

// silence is how long a connection may be without a byte while an overdue
// reply is missing before it is given up.
const silence = 2 * time.Second

// watch has the worker look after a client that something is held up for.
func (c *client) watch() {
	if x := c.extra(); !x.watched {
		x.watched = true
		c.w.stuck = append(c.w.stuck, c)
		c.w.startTicking()
	}
}

// expireStuck looks after clients that do not read what they asked for, and
// uploads that servers do not take.
func (w *worker) expireStuck(now int64) {
	list := w.stuck
	w.stuck = w.stuckSpare[:0]
	for _, c := range list {
		c.x.watched = false
		if !c.has(stateClosed) && c.heldUp(now) {
			c.watch()
		}
	}
	clear(list)
	w.stuckSpare = list
}

// heldUp ends what has been held up for too long. It returns false when
// nothing is held up any more.
func (c *client) heldUp(now int64) bool {
	x := c.x
	if up := x.upload; up != nil && up.overdue(now, c.f.cfg.OpTimeout) {
		up.u.fail("does not take the request in time")
	}
	switch {
	case x.stuckSince != 0:
		if c.tooSlow(now) {
			c.f.stats.slowClients++
			c.w.b.log.Warn("closing a client that does not read its replies", "listener", c.f.name, "client", c.conn.RemoteAddr())
			c.drop()
			return false
		}
		return true
	case len(x.paused) > 0:
		if c.crowds(now, x.pausedAt) {
			c.abandonHeld()
		} else {
			c.raiseLimit(now)
		}
		return len(x.paused) > 0
	case c.has(stateBlocked) && c.conn.Paused():
		if c.conn.HungUp() {
			c.drop()
			return false
		}
		return true
	}
	return x.upload != nil && x.upload.waiting != 0
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
	w.trim()
	current := map[*filters.Endpoint]bool{}
	for _, f := range w.filters {
		f.markEndpoints(current)
	}
	w.dropMisplaced()
	for _, f := range w.filters {
		f.endMisplaced()
	}
	now := w.loop.Now()
	w.forgetGivenUp(now)
	for key, p := range w.pools {
		switch {
		case !current[key.endpoint] && now-p.lastUsed > int64(time.Second):
			p.retire()
			delete(w.adhoc, key.endpoint.Hostname) // as the redirection wrote it
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
	w.forgetEndpoints(current, now)
	if len(w.pools) > 0 {
		w.sweepLater()
	}
}

// keepScratch is how many bytes each kind of scratch memory may keep.
const keepScratch = 256 << 10

// trim gives back scratch memory that some large request has left.
func (w *worker) trim() {
	if cap(w.inline) > keepScratch {
		w.inline = nil
	}
	if cap(w.out) > keepScratch {
		w.out = nil
	}
	if cap(w.keys) > keepScratch/8 {
		w.keys = nil
	}
	groups := w.groups[:cap(w.groups)]
	size := len(groups) * 64
	for i := range groups {
		size += cap(groups[i].keys) * 8
	}
	if size > keepScratch {
		w.groups = nil
	}
}

const (
	idlePool      = 10 * time.Minute
	idleExclusive = time.Minute
)
