package redis

import (
	"math"
	"slices"
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// take gets a connection to the target's primary for this client alone. A
// reason, which is an error message, says why there is none.
func (c *client) take(t target) (*upstream, string) {
	p, reason := c.poolFor(t, false)
	if p == nil {
		return nil, reason
	}
	return c.takeFrom(p)
}

// takeAny is take for a command that concerns no database: a busy server would
// refuse to SELECT one.
func (c *client) takeAny(t target) (*upstream, string) {
	p, reason := c.poolFor(t, false)
	if p == nil {
		return nil, reason
	}
	if key := p.key; key.db != 0 {
		key.db = 0
		p = c.w.pool(key, t.cluster, t.table.Options)
	}
	return c.takeFrom(p)
}

func (c *client) takeFrom(p *pool) (*upstream, string) {
	u, reason := p.take(c)
	if u == nil {
		return nil, p.unavailable(reason)
	}
	return u, ""
}

// giveBack returns the client's exclusive connection as soon as its last reply
// has come; dirty ones are closed then.
func (c *client) giveBack(u *upstream, dirty bool) {
	u.returning, u.dirty = true, dirty
	u.afterReply()
}

// afterReply lets go of a connection that was only waiting for its last reply.
func (u *upstream) afterReply() {
	if u.closed || u.queue.len() > 0 || u.unblocking > 0 { // its next owner must not be unblocked
		return
	}
	switch {
	case u.gone && u.spare:
		u.pool.giveBack(u)
	case u.shared:
		if u.gone {
			u.close()
		}
	case u.returning:
		if c := u.owner; c != nil && c.x != nil && c.x.exclusive == u {
			c.x.exclusive = nil
		}
		u.returning = false
		if u.dirty {
			u.close()
			return
		}
		u.pool.giveBack(u)
	}
}

// lostExclusive is called when the client's exclusive connection has failed.
// What waited on it has been answered.
func (c *client) lostExclusive(u *upstream) {
	if c.has(stateClosed) || c.x == nil {
		return
	}
	if c.x.exclusive == u {
		c.x.exclusive = nil
	}
	if t, ok := c.x.mode.(*tx); ok && t.u == u {
		t.broken()
	}
	if c.x.session == u {
		c.drop() // what the server would have said is lost
		return
	}
	if c.x.upload != nil {
		c.x.upload.lost(c, u)
	}
}

// handleBlocking sends a command that may block over a connection of its own,
// and takes no further request until it is answered.
func handleBlocking(c *client, r *request) bool {
	pl := c.place(r, target{})
	if pl.keys == 0 && pl.reason == "" {
		return handleKeyless(c, r) // the server knows best what is wrong with it
	}
	if !c.barrier() {
		return false
	}
	if pl.reason != "" {
		c.localError(r, pl.reason)
		return true
	}
	u := c.session()
	if u == nil {
		var reason string
		if u, reason = c.take(pl.to); u == nil {
			c.localError(r, reason)
			return true
		}
		c.extra().exclusive = u
	}
	u.learnID()
	seq, s := c.open(r)
	u.send(pl.frame, &pending{c: c, seq: seq, start: s.start, shard: u.pool.stats, replay: c.replayOf(pl.to, pl.frame, restartPlain)})
	if u != c.session() {
		c.giveBack(u, false)
	}
	c.state |= stateBarrier | stateBlocked
	return true
}

// waitsAt is the connection of the blocking command that the client waits for; nil
// if it waits for none, or if the reply is coming already.
func (c *client) waitsAt() *upstream {
	if c.x == nil || !c.has(stateBlocked) || c.x.exclusive == nil || c.x.exclusive.pieces {
		return nil
	}
	return c.x.exclusive
}

// waitsAside are the connections on which the client waits for WAIT.
func (c *client) waitsAside() []*upstream {
	if c.x == nil || !c.has(stateBlocked) {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.x.waits), func(u *upstream) bool { return u.closed || u.owner != c })
}

// endWait answers the client's blocking command. Its upstream connection is closed,
// so that the server forgets it.
func (c *client) endWait(reply []byte) {
	u := c.x.exclusive
	c.x.exclusive = nil
	u.owner = nil
	for i := range u.queue.len() {
		u.queue.at(i).c = nil
	}
	u.close()
	c.reply(c.ring.tail-1, reply) // only a message may stand before it
}

// handleStreamRead is XREAD and XREADGROUP, which block only if told so.
func handleStreamRead(c *client, r *request) bool {
	for i := 1; i < r.argc() && !r.is(i, "streams"); i++ {
		switch {
		case r.is(i, "block"):
			return handleBlocking(c, r)
		case r.is(i, "group"): // which may be called "streams"
			i += 2
		case r.is(i, "count"), r.is(i, "claim"):
			i++
		}
	}
	return handleKeys(c, r)
}

// handleWait asks every shard how many replicas have the client's writes. It
// needs connections of its own, since it blocks; the PING before it makes the
// server take everything up to now for this connection's last write.
func handleWait(c *client, r *request) bool {
	how := combineMin
	if r.name == "waitaof" {
		how = combineMinEach
	}
	return c.fanOutAside(r, aside{how: how, take: c.take, first: requestPing})
}

