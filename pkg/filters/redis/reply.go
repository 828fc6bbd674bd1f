package redis

import (
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// open takes a slot for r, whose reply will come later. r may be nil for
// replies that answer no command.
func (c *client) open(r *request) (uint32, *slot) {
	seq, s := c.ring.push(c.w)
	s.start = c.w.loop.Now()
	if r != nil {
		s.cmd = r.command
	} else {
		s.cmd = c.w.b.commands.other
	}
	if c.state&(stateReplyOff|stateReplySkip) != 0 {
		s.mute = true
		c.state &^= stateReplySkip
	}
	return seq, s
}

// reply answers slot seq with a whole frame.
func (c *client) reply(seq uint32, frame []byte) {
	s := c.ring.at(seq)
	if s.finish != nil {
		frame = s.finish(c, frame)
	}
	c.finishSlot(s, frame[0] == '-' || frame[0] == '!', len(frame))
	if seq != c.ring.head {
		s.done = true
		if !s.mute {
			c.keep(s, frame)
		}
		return
	}
	if !s.mute {
		c.conn.Write(frame)
	}
	c.pop()
	c.advance()
}

// replyChain is reply for a frame in chunks, which it owns.
func (c *client) replyChain(seq uint32, frame *netloop.Chain) {
	s, size, failed := c.ring.at(seq), frame.Len(), isError(frame.Head())
	if s.mute && s.finish == nil {
		frame.Free(c.w.loop)
	}
	c.held += frame.Len()
	frame.MoveTo(&s.reply)
	c.pieceEnd(seq, int64(size), failed)
}

// Small replies that have to wait share one buffer, which is far cheaper than a
// chunk for each.
const (
	stashReply = 1 << 10 // the largest reply that goes there
	stashSize  = 64 << 10
)

// keep holds a reply whose turn has not come.
func (c *client) keep(s *slot, frame []byte) {
	c.held += len(frame)
	if len(frame) > stashReply || len(c.stash)+len(frame) > stashSize {
		s.reply.Append(c.w.loop, frame)
		return
	}
	if c.stash == nil {
		c.stash = c.w.takeStash()
	}
	s.at, s.stashed = uint32(len(c.stash)), uint32(len(frame))
	c.stash = append(c.stash, frame...)
}

// dropStash gives the buffer back when nothing is held any more.
func (c *client) dropStash() {
	if c.stash != nil {
		c.w.putStash(c.stash)
		c.stash = nil
	}
}

// finishSlot does the accounting of an answered request.
func (c *client) finishSlot(s *slot, failed bool, size int) {
	s.failed = failed
	if s.further {
		return
	}
	took := c.w.loop.Now() - s.start
	c.f.stats.observe(s.cmd, took, failed)
	if took >= c.f.slowNanos && !c.has(stateBlocked) {
		c.f.slow(c, s, took)
	}
	if size > 4<<10 || (c.x != nil && c.x.averageReply > 0) {
		x := c.extra()
		x.averageReply += (int32(min(size, 1<<28)) - x.averageReply) / 4
	}
}

// local answers r at once with frame, in its turn.
func (c *client) local(r *request, frame []byte) {
	seq, _ := c.open(r)
	c.reply(seq, frame)
}

// localError answers r with an error message that begins with its code.
func (c *client) localError(r *request, msg string) {
	c.w.out = redisproto.AppendError(c.w.out[:0], msg)
	c.local(r, c.w.out)
}

// localOK answers r with +OK.
func (c *client) localOK(r *request) { c.local(r, replyOK) }

var (
	replyOK     = []byte("+OK\r\n")
	replyQueued = []byte("+QUEUED\r\n")
	replyPong   = []byte("+PONG\r\n")
)

// fail answers slot seq with an error message.
func (c *client) fail(seq uint32, msg string) {
	c.w.out = redisproto.AppendError(c.w.out[:0], msg)
	c.reply(seq, c.w.out)
}

// advance writes the slots at the head of the ring that are done, and as much
// of the first one that is not as has arrived.
func (c *client) advance() {
	for c.ring.len() > 0 {
		s := c.ring.at(c.ring.head)
		if s.stashed > 0 {
			c.held -= int(s.stashed)
			c.conn.Write(c.stash[s.at:][:s.stashed])
		} else if s.reply.Len() > 0 && (s.done || s.streams()) {
			s.open = !s.done
			c.held -= s.reply.Len()
			c.conn.WriteChain(&s.reply)
		}
		if !s.done {
			break
		}
		c.pop()
	}
	c.conn.SetCorked(c.has(stateMidBatch) && c.ring.len() > 0)
	if c.held == 0 {
		c.dropStash()
	}
	if c.conn.Full() {
		c.backedUp()
	}
	if c.x != nil {
		c.flushPushes()
		c.resumeUpstreams()
		if c.x.subs != nil {
			c.x.subs.written()
		}
	}
	c.settle()
}

// pop leaves the oldest slot, which has been answered. What a client sent at once it
// had better get at once.
func (c *client) pop() {
	if c.ring.at(c.ring.head).last {
		c.state &^= stateMidBatch
	} else {
		c.state |= stateMidBatch
	}
	c.ring.pop(c.w)
}

// streams reports whether the reply may be written piece by piece.
func (s *slot) streams() bool { return s.finish == nil && s.merge == nil && !s.mute }

// piece takes part of a reply that has not arrived whole. It owns p.
func (c *client) piece(seq uint32, p *netloop.Chunk) {
	s := c.ring.at(seq)
	switch {
	case s.mute && s.finish == nil:
		c.w.loop.Free(p)
	case seq == c.ring.head && s.streams():
		s.open = true
		c.conn.WriteChunk(p)
	case s.reply.Len() > maxGather && !s.streams():
		s.failed = true
		c.w.loop.Free(p)
	default:
		c.held += p.Len()
		s.reply.AppendChunk(p)
	}
}

// pieceEnd says that the pieces of slot seq are complete.
func (c *client) pieceEnd(seq uint32, size int64, failed bool) {
	s := c.ring.at(seq)
	if s.finish != nil {
		c.held -= s.reply.Len()
		if s.failed {
			s.reply.Free(c.w.loop)
			c.fail(seq, "ERR dragoman: the reply is too large to be rewritten")
			return
		}
		var held netloop.Chain
		s.reply.MoveTo(&held)
		c.reply(seq, held.Contiguous(c.w.loop))
		held.Free(c.w.loop)
		return
	}
	c.finishSlot(s, failed, int(size))
	s.done = true
	if seq == c.ring.head {
		c.advance()
	}
}

// push writes out-of-band data, between two replies.
func (c *client) push(b []byte) {
	if c.midReply() || (c.x != nil && c.x.pushes.Len() > 0) {
		c.extra().pushes.Append(c.w.loop, b)
		return
	}
	c.conn.Write(b)
}

func (c *client) midReply() bool {
	return c.ring.len() > 0 && c.ring.at(c.ring.head).open
}

func (c *client) flushPushes() {
	if c.x.pushes.Len() > 0 && !c.midReply() {
		c.conn.WriteChain(&c.x.pushes)
	}
}

// How much is kept for a client before its upstreams are paused.
const (
	maxOutput = 8 << 20 // output, when replies come whole; else the high-water mark
	maxHeld   = 8 << 20 // replies whose turn has not come
)

// heldLimit is the most that may be held for a client. It grows when the
// client does not get on otherwise; see raiseLimit.
func (c *client) heldLimit() int {
	if c.x == nil {
		return maxHeld
	}
	return max(maxHeld, c.x.heldLimit)
}

// congested reports whether the whole reply to slot seq had better not come
// now. The reply that the others wait for always may.
func (c *client) congested(seq uint32) bool {
	switch {
	case c.has(stateClosed):
		return false
	case c.conn.Full() && c.conn.Buffered() > maxOutput:
		return true
	}
	return c.held > maxHeld && seq != c.ring.head && c.held > c.heldLimit()
}

// overfull is congested for a reply that comes in pieces.
func (c *client) overfull(seq uint32) bool {
	if seq == c.ring.head {
		return c.conn.Full() && c.ring.at(seq).streams()
	}
	return c.held > c.heldLimit()
}

// backedUp notes that the client does not take its output as fast as it comes.
func (c *client) backedUp() {
	if c.has(stateClosed) {
		return
	}
	if x := c.extra(); x.stuckSince == 0 {
		x.stuckSince = c.w.loop.Now()
		c.watch()
	}
}

// pauseUpstream stops reading from u until this client has taken what is there.
func (c *client) pauseUpstream(u *upstream) {
	x := c.extra()
	if c.conn.Full() {
		c.backedUp()
	}
	if len(x.paused) == 0 {
		x.pausedAt = c.w.loop.Now()
	}
	x.paused = append(x.paused, u)
	c.watch()
	u.paused = true
	u.conn.Pause()
}

// resumeUpstreams goes on reading, once the client has taken enough.
func (c *client) resumeUpstreams() {
	x := c.x
	if len(x.paused) == 0 || (!c.has(stateClosed) && (c.conn.Full() || c.held > c.heldLimit()/2)) {
		return
	}
	c.releaseUpstreams()
}

// releaseUpstreams goes on reading in any case.
func (c *client) releaseUpstreams() {
	paused := c.x.paused
	c.x.paused = nil
	for _, u := range paused {
		u.paused = false
		u.lastIn = c.w.loop.Now()
		switch {
		case u.closed:
		case c.has(stateClosed) && !u.othersWait(c):
			u.close() // rather than to read for nobody
		default:
			u.conn.Resume()
		}
	}
}

const (
	// defaultSlowClient is how long a client may not read at all.
	defaultSlowClient = 30 * time.Second
	// crowdedSlowClient is how long it may do that while others wait.
	crowdedSlowClient = 3 * time.Second
	// heldPatience is how long a client waits before it may hold more.
	heldPatience = 200 * time.Millisecond
)

// tooSlow reports whether a client whose output is above the high-water mark
// has to be closed.
func (c *client) tooSlow(now int64) bool {
	x := c.x
	if n := c.conn.Buffered(); n != x.lastOutput {
		if n < x.lastOutput { // it reads
			x.stuckSince = now
		}
		x.lastOutput = n
	}
	limit := c.f.cfg.Limits.SlowClientTimeout
	if limit <= 0 {
		limit = defaultSlowClient
	}
	return now-x.stuckSince > int64(limit) || c.crowds(now, x.stuckSince)
}

// crowds reports whether others have waited for too long behind replies that
// are held back for this client.
func (c *client) crowds(now, since int64) bool {
	if len(c.x.paused) == 0 || now-max(since, c.x.pausedAt) < int64(crowdedSlowClient) {
		return false
	}
	for _, u := range c.x.paused {
		if u.shared && u.othersWait(c) {
			return true
		}
	}
	return false
}

// raiseLimit lets a client hold more. It has read all that it could be given,
// but the reply that the others wait for does not come; perhaps it is stuck
// behind a reply that is held back for another such client.
func (c *client) raiseLimit(now int64) {
	x := c.x
	if now-x.pausedAt < int64(heldPatience) || c.heldLimit() >= maxGather {
		return
	}
	x.heldLimit = 2 * c.heldLimit()
	x.pausedAt = now
	c.resumeUpstreams()
}

// abandonHeld answers what this client still expects on its paused connections
// with an error, since the reply before it does not come and others wait.
func (c *client) abandonHeld() {
	for _, u := range c.x.paused {
		for i := 0; i < u.queue.len() && !c.has(stateClosed); i++ {
			if f := u.queue.at(i); f.c == c && f.seq != c.ring.head {
				f.c, f.what = nil, expectOverdue
				c.failPart(f.seq, f.part, "ERR dragoman: too many replies wait for an earlier one")
			}
		}
	}
	c.releaseUpstreams()
}
