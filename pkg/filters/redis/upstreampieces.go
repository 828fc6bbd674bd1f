package redis

import (
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// Sizes at which replies and requests are no longer gathered.
const (
	bulkAt   = 32 << 10 // a bulk with so much missing is taken as owned chunks
	piecesAt = 16 << 10 // a partial reply of so many bytes is passed on
	occupyAt = 1 << 20  // a bulk with so much missing keeps others waiting noticeably
)

// startPieces decides whether an incomplete frame is large enough to be passed
// on before it is whole.
func (u *upstream) startPieces(b []byte) bool {
	if len(b) < piecesAt {
		var probe redisproto.Scanner
		if _, _, err := probe.Scan(b, &replyLimits); err != nil || probe.BulkLeft() < bulkAt {
			return false
		}
	}
	if u.feeds && (b[0] == '>' || u.queue.len() == 0) {
		return false
	}
	if b[0] == '>' || u.queue.len() == 0 || u.queue.front().what.own() {
		u.fail("sent a large reply that nobody asked for")
		return false
	}
	u.scan.Reset()
	u.pieces, u.frame = true, 0
	u.failed = isError(b)
	f := u.queue.front()
	if f.deadline != 0 {
		u.patience = f.deadline - f.start
		f.deadline = 0 // it is coming
	}
	if f.live() && f.what == expectReply {
		f.c.executed(f)
	}
	return true
}

// scanPiece passes on what belongs to the current frame. more is false if the
// rest must wait for input.
func (u *upstream) scanPiece(b []byte) (n int, more bool) {
	n, done, err := u.scan.Scan(b, &replyLimits)
	if err != nil {
		u.fail(fmt.Sprintf("sent a malformed reply: %v", err))
		return len(b), false
	}
	if n > 0 {
		u.passOn(u.conn.Own(b[:n]))
	}
	if done {
		u.endPieces()
		return n, true
	}
	if left := u.scan.BulkLeft(); left >= bulkAt && !u.closed {
		u.conn.ReadBulk(left)
	}
	return n, false
}

// Bulk takes a piece of a large payload.
func (u *upstream) Bulk(_ *netloop.Conn, p *netloop.Chunk, left int64) {
	u.lastIn = u.pool.w.loop.Now()
	if err := u.scan.Payload(p.Bytes()); err != nil {
		u.pool.w.loop.Free(p)
		u.fail(fmt.Sprintf("sent a malformed reply: %v", err))
		return
	}
	u.passOn(p)
	if left > 0 || u.closed {
		return
	}
	if _, done, err := u.scan.Scan(nil, &replyLimits); err == nil && done {
		u.endPieces()
	}
}

// passOn gives a piece of the current reply to whom it belongs. It owns p.
func (u *upstream) passOn(p *netloop.Chunk) {
	u.frame += int64(p.Len())
	f := u.queue.front()
	if !f.live() || f.what != expectReply {
		u.pool.w.loop.Free(p)
		return
	}
	c := f.c
	if c.ring.at(f.seq).merge != nil {
		c.addPiece(f.seq, f.part, p)
		return
	}
	c.piece(f.seq, p)
	if c.overfull(f.seq) {
		c.pauseUpstream(u)
	}
}

func (u *upstream) endPieces() {
	u.pieces = false
	var p pending
	u.queue.pop(&p)
	if p.what == expectMirrored {
		u.mirrored(&p, u.failed, nil)
	}
	if p.live() && p.what == expectReply {
		if p.shard != nil {
			p.shard.observe(u.pool.w.loop.Now()-p.start, u.failed)
		}
		if m := p.c.ring.at(p.seq).merge; m != nil {
			m.done(p.c, p.seq, p.part)
		} else {
			p.c.pieceEnd(p.seq, u.frame, u.failed)
		}
	}
	u.afterReply()
}