// handleScriptKill is SCRIPT KILL and FUNCTION KILL. A server that is busy with a
// script does not look at what stands behind it on the same connection.
func handleScriptKill(c *client, r *request) bool {
	return c.fanOutAside(r, aside{how: combineFirst, tolerant: true, take: c.takeAny, limited: true})
}

// aside says how a command goes to every shard over connections of the client's own.
type aside struct {
	how      combine
	tolerant bool
	take     func(target) (*upstream, string)
	limited  bool   // by the time that a request may take; else it may block
	first    []byte // goes before it
}

func (c *client) fanOutAside(r *request, a aside) bool {
	if !c.barrier() {
		return false
	}
	var targets []target
	c.f.shards(func(t target) { targets = append(targets, t) })
	if len(targets) == 0 {
		return handleKeyless(c, r)
	}
	m := c.w.takeMerge(a.how, len(targets))
	m.tolerant = a.tolerant
	seq, s := c.open(r)
	s.merge = m
	ask := pending{c: c, seq: seq, start: s.start}
	if a.limited {
		ask.deadline = c.f.deadline()
	}
	frame := slices.Clone(r.raw(c.w))
	x := c.extra()
	x.waits = x.waits[:0]
	for i, t := range targets {
		ask.part = int32(i)
		u, reason := a.take(t)
		if u == nil {
			c.failPart(seq, ask.part, reason)
			continue
		}
		if !a.limited {
			u.learnID()
		}
		if a.first != nil {
			u.send(a.first, &pending{what: expectIgnore, start: ask.start})
		}
		ask.shard = u.pool.stats
		u.send(frame, &ask)
		u.returning = true
		x.waits = append(x.waits, u)
	}
	if c.ring.len() > 0 {
		c.state |= stateBarrier | stateBlocked
	}
	return true
}

var requestPing = redisproto.AppendCommand(nil, "PING")

// combineMinEach takes the minimum at each position of integer arrays (WAITAOF).
func combineMinEach(m *merge, dst []byte, _ uint8) []byte {
	var least []int64
	for _, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		for i := range v.Elems {
			if i == len(least) {
				least = append(least, v.Elems[i].Int)
			}
			least[i] = min(least[i], v.Elems[i].Int)
		}
	}
	dst = redisproto.AppendArray(dst, len(least))
	for _, n := range least {
		dst = redisproto.AppendInt(dst, n)
	}
	return dst
}

// handleSelect changes the client's database, which costs nothing until a
// request is sent there. A number beyond Redis' default is tried on the server
// first, since only it knows how many there are.
func handleSelect(c *client, r *request) bool {
	db, err := strconv.ParseInt(string(r.arg(1)), 10, 64)
	switch {
	case err != nil:
		c.localError(r, "ERR value is not an integer or out of range")
	case db < math.MinInt32 || db > math.MaxInt32:
		c.localError(r, "ERR value is out of range, value must between -2147483648 and 2147483647")
	case db < 0:
		c.localError(r, errDBIndex)
	case c.f.slots() && db != 0:
		c.localError(r, "ERR SELECT is not allowed in cluster mode")
	case c.own() != nil:
		c.selectOn(c.own(), r, int32(db))
	case db < defaultDatabases && int32(db) != c.db && !c.barrier():
		return false // MOVE, FLUSHALL and the like reach over databases, and each has connections of its own
	case db < defaultDatabases:
		c.db = int32(db)
		c.localOK(r)
	default:
		return c.trySelect(r, int32(db))
	}
	return true
}

const (
	defaultDatabases = 16
	errDBIndex       = "ERR DB index is out of range"
)

// own is the connection that the client's next requests take because of a WATCH
// or a session; nil if they take the shared ones.
func (c *client) own() *upstream {
	if c.x == nil {
		return nil
	}
	if t, ok := c.x.mode.(*tx); ok && t.u != nil {
		t.dirty = true // it is not as it was
		return t.u
	}
	return c.x.session
}

// selectOn sends SELECT on a connection of the client's own, and follows it if
// it succeeds.
func (c *client) selectOn(u *upstream, r *request, db int32) {
	seq, s := c.open(r)
	s.finish = func(c *client, frame []byte) []byte {
		if !isError(frame) {
			c.db = db
		}
		return frame
	}
	frame := redisproto.AppendCommand(nil, "SELECT", strconv.Itoa(int(effectiveDB(db, u.pool.opts))))
	u.send(frame, &pending{c: c, seq: seq, start: s.start, deadline: c.f.deadline(), shard: u.pool.stats})
}

func (c *client) trySelect(r *request, db int32) bool {
	if !c.barrier() {
		return false
	}
	first, ok := c.f.firstShard()
	if !ok {
		c.localError(r, errDBIndex)
		return true
	}
	u, reason := c.take(first)
	if u == nil {
		c.localError(r, reason)
		return true
	}
	c.extra().exclusive = u
	c.selectOn(u, r, db)
	c.giveBack(u, true)
	c.state |= stateBarrier
	return true
}
