package redis

// blockLater is tryLater for a blocking command, which its client waits for alone. Its
// connection is as it was, and goes back to the pool.
func (u *upstream) blockLater(r *retry) bool {
	c, now := r.c, u.pool.w.loop.Now()
	if !c.has(stateBlocked) || c.x.exclusive != u || !u.returning || u.queue.len() > 0 {
		return false
	}
	if r.tries == 0 || now-r.replay.sent > int64(c.f.retryPatience()) {
		r.start, r.tries = now, 0 // it was blocked before
	}
	r.till = r.start + int64(c.f.retryPatience())
	if now >= r.till {
		return false
	}
	u.pool.w.loop.After(r.retryWait(), r.blockAgain)
	return true
}

// blockAgain sends a blocking command again.
func (r *retry) blockAgain() {
	c := r.c
	if !r.live() || c.answered(r.seq) {
		return
	}
	var u *upstream
	if p := r.pool(tables{}); p != nil {
		u, _ = p.take(c)
	}
	r.tries = min(r.tries+1, 100)
	switch {
	case u != nil:
		c.x.exclusive = u
		u.learnID()
		again := r.pending
		again.hops, again.shard = 0, u.pool.stats
		again.replay.sent = c.w.loop.Now()
		u.send(again.replay.frame, &again)
		c.giveBack(u, false)
	case c.w.loop.Now() < r.till:
		c.w.loop.After(r.retryWait(), r.blockAgain)
	default:
		c.failPart(r.seq, r.part, errorText(r.reply))
	}
}
