package redis

import (
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// tx is the mode of a client with WATCH or MULTI. It pins one connection, to
// the shard of the first key; until a key is known nothing is sent, and what
// comes is queued here.
type tx struct {
	u        *upstream // nil until the shard is known, and after a loss
	shard    *filters.Endpoint
	home     target  // where the table had the first key: all others are placed by that table, too
	restart  restart // of the next request
	asking   bool    // each request but those in MULTI needs an ASKING
	borrowed bool    // u is the client's session, not this transaction's own
	multi    bool
	aborted  bool   // EXEC will refuse, since a command could not be queued
	lost     string // why there is no connection (any more): the answer to all but the end
	queued   int    // commands that the server is to execute
	early    []byte // those that came before the first key
	earlyN   int
	queues   *replayed // what MULTI has queued, if all of it can be sent again; else nil
	selects  []queuedSelect
	dirty    bool // u is not as it was: it is not used again
	away     bool // the latest request took another connection than u
}

// queuedSelect is a SELECT in a transaction, which counts once it is executed.
type queuedSelect struct {
	index int // of its reply in that of EXEC
	db    int32
}

var (
	requestMulti   = redisproto.AppendCommand(nil, "MULTI")
	requestDiscard = redisproto.AppendCommand(nil, "DISCARD")
	requestUnwatch = redisproto.AppendCommand(nil, "UNWATCH")
	replyEmpty     = []byte("*0\r\n")
)

const errExecAbort = "EXECABORT Transaction discarded because of previous errors."

// handleMulti begins a transaction. It never fails, since a client that has
// sent more after it could not tell what was executed then.
func handleMulti(c *client, r *request) bool {
	if !c.barrier() {
		return false
	}
	c.extra().mode = &tx{multi: true}
	c.localOK(r)
	return true
}

// handleWatch pins the connection that the transaction will use.
func handleWatch(c *client, r *request) bool {
	if !c.barrier() {
		return false
	}
	t := &tx{}
	if t.watch(c, r) {
		c.extra().mode = t
		c.ring.at(c.ring.tail - 1).finish = t.watched
	}
	return true
}

// watched is told of the reply to the first WATCH. A client that gets an error watches
// nothing, and need not send UNWATCH.
func (t *tx) watched(c *client, frame []byte) []byte {
	if isError(frame) && c.x.mode == mode(t) && !t.multi && (t.u == nil || t.u.queue.len() == 0) {
		t.leave(c)
	}
	return frame
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
	if t.away {
		if !c.barrier() {
			return false
		}
		t.away = false
	}
	switch r.name {
	case "quit", "reset":
		return r.handle(c, r)
	case "exec", "discard":
		if !t.multi {
			return r.handle(c, r)
		}
		t.finish(c, r)
		return true
	case "multi":
		t.begin(c, r)
		return true
	case "watch":
		if t.multi {
			c.localError(r, "ERR WATCH inside MULTI is not allowed")
		} else {
			t.watch(c, r)
		}
		return true
	}
	if t.multi {
		t.queue(c, r)
		return true
	}
	return t.outside(c, r)
}

// begin is MULTI after WATCH, or the error of a nested one. If the connection
// of the WATCH is gone, the commands to come are told so.
func (t *tx) begin(c *client, r *request) {
	switch {
	case t.multi:
		c.localError(r, "ERR MULTI calls can not be nested")
	case t.u == nil:
		t.multi = true
		c.localOK(r)
	default:
		t.multi = true
		t.send(c, r, r.raw(c.w))
	}
}

// outside is a command between WATCH and MULTI: on the pinned connection if it
// has keys of that shard, else as usual, when the WATCH is in force.
func (t *tx) outside(c *client, r *request) bool {
	if r.name == "unwatch" {
		if t.u == nil {
			c.localOK(r)
		} else {
			t.send(c, r, r.raw(c.w))
		}
		t.leave(c)
		return true
	}
	if t.u != nil && r.spec != nil && !r.blocking {
		p := c.place(r, t.home)
		if p.keys > 0 && p.reason == "" && t.on(p.to) {
			t.send(c, r, p.frame)
			return true
		}
	}
	if !c.barrier() {
		return false
	}
	t.away = true
	return r.handle(c, r)
}

// watch sends WATCH, pinning the shard of its keys first. It reports whether
// that could be done; the client has been answered in any case.
func (t *tx) watch(c *client, r *request) bool {
	p := c.place(r, t.home)
	reason := p.reason
	if reason == "" && t.lost != "" {
		reason = t.lost
		c.x.mode = nil // told: the next WATCH begins anew
	}
	first := t.u == nil
	if reason == "" && first {
		reason = t.pin(c, p.to)
	}
	if reason == "" && !t.on(p.to) {
		reason = errCrossSlot
	}
	if reason != "" {
		c.localError(r, reason)
		return false
	}
	t.send(c, r, p.frame)
	if first && p.to.table.Slots != nil {
		c.state |= stateBarrier // it may have to follow its slot, when what is behind it must not have been executed
	}
	return true
}

// pin takes a connection to the target's primary and brings it up to date.
func (t *tx) pin(c *client, to target) string {
	u := c.session()
	t.borrowed = u != nil
	if u == nil {
		var reason string
		if u, reason = c.take(to); u == nil {
			return reason
		}
	}
	t.u, t.shard, t.home, t.restart = u, to.primary(), to, restartPlain
	if t.multi {
		t.restart = restartMulti
		u.send(requestMulti, t.unasked(c, requestMulti))
		if t.earlyN > 0 {
			u.conn.Write(t.early)
			for range t.earlyN {
				u.expect(t.unasked(c, nil))
			}
		}
		if to.table.Slots != nil && c.f.cfg.Redirection && len(t.early) <= maxReplay {
			t.queues = &replayed{t.early, t.earlyN}
		} else if t.earlyN > 0 {
			t.restart = restartNever
		}
		t.early, t.earlyN = nil, 0
	}
	return ""
}

// unasked is the reply to a request of which the client knows nothing.
func (t *tx) unasked(c *client, frame []byte) *pending {
	return &pending{
		what: expectIgnore, start: c.w.loop.Now(), deadline: c.f.deadline(), replay: c.replayOf(t.home, frame, restartNever),
	}
}

func (t *tx) send(c *client, r *request, frame []byte) {
	seq, s := c.open(r)
	if t.asking && (!t.multi || r.name == "multi") {
		t.u.send(askingRequest, t.unasked(c, askingRequest))
	}
	t.u.send(frame, t.asked(c, seq, s, frame))
	if t.queues != nil && !t.queues.add(frame) {
		t.queues = nil
	}
}

// asked is the reply to a request of the client's.
func (t *tx) asked(c *client, seq uint32, s *slot, frame []byte) *pending {
	p := &pending{c: c, seq: seq, start: s.start, deadline: c.f.deadline(), shard: t.u.pool.stats}
	p.replay = c.replayOf(t.home, frame, t.restart)
	if p.replay != nil && t.restart == restartMulti && t.queues != nil {
		p.replay.behind = *t.queues
	}
	t.restart = restartNever
	return p
}

// on reports whether keys at a target are on the pinned connection's shard.
func (t *tx) on(to target) bool {
	e := to.primary()
	return e == t.shard || e == t.home.primary()
}

// refused is called for a request that is not executed.
func (t *tx) refused(c *client, r *request) {
	t.spoil()
	if r.name != "exec" {
		return
	}
	if t.multi {
		t.discard(c)
	} else if t.u != nil {
		t.u.send(requestUnwatch, t.unasked(c, requestUnwatch))
	}
	t.leave(c)
}

// spoil makes EXEC fail, as a command that could not be queued does.
func (t *tx) spoil() { t.aborted = t.aborted || t.multi }

// finish is EXEC or DISCARD.
func (t *tx) finish(c *client, r *request) {
	exec := r.name == "exec"
	if exec && !t.aborted && t.lost == "" && t.u == nil && t.earlyN > 0 {
		t.pinAny(c)
	}
	switch {
	case exec && (t.aborted || t.lost != ""):
		t.discard(c)
		c.localError(r, errExecAbort)
	case t.u == nil && exec:
		c.local(r, replyEmpty)
	case t.u == nil:
		c.localOK(r)
	default:
		t.execute(c, r)
	}
	t.leave(c)
}

// pinAny is for a transaction without any key: it takes the first shard.
func (t *tx) pinAny(c *client) {
	t.lost = c.noEndpoint()
	done := false
	c.f.shards(func(to target) {
		if !done {
			done, t.lost = true, t.pin(c, to)
		}
	})
}

// execute sends EXEC or DISCARD over the pinned connection.
func (t *tx) execute(c *client, r *request) {
	seq, s := c.open(r)
	if r.name == "exec" && len(t.selects) > 0 {
		s.finish = t.executed
	}
	frame := r.raw(c.w)
	if t.queues != nil && r.name == "exec" {
		t.restart = restartMulti // EXEC that is refused has executed nothing
	}
	t.u.send(frame, t.asked(c, seq, s, frame))
}

// executed takes over the database that the transaction has selected.
func (t *tx) executed(c *client, frame []byte) []byte {
	count, replies, err := redisproto.Elements(frame)
	if err != nil || count < 0 {
		return frame
	}
	i, left := 0, t.selects
	for reply := range replies {
		if len(left) > 0 && left[0].index == i {
			if !isError(reply) {
				c.db = left[0].db
			}
			left = left[1:]
		}
		i++
	}
	return frame
}

// discard ends a transaction on the server that the proxy has refused itself.
func (t *tx) discard(c *client) {
	if t.u != nil {
		t.u.send(requestDiscard, t.unasked(c, requestDiscard))
	}
}

// leave ends the mode: the connection goes back when its last reply has come,
// and the client's next request waits for that, since it takes another way.
// A connection that may be in another database now is not used again.
func (t *tx) leave(c *client) {
	c.x.mode = nil
	u := t.u
	t.u = nil
	if u == nil || t.borrowed {
		return
	}
	c.giveBack(u, t.dirty || len(t.selects) > 0)
	if c.ring.len() > 0 {
		c.state |= stateBarrier
	}
}

// end is called when the client goes away, or is reset: the server forgets the
// transaction with the connection.
func (t *tx) end(*client) {
	if t.u != nil {
		t.u.close()
		t.u = nil
	}
}

// broken is called when the pinned connection has failed.
func (t *tx) broken() {
	t.u, t.home = nil, target{}
	t.lost = "ERR dragoman: the connection of this transaction was lost"
}
