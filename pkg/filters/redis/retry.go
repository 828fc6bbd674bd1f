package redis

import (
	"bytes"
	"slices"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// A node of a Redis Cluster refuses requests for a while, and executes nothing of
// them: nobody serves the slot during a failover (CLUSTERDOWN), a replica has no data
// yet (LOADING, MASTERDOWN), the keys of a request are on two nodes (TRYAGAIN). The
// clients of a cluster try such requests again, and so does the proxy for its own. A
// client that has one reads nothing further until all of its requests are answered;
// it is sent again, before those behind it, when the client has nothing else under
// way. So no request of its client gets before it, but one that was sent already when
// it was refused: if that is executed and has to do with the same data, the client
// gets the error.

// retry is a refused request.
type retry struct {
	pending
	from  *pool
	reply []byte // the error
	about about
	apart bool  // it is to be taken apart, see splitUp
	till  int64 // ns: when its client gets the error
}

const (
	// retryPatience is the longest that a request is tried again for. A planned failover
	// takes some milliseconds, the election of a primary one or two seconds.
	retryPatience = 5 * time.Second
	// maxRetryWait is the longest between two tries; the first is after a tick.
	maxRetryWait = 200 * time.Millisecond
	// maxRetryBytes is how much of requests may wait on a loop.
	maxRetryBytes = 64 << 20
)

// about is which data a request has to do with.
type about struct {
	slot  int32 // -1: not known
	reads bool  // it only reads
	keys  [][]byte
}

// aboutAll is about for a request with what goes before it: the first key tells the slot.
func (w *worker) aboutAll(p *replay) about {
	a := w.about(p.frame)
	for rest := p.behind.frames; len(rest) > 0 && a.slot < 0; {
		n, err := redisproto.FrameLen(rest, &replyLimits)
		if err != nil {
			break
		}
		a.slot = w.about(rest[:n]).slot
		rest = rest[n:]
	}
	return a
}

// about reads a request that is kept for another try.
func (w *worker) about(frame []byte) about {
	var (
		cmd redisproto.Command
		r   request
	)
	a := about{slot: -1}
	lim := redisproto.DefaultLimits()
	if _, err := cmd.Parse(frame, &lim); err != nil || len(cmd.Args) == 0 {
		return a
	}
	r.take(w, &cmd, frame)
	a.reads = r.readOnly
	switch spec := r.effective(); {
	case spec != nil:
		keys, err := spec.AppendKeys(&cmd, frame, nil)
		if err != nil {
			return a
		}
		for _, k := range keys {
			a.keys = append(a.keys, r.arg(k))
		}
	case r.argc() > 1:
		a.keys = append(a.keys, r.arg(1))
	}
	if len(a.keys) > 0 {
		a.slot = int32(redisproto.Slot(a.keys[0]))
	}
	return a
}

// collides reports whether a later request must not be executed before the refused
// one. Those of a slot that is on the move have no order anyway, but where they are
// about the same keys.
func (r *retry) collides(a *about) bool {
	switch {
	case r.about.slot != a.slot || (r.about.reads && a.reads):
		return false
	case !bytes.HasPrefix(r.reply, []byte("-TRYAGAIN ")):
		return true
	}
	return slices.ContainsFunc(a.keys, func(key []byte) bool {
		return slices.ContainsFunc(r.about.keys, func(k []byte) bool { return bytes.Equal(k, key) })
	})
}

// tryLater keeps a request that has been refused with reply for another try. It
// returns false if the client is to get that.
func (u *upstream) tryLater(p *pending, reply []byte, apart bool) bool {
	c, w := p.c, u.pool.w
	if p.replay == nil || !c.f.cfg.Redirection || u.pool.cluster.Table().Slots == nil {
		return false
	}
	r := retry{pending: *p, from: u.pool, reply: bytes.Clone(reply), about: w.aboutAll(p.replay), apart: apart}
	if !u.shared && c.has(stateBlocked) {
		return u.blockLater(&r)
	}
	now := w.loop.Now()
	r.till = p.start + int64(c.f.retryPatience())
	switch v := r.vain(); {
	case apart:
	case now >= r.till && p.tries > 0 || w.givenUp[v] > now:
		w.giveUp(v, now)
		return false
	case now >= r.till || w.retryBytes+len(p.replay.frame) > maxRetryBytes:
		return false
	}
	if !u.shared {
		return u.beginLater(&r)
	}
	c.hold()
	x := c.extra()
	at, _ := slices.BinarySearchFunc(x.retries, &r, func(a retry, b *retry) int { return a.compare(&b.pending) })
	x.retries = slices.Insert(x.retries, at, r)
	x.retryAt = now + int64(p.retryWait())
	w.retryBytes += len(p.replay.frame)
	if !x.retrying {
		x.retrying = true
		w.retrying = append(w.retrying, c)
		w.startTicking()
	}
	if x.retries[0].apart {
		c.retry(false)
	}
	return true
}

// retryWait is the time until the next try.
func (p *pending) retryWait() time.Duration { return min(tick<<min(p.tries, 8), maxRetryWait) }

// retryPatience is how long the filter's requests are tried again.
func (f *localFilter) retryPatience() time.Duration {
	if f.cfg.OpTimeout <= 0 {
		return retryPatience
	}
	return min(f.cfg.OpTimeout, retryPatience)
}

// compare orders by the order of the requests.
func (p *pending) compare(q *pending) int {
	if d := int32(p.seq - q.seq); d != 0 {
		return int(d)
	}
	return int(p.part - q.part)
}

// vain is what has been asked for in vain.
type vain struct {
	cluster  filters.Cluster
	slot     int32
	endpoint *filters.Endpoint // where no slot is known
}

func (r *retry) vain() vain {
	v := vain{cluster: r.from.cluster, slot: r.about.slot}
	if v.slot < 0 {
		v.endpoint = r.from.key.endpoint
	}
	return v
}

// giveUp has refused requests for a slot answered at once as long as such come, since
// nobody need wait for what others have waited for.
func (w *worker) giveUp(v vain, now int64) {
	if w.givenUp == nil {
		w.givenUp = make(map[vain]int64)
	}
	w.givenUp[v] = now + int64(retryPatience)
	w.sweepLater()
}

// forgetGivenUp gives slots that nobody has asked for in vain another chance.
func (w *worker) forgetGivenUp(now int64) {
	for v, till := range w.givenUp {
		if till <= now {
			delete(w.givenUp, v)
		}
	}
}

// behindRetries reports whether earlier requests of p's client are tried again, so that p
// has to wait for them.
func (p *pending) behindRetries() bool {
	x := p.c.x
	return x != nil && len(x.retries) > 0 && x.retries[0].compare(p) < 0
}

// executed is told of each request that a server has executed. The client gets the
// errors of those that should have been before it. It returns false if that has ended
// the client.
func (c *client) executed(p *pending) bool {
	if p.replay == nil || !p.behindRetries() {
		return true
	}
	a := c.w.about(p.replay.frame)
	for i := 0; i < len(c.x.retries) && !c.has(stateClosed); {
		r := &c.x.retries[i]
		if r.seq != p.seq && r.compare(p) < 0 && r.collides(&a) {
			c.failRetry(i)
		} else {
			i++
		}
	}
	return !c.has(stateClosed)
}

// failRetry has the client get the error of the refused request at i.
func (c *client) failRetry(i int) {
	r := c.x.retries[i]
	c.x.retries = slices.Delete(c.x.retries, i, i+1)
	c.w.retryBytes -= len(r.replay.frame)
	c.failPart(r.seq, r.part, errorText(r.reply))
}

// underWay is how many replies the client waits for, parts of merged ones included.
func (c *client) underWay() int {
	n := 0
	for seq := c.ring.head; seq != c.ring.tail; seq++ {
		switch s := c.ring.at(seq); {
		case s.done:
		case s.merge != nil:
			n += s.merge.left
		default:
			n++
		}
	}
	return n
}

// retry sends the client's refused requests again if it has no others under way: all
// of them, or the first, to see whether it is still refused. It must not be called
// while a reply of the client's is half accounted for.
func (c *client) retry(all bool) {
	x := c.x
	if c.has(stateClosed) || c.underWay() > len(x.retries) {
		return
	}
	list := x.retries
	x.retries = nil
	n, seen := 0, tables{}
	for n < len(list) && (n == 0 || all || (list[n].apart && list[0].apart)) && list[n].send(seen) {
		c.w.retryBytes -= len(list[n].replay.frame)
		n++
	}
	if x.retries = list[n:]; n == len(list) {
		x.retries = nil
	}
}

// send sends the request again. It returns false if there is nobody to send it to.
func (r *retry) send(seen tables) bool {
	c := r.c
	if c.has(stateClosed) {
		return true
	}
	if r.apart {
		c.w.pool(r.from.key, r.from.cluster, r.from.opts).splitUp(&r.pending)
		return true
	}
	p := r.pool(seen)
	if p == nil {
		return false
	}
	u, _ := p.get(c)
	if u == nil {
		return false
	}
	again := r.pending
	again.hops, again.shard, again.deadline = 0, p.stats, c.f.deadline()
	again.tries = min(again.tries+1, 100)
	u.send(again.replay.frame, &again)
	return true
}

// pool is where the slot of the request is by now; nil if that server is down.
func (r *retry) pool(seen tables) *pool {
	c, cl := r.c, r.from.cluster
	t := target{cluster: cl, table: seen.of(cl)}
	if r.about.slot < 0 || t.table.Slots == nil || len(t.table.Shards) == 0 {
		return c.w.pool(r.from.key, cl, r.from.opts)
	}
	t.shard = shardOf(t.table, int(r.about.slot))
	e := c.f.endpoint(t, r.from.key.readonly)
	if !usable(e) {
		return nil
	}
	key := r.from.key
	key.endpoint, key.readonly = e, e != t.primary()
	return c.w.pool(key, cl, t.table.Options)
}

// retryAll sends again what has waited for long enough, and answers what has been
// tried for too long.
func (w *worker) retryAll(now int64) {
	list := w.retrying
	w.retrying = nil
	for _, c := range list {
		x := c.x
		for !c.has(stateClosed) && len(x.retries) > 0 && now >= x.retries[0].till && !c.lastTry() {
			if r := &x.retries[0]; r.tries > 0 {
				w.giveUp(r.vain(), now)
			}
			c.failRetry(0)
		}
		if !c.has(stateClosed) && len(x.retries) > 0 && now >= x.retryAt {
			x.retryAt = now + int64(maxRetryWait)
			c.retry(false)
		}
		if c.has(stateClosed) {
			w.forgetRetries(c)
		}
		if x.retrying = len(x.retries) > 0; x.retrying {
			w.retrying = append(w.retrying, c)
		}
	}
}

// lastTry sends the first refused request after all, if it has only waited for others
// so far. It returns false if it has been tried, or cannot be: because those others are
// held back until this one is answered, for one.
func (c *client) lastTry() bool {
	n := len(c.x.retries)
	if c.x.retries[0].tries > 0 || len(c.x.paused) > 0 && !c.conn.Full() {
		return false
	}
	c.retry(false)
	return len(c.x.retries) < n || c.underWay() > n
}

// forgetRetries lets go of what a client that has gone was to be answered.
func (w *worker) forgetRetries(c *client) {
	for i := range c.x.retries {
		w.retryBytes -= len(c.x.retries[i].replay.frame)
	}
	c.x.retries = nil
}
