package redis

import (
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// A large message is passed on as it comes, in the chunks that it comes in. It takes
// a slot of the client's ring, before all others, so that replies and other
// messages wait for its end. If the client does not take it the server has to
// wait, and after a while ends the subscription by its own limits
// (client-output-buffer-limit), or the proxy does (slowClientTimeout).

// bigMessage is a message of which not all has come.
type bigMessage struct {
	under bool // it is under way
	begun bool // its first byte is out
	scan  redisproto.Scanner
	seq   uint32 // its slot
	size  int64  // bytes passed on
}

// maxPushes is how many bytes of messages wait for the end of a reply before
// their servers have to.
const maxPushes = 1 << 20

// startMessage decides whether an incomplete frame is a message large enough to
// be passed on before it is whole.
func (l *subscriber) startMessage(b []byte) bool {
	if (b[0] != '*' && b[0] != '>') || l.setup > 0 {
		return false
	}
	if len(b) < piecesAt {
		var probe redisproto.Scanner
		if _, _, err := probe.Scan(b, &replyLimits); err != nil || probe.BulkLeft() < bulkAt {
			return false
		}
	}
	if isAcknowledgement(b) {
		return false
	}
	c := l.subs.c
	if c.midReply() || c.x.pushes.Len() > 0 {
		l.late = true
		return false
	}
	start := c.w.loop.Now()
	if c.ring.len() > 0 {
		start = c.ring.at(c.ring.head).start // no later than those behind it, see inOrder
	}
	seq, s := c.ring.unshift(c.w)
	s.cmd, s.start = c.w.b.commands.other, start
	s.further, s.open = true, true
	l.big = bigMessage{under: true, seq: seq}
	c.f.stats.messages++
	return true
}

// scanMessage passes on what belongs to the current message, and returns how much
// that is. The rest must wait.
func (l *subscriber) scanMessage(b []byte) int {
	n, done, err := l.big.scan.Scan(b, &replyLimits)
	if err != nil {
		l.lost("sent a malformed message")
		return len(b)
	}
	if n > 0 {
		l.passOn(l.conn.Own(b[:n]))
	}
	if done {
		l.endMessage()
		return n
	}
	if left := l.big.scan.BulkLeft(); left >= bulkAt && !l.closed {
		l.conn.ReadBulk(left)
	}
	return n
}

// Bulk takes a piece of a large message's payload.
func (l *subscriber) Bulk(_ *netloop.Conn, p *netloop.Chunk, left int64) {
	if l.closed {
		l.pool.w.loop.Free(p)
		return
	}
	if err := l.big.scan.Payload(p.Bytes()); err != nil {
		l.pool.w.loop.Free(p)
		l.lost("sent a malformed message")
		return
	}
	l.passOn(p)
	if left > 0 || l.closed {
		return
	}
	if _, done, err := l.big.scan.Scan(nil, &replyLimits); err == nil && done {
		l.endMessage()
	}
}

// passOn gives a piece to the client, in its protocol. It owns p.
func (l *subscriber) passOn(p *netloop.Chunk) {
	c := l.subs.c
	if !l.big.begun {
		l.big.begun = true
		p.Bytes()[0] = c.messageKind()
	}
	l.big.size += int64(p.Len())
	c.piece(l.big.seq, p)
	if c.conn.Full() {
		l.subs.stuck = true
		c.backedUp()
		l.conn.Pause()
	}
}

// endMessage lets replies through again. The next message has to wait for an
// iteration, so that the client's requests get their turn between two.
func (l *subscriber) endMessage() {
	c := l.subs.c
	l.big.under = false
	l.resting = true
	l.conn.Pause()
	l.pool.w.loop.Post(func() {
		l.resting = false
		l.resume()
	})
	c.pieceEnd(l.big.seq, l.big.size, false)
}

var _ netloop.BulkDriver = (*subscriber)(nil)
