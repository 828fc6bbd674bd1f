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
	restartMulti         // before it there was only a MULTI
)

// replayOf is what has to be kept of a request for a redirection; nil if none can
// be followed.
func (c *client) replayOf(t target, frame []byte, how restart) *replay {
	if t.table.Slots == nil || !c.f.cfg.Redirection || len(frame) > maxReplay {
		return nil
	}
	return &replay{frame: bytes.Clone(frame), restart: how}
}

// relocate has another connection, to where the slot is now, take the place of
// one of its client's own, of which p is the first request: that of a blocking
// command, or a transaction's. What has been sent after p is sent there again,
// since none of it has been executed. It returns false if that can't be done.
func (u *upstream) relocate(p *pending, e *filters.Endpoint, ask bool) bool {
	for i := range u.queue.len() {
		if u.queue.at(i).replay == nil {
			return false
		}
	}
	c := p.c
	key := poolKey{endpoint: e, db: u.pool.key.db, resp: u.pool.key.resp}
	to, reason := u.pool.w.pool(key, u.pool.cluster, u.pool.opts).take(c)
	if to == nil {
		c.failPart(p.seq, p.part, "ERR dragoman: redirected to "+e.Address+reason)
		return true
	}
	c.f.stats.redirections++
	again := *p
	again.hops++
	asking := func() { to.send(askingRequest, &pending{what: expectIgnore, start: p.start}) }
	if ask {
		asking()
	}
	if p.replay.restart == restartMulti { // which keeps the effect of ASKING until its end
		to.send(requestMulti, &pending{what: expectIgnore, start: p.start, replay: &replay{frame: requestMulti}})
	}
	to.resend(again)
	for each := ask && p.replay.restart == restartPlain; u.queue.len() > 0; {
		if each {
			asking()
		}
		var next pending
		u.queue.pop(&next)
		each = each && !next.replay.multi
		to.resend(next)
	}
	u.handOver(to, ask && p.replay.restart == restartPlain)
	return true
}

// resend sends a request that another connection was to send.
func (u *upstream) resend(p pending) {
	if p.deadline != 0 && p.c != nil {
		p.deadline = p.c.f.deadline()
	}
	p.shard = u.pool.stats
	u.send(p.replay.frame, &p)
}

// handOver makes to what u was for its client, and closes u: its server forgets
// what was begun there.
func (u *upstream) handOver(to *upstream, asking bool) {
	c := u.owner
	to.returning, to.dirty = u.returning, u.dirty
	if t := c.watching(); t != nil && t.u == u {
		t.u, t.shard, t.asking = to, to.pool.key.endpoint, asking
	}
	if c.x != nil && c.x.exclusive == u {
		c.x.exclusive = to
	}
	u.returning, u.owner = false, nil
	u.close()
}
