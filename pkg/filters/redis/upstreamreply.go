package redis

import (
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// replyLimits bounds what a Redis server may send.
var replyLimits = redisproto.Limits{MaxInline: 1 << 20, MaxArgs: 1 << 30, MaxBulk: 1 << 30, MaxDepth: 64}

// Data takes replies.
func (u *upstream) Data(_ *netloop.Conn, b []byte) int {
	u.lastIn = u.pool.w.loop.Now()
	if u.pipe != nil {
		return u.pipe.receive(b)
	}
	pos := 0
	for pos < len(b) && !u.closed && !u.paused && !u.holdBack() {
		if u.pieces {
			n, more := u.scanPiece(b[pos:])
			pos += n
			if !more {
				return pos
			}
			continue
		}
		n, err := redisproto.FrameLen(b[pos:], &replyLimits)
		switch {
		case err == nil:
			frame := b[pos : pos+n]
			pos += n
			u.deliver(frame)
			if u.pipe != nil {
				return pos + u.pipe.receive(b[pos:])
			}
		case errors.Is(err, redisproto.ErrIncomplete):
			if !u.startPieces(b[pos:]) {
				return pos
			}
		default:
			u.fail(fmt.Sprintf("sent a malformed reply: %v", err))
			return len(b)
		}
	}
	return pos
}

// holdBack leaves the next reply unread if its client has too much to take
// already.
func (u *upstream) holdBack() bool {
	if u.queue.len() == 0 {
		return false
	}
	f := u.queue.front()
	if f.c == nil || !f.c.congested(f.seq) {
		return false
	}
	f.c.pauseUpstream(u)
	return true
}

// deliver hands one complete frame to whoever waits for it.
func (u *upstream) deliver(frame []byte) {
	if frame[0] == '>' || (u.feeds && u.queue.len() == 0) {
		if u.feeds && u.owner != nil {
			u.owner.outOfBand(u, frame)
		}
		return // else out-of-band data that nobody subscribed to
	}
	if u.queue.len() == 0 {
		u.unasked(frame)
		return
	}
	var p pending
	u.queue.pop(&p)
	switch p.what {
	case expectReply:
		u.deliverReply(&p, frame)
	case expectSetup:
		u.setupReply(frame)
	case expectMirrored:
		u.mirrored(&p, isError(frame), frame)
	case expectID:
		u.learnedID(intOf(frame))
	case expectAnswer:
		u.answered(frame)
	case expectQueued:
		p.replay.notQueued(frame)
	case expectIgnore, expectOverdue:
	}
	if u.gone || !u.shared {
		u.afterReply()
	}
}

// unasked ends a connection on which replies and requests no longer match, or
// whose server refuses a request before it has all of it.
func (u *upstream) unasked(frame []byte) {
	if isError(frame) {
		u.fail(errorText(frame))
		return
	}
	u.fail("sent a reply that nobody asked for")
}

func (u *upstream) deliverReply(p *pending, frame []byte) {
	if !p.live() {
		return
	}
	c := p.c
	failed := isError(frame)
	if p.shard != nil {
		p.shard.observe(u.pool.w.loop.Now()-p.start, failed)
	}
	if failed && p.replay != nil && p.replay.refused != nil {
		frame, p.replay.refused = p.replay.refused, nil
	}
	if failed {
		sentOn := u.serverError(p, frame)
		if u.refusals = true; sentOn {
			return
		}
	}
	retries := c.x != nil && len(c.x.retries) > 0
	if retries && !c.executed(p) {
		return
	}
	if m := c.ring.at(p.seq).merge; m != nil {
		c.addPart(p.seq, p.part, frame)
		m.done(c, p.seq, p.part)
	} else {
		c.reply(p.seq, frame)
	}
	if retries && p.tries > 0 {
		c.retry(true)
	}
}

func (u *upstream) setupReply(frame []byte) {
	u.setup--
	if isError(frame) && !u.pool.refusedPing(frame) {
		// SELECT comes last. If it fails the client's number is wrong, not the server.
		u.noDatabase = u.pool.key.db != 0 && u.setup == 0
		u.refused = true
		u.fail("refused the proxy's set-up: " + errorText(frame))
		return
	}
	if u.setup == 0 {
		u.pool.connected(u)
		if u.pipe = u.pipeAfterSetup; u.pipe != nil {
			u.pipe.begin()
		}
	}
}
