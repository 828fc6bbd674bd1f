package netloop

// result says how a read ended.
type result uint8

const (
	readMore  result = iota // there may be more
	readDry                 // nothing more for now
	readEOF                 // the peer has finished
	readError               // the connection failed; connExtra.err says why
)

// directBulk is the size from which the rest of an announced payload is read
// into chunks of its own. A shorter rest comes with whatever follows it.
const directBulk = 16 << 10

// enqueue puts c on the list of connections served in the next iteration.
func (l *Loop) enqueue(c *Conn) {
	if !c.is(isQueued | isClosed) {
		c.flags |= isQueued
		l.next[c.side] = append(l.next[c.side], c)
	}
}

// Again asks for Data to be called again in the next iteration although
// nothing new may have arrived: so a driver bounds its work per turn. Nothing
// more is read before that.
func (l *Loop) Again(c *Conn) {
	c.flags |= wantAgain
	l.enqueue(c)
}

// serveAll gives a turn to every connection that is ready on one side, and
// returns how many of them share what is upstream with others.
func (l *Loop) serveAll(side Side) int {
	list, shared := l.ready[side], 0
	for i, c := range list {
		list[i] = nil
		if !c.is(isUnshared) {
			shared++
		}
		l.serve(c)
	}
	l.ready[side] = list[:0]
	return shared
}

// serve is a connection's turn: kept input is shown, or at most one buffer is read.
func (l *Loop) serve(c *Conn) {
	c.flags &^= isQueued
	switch {
	case c.is(isClosed):
		return
	case c.is(isConnecting | isHandshaking):
		l.advance(c)
		return
	case c.is(isPaused | isClosing):
		l.watch(c)
		return
	case c.is(wantAgain):
		c.flags &^= wantAgain
		l.showKept(c)
	case c.is(isReadable):
		l.receive(c)
	}
	l.settle(c)
}

// settle decides what follows a turn: another one, EOF, or nothing.
func (l *Loop) settle(c *Conn) {
	switch {
	case c.is(isClosed | isPaused | isClosing):
	case c.is(isReadable | wantAgain):
		l.enqueue(c)
	case c.is(sawEOF) && !c.is(toldEOF):
		l.tellEOF(c)
	}
}

func (l *Loop) tellEOF(c *Conn) {
	if c.is(isBroken) {
		l.closeConn(c, c.rare.err)
		return
	}
	c.flags |= toldEOF
	c.driver.EOF(c)
	if c.is(sentFIN) {
		l.closeConn(c, nil)
	}
}

// watch looks after a connection that is not being read but whose peer hung up.
func (l *Loop) watch(c *Conn) {
	switch {
	case c.is(isBroken):
		l.closeConn(c, c.rare.err)
	case c.is(isReset) && c.side == Downstream:
		// Nobody is left to answer. An upstream's last bytes may still matter.
		l.closeConn(c, c.socketError())
	case c.is(wantNotice) && c.is(isHungUp) && !c.is(toldEOF) && c.in == nil && c.atEOF():
		c.flags |= sawEOF
		l.tellEOF(c)
	}
}

// showKept shows the input that the driver left, possibly none.
func (l *Loop) showKept(c *Conn) {
	switch {
	case c.is(toldEOF):
	case c.in != nil:
		l.show(c, c.in)
	case c.bulk == 0:
		c.driver.Data(c, nil)
	}
}

// receive reads once and shows what arrived.
func (l *Loop) receive(c *Conn) {
	if c.bulk >= directBulk && c.in == nil {
		l.receiveBulk(c)
		return
	}
	cur := l.inputBuffer(c)
	n, res := c.read(cur.buf[cur.w:])
	cur.w += n
	l.account(c, res)
	if n == 0 {
		return
	}
	l.show(c, cur)
	if res == readMore && c.bulk >= directBulk && c.in == nil && !c.is(isPaused|isClosed|isClosing) {
		c.flags |= isFull
		l.receiveBulk(c) // while the payload's beginning is still in the processor's cache
	}
}

