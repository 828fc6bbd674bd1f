package redis

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// upstream is the driver of one connection to a Redis server. A shared one
// carries the pipelined requests of all clients of its loop; an exclusive one
// belongs to a client for a while: a transaction, a blocking command, an upload.
type upstream struct {
	conn           *netloop.Conn
	pool           *pool
	queue          pendings
	scan           redisproto.Scanner
	frame          int64 // bytes of the current frame that were passed on already
	pieces         bool  // inside a frame that is passed on in pieces
	failed         bool  // that frame is an error
	pipe           *pipe // all bytes go to this client, unparsed
	pipeAfterSetup *pipe
	broken         string
	owner          *client // who has the exclusive connection
	up             bool    // connected and set up
	noDatabase     bool    // the server has no database of the pool's number
	setup          int     // replies of the connection's own set-up still missing
	closed         bool
	paused         bool
	shared         bool
	feeds          bool      // what it sends unasked is for its owner
	returning      bool      // exclusive, goes back to the pool when the queue is empty
	dirty          bool      // and is then closed instead
	gone           bool      // no further requests; leaves service when the queue is empty
	spare          bool      // gone, but good for another time
	timeout        bool      // in the worker's list of connections with deadlines
	unordered      bool      // the queue's deadlines do not rise
	lastIn         int64     // when bytes arrived last
	lastDeadline   int64     // of the last request
	choked         []*client // who waits for the output to drain
	patience       int64     // ns without a byte that end a reply which has begun; 0: no limit
}

// Sizes at which replies and requests are no longer gathered.
const (
	bulkAt   = 32 << 10 // a bulk with so much missing is taken as owned chunks
	piecesAt = 16 << 10 // a partial reply of so many bytes is passed on
	occupyAt = 1 << 20  // a bulk with so much missing keeps others waiting noticeably
)

// occupied reports whether a request sent now would wait for a large reply of
// somebody else, or for somebody who does not read his.
func (u *upstream) occupied() bool {
	return u.paused || (u.pieces && u.scan.BulkLeft() > occupyAt)
}

// waits reports whether c has a request here.
func (u *upstream) waits(c *client) bool {
	for i := range u.queue.len() {
		if u.queue.at(i).c == c {
			return true
		}
	}
	return false
}

// replyLimits bounds what a Redis server may send.
var replyLimits = redisproto.Limits{MaxInline: 1 << 20, MaxArgs: 1 << 30, MaxBulk: 1 << 30, MaxDepth: 64}

// othersWait reports whether clients besides c have requests here.
func (u *upstream) othersWait(c *client) bool {
	for i := range u.queue.len() {
		if f := u.queue.at(i); f.live() && f.c != c {
			return true
		}
	}
	return false
}

// send queues a request. The bytes are copied.
func (u *upstream) send(frame []byte, p *pending) {
	u.cork()
	u.conn.Write(frame)
	u.sent(p)
}

// sendChain is send for a request in chunks, which it owns.
func (u *upstream) sendChain(frame *netloop.Chain, p *pending) {
	u.cork()
	u.conn.WriteChain(frame)
	u.sent(p)
}

// cork has a server that has others to answer first get a request together with
// what the next iteration brings.
func (u *upstream) cork() {
	if u.conn.Buffered() == 0 {
		u.conn.SetCorked(u.queue.len() > 0)
	}
}

func (u *upstream) sent(p *pending) {
	u.expect(p)
	if u.conn.Full() && p.c != nil {
		u.choke(p.c)
	}
}

// choke stops a client whose requests the server does not take, until it does
// or the client's earlier requests have been answered.
func (u *upstream) choke(c *client) {
	if c.state&(stateChoked|stateClosed) != 0 {
		return
	}
	c.state |= stateStalled | stateChoked
	if !c.has(stateParsing) {
		c.conn.Pause()
	}
	u.choked = append(u.choked, c)
}

