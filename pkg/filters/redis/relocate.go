package redis

import (
	"bytes"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// restart says whether the request is the first of a connection of its client's
// own, so that nothing is lost when another connection takes its place.
type restart uint8

const (
	restartNever restart = iota
	restartPlain         // it is the very first
	restartMulti         // before it there was only a MULTI, and what that has queued
)

// replayOf is what has to be kept of a request for a redirection; nil if none can
// be followed.
func (c *client) replayOf(t target, frame []byte, how restart) *replay {
	if t.table.Slots == nil || !c.f.cfg.Redirection || len(frame) > maxReplay {
		return nil
	}
	return &replay{frame: bytes.Clone(frame), restart: how}
}

// replayed are requests that go before another one when that is sent again.
type replayed struct {
	frames []byte
	n      int
}

// add reports whether the request could be added.
func (r *replayed) add(frame []byte) bool {
	if len(r.frames)+len(frame) > maxReplay {
		return false
	}
	r.frames, r.n = append(r.frames, frame...), r.n+1
	return true
}

// notQueued notes that a request that went before is refused for a while, or here: EXEC
// is then refused without a reason.
func (r *replay) notQueued(frame []byte) {
	code, _, _ := bytes.Cut(frame, []byte(" "))
	switch string(code) {
	case "-MOVED", "-ASK", "-TRYAGAIN", "-CLUSTERDOWN", "-LOADING", "-MASTERDOWN":
		if r.refused == nil {
			r.refused = bytes.Clone(frame)
		}
	}
}

// beginning is what a client has sent over a connection of its own, a blocking command
// or a transaction's requests, of which nothing has been executed: another connection
// may take that one's place.
type beginning struct {
	first     pending // its reply says that nothing was executed
	rest      []pending
	tx        *tx // nil if it has left already, or it is none
	home      target
	exclusive bool
	returning bool
	dirty     bool
}

// repeatable reports whether p, which has been refused, and all that has been sent after it,
// can be sent over another connection, with nothing executed twice, and nothing executed of
// which the client was told that it would not be. In MULTI, EXEC is refused when a command
// before it was; behind a WATCH or a blocking command, what follows may be executed.
func (u *upstream) repeatable(p *pending) bool {
	how := p.replay.restart
	if how == restartNever || how == restartPlain && u.queue.len() > 0 || u.refusals || p.c.uploadsTo(u) {
		return false
	}
	for i := range u.queue.len() {
		if u.queue.at(i).replay == nil {
			return false
		}
	}
	return true
}

// withdraw takes p, which has been answered, and what was sent after it back from the
// connection, which is to be closed: its server forgets what was begun there.
func (u *upstream) withdraw(p *pending) beginning {
	c := p.c
	b := beginning{first: *p, returning: u.returning, dirty: u.dirty}
	for u.queue.len() > 0 {
		var next pending
		u.queue.pop(&next)
		b.rest = append(b.rest, next)
	}
	if t := c.watching(); t != nil && t.u == u {
		b.tx, b.home = t, t.home
		t.broken() // until it has another one
	}
	b.exclusive = c.x != nil && c.x.exclusive == u
	u.returning, u.owner = false, nil
	return b
}

// relocate has another connection, to where the slot is now, take the place of
// one of its client's own, of which p is the first request. It returns false if that
// can't be done.
func (u *upstream) relocate(p *pending, e *filters.Endpoint, ask bool) bool {
	if !u.repeatable(p) {
		return false
	}
	c := p.c
	key := poolKey{endpoint: e, db: u.pool.key.db, resp: u.pool.key.resp}
	to, reason := u.pool.w.pool(key, u.pool.cluster, u.pool.opts).take(c)
	if to == nil {
		c.failPart(p.seq, p.part, "ERR dragoman: redirected to "+e.Address+reason)
		return true
	}
	c.f.stats.redirections++
	b := u.withdraw(p)
	b.first.hops++
	b.send(to, ask)
	u.close()
	return true
}

// send begins anew on a connection, which becomes the client's.
func (b *beginning) send(to *upstream, ask bool) {
	start, how := b.first.start, b.first.replay.restart
	if ask {
		to.send(askingRequest, &pending{what: expectIgnore, start: start})
	}
	if how == restartMulti { // which keeps the effect of ASKING until its end
		to.send(requestMulti, &pending{what: expectIgnore, start: start, replay: &replay{frame: requestMulti}})
		to.conn.Write(b.first.replay.behind.frames)
		for range b.first.replay.behind.n {
			to.expect(&pending{what: expectQueued, start: start, deadline: b.first.c.f.deadline(), replay: b.first.replay})
		}
	}
	c := b.first.c
	to.resend(b.first)
	if t := b.tx; t != nil {
		t.u, t.shard, t.home, t.asking, t.lost = to, to.pool.key.endpoint, b.home, ask && how == restartPlain, ""
	}
	for _, next := range b.rest {
		to.resend(next)
	}
	to.returning, to.dirty = b.returning, b.dirty
	if b.exclusive {
		c.x.exclusive = to
	}
}

// resend sends a request that another connection was to send.
func (u *upstream) resend(p pending) {
	if p.deadline != 0 && p.c != nil {
		p.deadline = p.c.f.deadline()
	}
	p.shard = u.pool.stats
	u.send(p.replay.frame, &p)
}