// receiveBulk reads the next piece of a payload into a chunk of its own.
func (l *Loop) receiveBulk(c *Conn) {
	size := largeChunk
	if c.is(isFull) {
		size = hugeChunk
	}
	p := l.NewChunk(size)
	room := p.buf[:min(int64(size), c.bulk)]
	n, res := c.read(room)
	p.w = n
	c.flags &^= isFull
	if n == len(room) {
		c.flags |= isFull
	}
	l.account(c, res)
	if n == 0 {
		l.Free(p)
		return
	}
	if n <= size/4 { // a slow sender must not make us hold mostly empty memory
		q := l.NewChunk(n)
		q.w = copy(q.buf, p.Bytes())
		l.Free(p)
		p = q
	}
	c.bulk -= int64(n)
	c.driver.(BulkDriver).Bulk(c, p, c.bulk)
}

// account notes how a read ended.
func (l *Loop) account(c *Conn, res result) {
	switch res {
	case readDry:
		// A FIN that came with the data gives no further edge: read on until it shows.
		if !c.is(isHungUp) {
			c.flags &^= isReadable
		}
	case readEOF:
		c.flags &^= isReadable
		c.flags |= sawEOF
	case readError:
		c.flags &^= isReadable
		l.closeConn(c, c.rare.err)
	case readMore:
	}
}

// inputBuffer returns the chunk to read into; unread input is already in it.
func (l *Loop) inputBuffer(c *Conn) *Chunk {
	p := c.in
	if p == nil || p.Len() <= l.o.ReadBuffer/2 {
		at := &l.inbuf
		if c.rare != nil && c.rare.tls != nil { // inbuf takes the cipher text
			at = &l.plain
		}
		b := *at
		if b == nil {
			b = l.NewChunk(l.o.ReadBuffer)
			*at = b
		}
		b.r, b.w = 0, 0
		if p != nil {
			b.w = copy(b.buf, p.Bytes())
		}
		return b
	}
	if len(p.buf)-p.w < mediumChunk { // a driver that wants a long run of bytes in one piece
		q := l.NewChunk(2 * max(p.Len(), largeChunk))
		q.w = copy(q.buf, p.Bytes())
		l.Free(p)
		c.in = q
		return q
	}
	return p
}

// show hands the bytes of cur to the driver, delivers an announced payload
// from them, and keeps what is left.
func (l *Loop) show(c *Conn, cur *Chunk) {
	l.shown, l.given = cur, false
	for !c.is(isPaused | isClosed | isClosing | isHandshaking) {
		if c.bulk > 0 {
			l.deliver(c, cur)
			if c.bulk > 0 || cur.r == cur.w {
				break
			}
			continue
		}
		if cur.r == cur.w {
			break
		}
		cur.r += c.driver.Data(c, cur.buf[cur.r:cur.w:cur.w])
		if c.bulk == 0 || cur.r == cur.w {
			break
		}
	}
	l.shown = nil
	l.keep(c, cur)
}

// deliver passes on the part of an announced payload that cur holds.
func (l *Loop) deliver(c *Conn, cur *Chunk) {
	n := int(min(int64(cur.Len()), c.bulk))
	if n == 0 {
		return
	}
	p := c.Own(cur.buf[cur.r : cur.r+n])
	cur.r += n
	c.bulk -= int64(n)
	c.driver.(BulkDriver).Bulk(c, p, c.bulk)
}

// keep stores what the driver left of cur, which is the loop's input buffer or
// what was kept before.
func (l *Loop) keep(c *Conn, cur *Chunk) {
	rest := cur.Bytes()
	old := c.in
	switch {
	case len(rest) == 0 || c.is(isClosed):
		c.in = nil
	case cur == old && !l.given:
		return
	case old != nil && cur != old && len(rest) <= len(old.buf):
		old.r, old.w = 0, copy(old.buf, rest)
		if l.given {
			l.abandon(cur)
		}
		return
	default:
		c.in = l.NewChunk(len(rest))
		c.in.w = copy(c.in.buf, rest)
	}
	if old != nil && old != cur {
		l.Free(old)
	}
	switch {
	case l.given:
		l.abandon(cur)
	case cur == old:
		l.Free(cur)
	}
}

// abandon drops a chunk whose memory was given away.
func (l *Loop) abandon(p *Chunk) {
	switch p {
	case l.inbuf:
		l.inbuf = nil
	case l.plain:
		l.plain = nil
	}
	p.buf, p.r, p.w = nil, 0, 0
	l.Free(p)
}
