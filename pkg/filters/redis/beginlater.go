package redis

// beginLater is tryLater for the first request of a transaction, or for its EXEC.
func (u *upstream) beginLater(r *retry) bool {
	c, w := r.c, u.pool.w
	if u == c.session() || !u.repeatable(&r.pending) {
		return false
	}
	b := u.withdraw(&r.pending)
	w.retryBytes += b.size()
	c.hold() // it has no connection until then
	u.close()
	w.loop.After(r.retryWait(), func() { r.begin(&b) })
	return true
}

// size is how much of requests is kept.
func (b *beginning) size() int {
	n := len(b.first.replay.frame) + len(b.first.replay.behind.frames)
	for i := range b.rest {
		n += len(b.rest[i].replay.frame)
	}
	return n
}

// begin begins a refused transaction again. If there has been nobody to send it to for
// too long, its client gets the error for all of it.
func (r *retry) begin(b *beginning) {
	c, w := r.c, r.c.w
	var u *upstream
	if p := r.pool(tables{}); r.live() && p != nil {
		u, _ = p.take(c)
	}
	b.first.tries = min(b.first.tries+1, 100)
	if r.live() && u == nil && w.loop.Now() < r.till {
		w.loop.After(b.first.retryWait(), func() { r.begin(b) })
		return
	}
	w.retryBytes -= b.size()
	if u != nil {
		b.first.hops = 0
		b.send(u, false)
		return
	}
	for _, p := range append([]pending{b.first}, b.rest...) {
		if p.live() {
			c.failPart(p.seq, p.part, errorText(r.reply))
		}
	}
}