func (u *upstream) unchoke() {
	list := u.choked
	u.choked = nil
	for _, c := range list {
		if c.state&(stateChoked|stateClosed) != stateChoked {
			continue
		}
		if c.state &^= stateChoked; c.state&(stateBarrier|stateBlocked) == 0 {
			c.resume()
		}
	}
}

func (u *upstream) expect(p *pending) {
	u.queue.push(p)
	if p.deadline == 0 {
		return
	}
	if p.deadline < u.lastDeadline {
		u.unordered = true
	}
	u.lastDeadline = p.deadline
	if !u.timeout {
		u.timeout = true
		u.pool.w.watchDeadlines(u)
	}
}

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
	if b[0] == '>' || u.queue.len() == 0 || u.queue.front().what == expectSetup {
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
		c.addPart(f.seq, f.part, p.Bytes())
		u.pool.w.loop.Free(p)
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
	if failed && u.serverError(p, frame) {
		return
	}
	if m := c.ring.at(p.seq).merge; m != nil {
		c.addPart(p.seq, p.part, frame)
		m.done(c, p.seq, p.part)
		return
	}
	c.reply(p.seq, frame)
}

func (u *upstream) setupReply(frame []byte) {
	u.setup--
	if isError(frame) && !u.refusedPing(frame) {
		// SELECT comes last. If it fails the client's number is wrong, not the server.
		u.noDatabase = u.pool.key.db != 0 && u.setup == 0
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

// refusedPing reports whether the set-up's PING has met a server that is busy with
// a script. The connection is good: it is how that script can be killed.
func (u *upstream) refusedPing(frame []byte) bool {
	return u.pool.key.db == 0 && !u.pool.key.readonly && bytes.HasPrefix(frame, []byte("-BUSY "))
}

// fail closes the connection and answers everything that waits on it.
func (u *upstream) fail(reason string) {
	if u.broken == "" {
		u.broken = reason
	}
	u.close()
	u.lost()
}

func (u *upstream) close() {
	if !u.closed {
		u.closed = true
		u.conn.Close()
		u.pool.forget(u)
	}
}

// Drained lets a paused upload or pipe go on.
func (u *upstream) Drained(*netloop.Conn) {
	u.unchoke()
	if u.pipe != nil {
		u.pipe.upstreamDrained()
		return
	}
	if c := u.owner; c != nil && c.x != nil && c.x.upload != nil {
		c.x.upload.resume(c)
	}
}

// EOF: a server that stops sending is of no more use.
func (u *upstream) EOF(*netloop.Conn) {
	u.fail("closed the connection")
}

// Closed answers what waited on the connection.
func (u *upstream) Closed(_ *netloop.Conn, err error) {
	if u.closed {
		return
	}
	if err != nil && u.broken == "" {
		u.broken = err.Error()
	}
	u.closed = true
	u.pool.forget(u)
	u.lost()
}

// lost fails all outstanding requests of a dead connection.
func (u *upstream) lost() {
	p := u.pool
	switch {
	case u.noDatabase:
		p.lastError, p.downUntil = u.broken, p.w.loop.Now()+int64(maxBackoff)
	case !u.up:
		p.connectFailed(u.broken)
	case u.queue.len() > 0:
		p.stats.disconnects++
		p.cluster.Report(p.key.endpoint, filters.Disconnect)
	}
	if u.pipe != nil {
		u.pipe.upstreamClosed()
	} else if u.pipeAfterSetup != nil {
		u.pipeAfterSetup.refused("ERR dragoman: " + p.describe() + ": " + u.broken)
	}
	msg := "ERR dragoman: " + p.describe() + ": " + u.broken
	for partial := u.pieces; u.queue.len() > 0; partial = false {
		var f pending
		u.queue.pop(&f)
		switch {
		case !f.live():
		case partial && f.c.ring.at(f.seq).open:
			f.c.drop() // half of a reply is out: there is no way to take it back
		default:
			f.c.failPart(f.seq, f.part, msg)
		}
	}
	if u.owner != nil {
		u.owner.lostExclusive(u)
	}
}
