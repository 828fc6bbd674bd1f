package redis

import (
	"strconv"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// tx is the mode of a client with WATCH or MULTI. It pins one connection, to
// the shard of the first key; until a key is known nothing is sent, and what
// comes is queued here.
type tx struct {
	u        *upstream // nil until the shard is known
	shard    *filters.Endpoint
	multi    bool
	watching bool
	early    []byte // frames that came before the first key
	earlyN   int
	broken   string // why EXEC must not run
	db       int32  // database that a queued SELECT leads to; -1: none
	dirty    bool   // the connection is not as it was: do not use it again
}

var (
	requestMulti   = redisproto.AppendCommand(nil, "MULTI")
	requestDiscard = redisproto.AppendCommand(nil, "DISCARD")
)

func newTx() *tx { return &tx{db: -1} }

// handleMulti begins a transaction.
func handleMulti(c *client, r *request) bool {
	if !c.barrier() {
		return false
	}
	t := newTx()
	t.multi = true
	if to, ok := c.f.one(); ok {
		if reason := t.pin(c, to); reason != "" {
			c.localError(r, reason)
			return true
		}
		t.send(c, r)
	} else {
		c.localOK(r)
	}
	c.extra().mode = t
	return true
}

// handleWatch pins the connection that the transaction will use.
func handleWatch(c *client, r *request) bool {
	if !c.barrier() {
		return false
	}
	t := newTx()
	if !t.keyed(c, r) {
		return true
	}
	t.watching = true
	c.extra().mode = t
	return true
}

func handleUnwatch(c *client, r *request) bool {
	c.localOK(r)
	return true
}

func handleExecWithoutMulti(c *client, r *request) bool {
	c.localError(r, "ERR EXEC without MULTI")
	return true
}

func handleDiscardWithoutMulti(c *client, r *request) bool {
	c.localError(r, "ERR DISCARD without MULTI")
	return true
}

// dispatch takes the requests of a client in a transaction.
func (t *tx) dispatch(c *client, r *request) bool {
	switch r.name {
	case "quit", "reset":
		return r.handle(c, r)
	case "exec", "discard":
		return t.finish(c, r)
	case "multi":
		return t.begin(c, r)
	case "unwatch":
		if !t.multi {
			t.watching = false
			t.send(c, r)
			t.leave(c)
			return true
		}
	}
	if !t.multi {
		return t.outside(c, r)
	}
	t.queued(c, r)
	return true
}

// begin is MULTI after WATCH, or the error of a nested one.
func (t *tx) begin(c *client, r *request) bool {
	switch {
	case t.multi && t.u == nil:
		c.localError(r, "ERR MULTI calls can not be nested")
	case t.u == nil:
		c.localError(r, t.lostError())
	default:
		t.multi = true
		t.send(c, r)
	}
	return true
}

// outside is a command between WATCH and MULTI: on the pinned connection if it
// is for the same shard, so that it runs after the WATCH, else as usual.
func (t *tx) outside(c *client, r *request) bool {
	if r.name == "watch" {
		t.keyed(c, r)
		return true
	}
	if r.spec == nil || r.blocking || t.u == nil {
		return r.handle(c, r)
	}
	keys, err := r.spec.AppendKeys(r.cmd, r.frame, c.w.keys[:0])
	c.w.keys = keys
	if err != nil || len(keys) == 0 {
		return r.handle(c, r)
	}
	to, frame, reason := c.resolve(r, keys)
	if reason == "" && to.table.Shards[to.shard].Primary == t.shard {
		t.sendFrame(c, r, frame)
		return true
	}
	return r.handle(c, r)
}

// queued is a command between MULTI and EXEC.
func (t *tx) queued(c *client, r *request) {
	switch {
	case r.name == "select" && r.argc() == 2:
		if db, err := strconv.Atoi(string(r.arg(1))); err == nil {
			t.db, t.dirty = int32(db), true //nolint:gosec // the server checks the range
		}
	case r.name == "client" || r.name == "hello" || r.name == "auth":
		t.dirty = true
	}
	if t.broken != "" {
		c.localError(r, t.broken)
		return
	}
	if _, ok := c.f.one(); ok && t.u != nil {
		t.send(c, r)
		return
	}
	if r.spec == nil {
		c.w.out = appendUnknown(c.w.out[:0], r)
		c.local(r, c.w.out)
		t.spoil()
		return
	}
	keys, err := r.keys(c)
	switch {
	case err == nil && len(keys) > 0:
		t.keyed(c, r)
	case r.spec.Flags&redisproto.NoMulti != 0:
		c.localError(r, "ERR Command not allowed inside a transaction")
		t.spoil()
	case t.u != nil:
		t.send(c, r)
	default:
		t.early = append(t.early, r.raw(c.w)...)
		t.earlyN++
		c.local(r, replyQueued)
	}
}

// keys are the argument indexes of the request's keys, in c.w.keys. The
// channel of PUBLISH counts as one, since it decides the shard.
func (r *request) keys(c *client) ([]int, error) {
	if r.name == "publish" {
		c.w.keys = append(c.w.keys[:0], 1)
		return c.w.keys, nil
	}
	spec := r.spec
	if r.argc() > 1 {
		if sub := spec.Subcommand(r.arg(1)); sub != nil {
			spec = sub
		}
	}
	keys, err := spec.AppendKeys(r.cmd, r.frame, c.w.keys[:0])
	c.w.keys = keys
	return keys, err
}

// keyed sends a command with keys, pinning their shard first. It returns false
// if that could not be done; the client has been told then.
func (t *tx) keyed(c *client, r *request) bool {
	keys, err := r.keys(c)
	if err != nil || len(keys) == 0 {
		c.localError(r, "ERR Invalid arguments for '"+r.name+"' command")
		t.spoil()
		return false
	}
	to, frame, reason := c.resolve(r, keys)
	if reason == "" && t.u == nil && t.broken == "" {
		reason = t.pin(c, to)
	}
	if reason == "" && to.table.Shards[to.shard].Primary != t.shard {
		reason = errCrossSlot
	}
	if reason != "" {
		c.localError(r, reason)
		t.spoil()
		return false
	}
	t.sendFrame(c, r, frame)
	return true
}

// pin takes a connection to the target's primary and brings it up to date.
func (t *tx) pin(c *client, to target) string {
	u, reason := c.take(to)
	if u == nil {
		return reason
	}
	t.u, t.shard = u, u.pool.key.endpoint
	c.extra().exclusive = u
	if t.multi && !c.isOne() {
		u.send(requestMulti, pending{what: expectIgnore, start: c.w.loop.Now(), deadline: c.f.deadline()})
		if t.earlyN > 0 {
			u.conn.Write(t.early)
			for range t.earlyN {
				u.expect(pending{what: expectIgnore, start: c.w.loop.Now(), deadline: c.f.deadline()})
			}
			t.early, t.earlyN = nil, 0
		}
	}
	return ""
}

func (c *client) isOne() bool {
	_, ok := c.f.one()
	return ok
}

func (t *tx) send(c *client, r *request) { t.sendFrame(c, r, r.raw(c.w)) }

func (t *tx) sendFrame(c *client, r *request, frame []byte) {
	if t.u == nil {
		c.localError(r, t.lostError())
		return
	}
	seq, s := c.open(r)
	t.u.send(frame, pending{c: c, seq: seq, start: s.start, deadline: c.f.deadline(), shard: t.u.pool.stats})
}

func (t *tx) lostError() string {
	if t.broken != "" {
		return t.broken
	}
	return "ERR dragoman: the connection of this transaction was lost"
}

// spoil makes EXEC fail, as a command that could not be queued does.
func (t *tx) spoil() {
	if t.multi && t.broken == "" {
		t.broken = "EXECABORT Transaction discarded because of previous errors."
	}
}

// finish is EXEC or DISCARD.
func (t *tx) finish(c *client, r *request) bool {
	switch {
	case !t.multi:
		return r.handle(c, r)
	case r.name == "exec" && t.broken != "":
		t.discard(c)
		c.localError(r, "EXECABORT Transaction discarded because of previous errors.")
	case t.u == nil && r.name == "exec" && t.earlyN > 0:
		return t.execKeyless(c, r)
	case t.u == nil && r.name == "exec":
		c.local(r, []byte("*0\r\n"))
	case t.u == nil:
		c.localOK(r)
	default:
		t.execute(c, r)
	}
	t.leave(c)
	return true
}

// execute sends EXEC or DISCARD over the pinned connection.
func (t *tx) execute(c *client, r *request) {
	seq, s := c.open(r)
	if db := t.db; db >= 0 && r.name == "exec" {
		s.finish = func(c *client, frame []byte) []byte {
			if !isError(frame) {
				c.db = db
			}
			return frame
		}
	}
	t.u.send(r.raw(c.w), pending{c: c, seq: seq, start: s.start, deadline: c.f.deadline(), shard: t.u.pool.stats})
}

// execKeyless runs a transaction without any key on the first shard.
func (t *tx) execKeyless(c *client, r *request) bool {
	reason := "ERR dragoman: listener " + c.f.name + " has no endpoint yet"
	done := false
	c.f.shards(func(to target) {
		if !done {
			done, reason = true, t.pin(c, to)
		}
	})
	if reason != "" {
		c.localError(r, reason)
	} else {
		t.execute(c, r)
	}
	t.leave(c)
	return true
}

// discard ends a transaction on the server that the proxy has refused itself.
func (t *tx) discard(c *client) {
	if t.u != nil {
		t.u.send(requestDiscard, pending{what: expectIgnore, start: c.w.loop.Now(), deadline: c.f.deadline()})
	}
}

// leave ends the mode: the connection goes back when its last reply has come,
// and the client's next request waits for that, since it takes another way.
func (t *tx) leave(c *client) {
	c.x.mode = nil
	u := t.u
	t.u = nil
	if u == nil {
		return
	}
	c.giveBack(u, t.dirty)
	if c.ring.len() > 0 {
		c.state |= stateBarrier
	}
}

// end is called when the client goes away: the server forgets the transaction
// with the connection.
func (t *tx) end(c *client) {
	if t.u != nil {
		t.u.close()
		t.u = nil
		c.x.exclusive = nil
	}
}

// lost is called when the pinned connection has failed.
func (t *tx) lost() {
	t.u = nil
	t.broken = "ERR dragoman: the connection of this transaction was lost"
}
