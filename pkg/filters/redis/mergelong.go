package redis

import (
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// Parts of a merged reply that are large stay in the chunks that they came in, and
// the reply is made of these: it takes little more memory than its length.

// joiner is a combine for long parts: it moves them to out. It returns false if
// they do not fit together.
type joiner func(l *netloop.Loop, m *merge, out *netloop.Chain) bool

// addPiece appends to one part of the reply of slot seq. It owns p.
func (c *client) addPiece(seq uint32, part int32, p *netloop.Chunk) {
	c.held += p.Len()
	m := c.ring.at(seq).merge
	if !m.fits(c.w.loop, p.Len()) {
		c.w.loop.Free(p)
		return
	}
	m.lengthen()
	m.long[part].AppendChunk(p)
}

// lengthen makes room for long parts.
func (m *merge) lengthen() {
	if n := len(m.parts) - len(m.long); n > 0 {
		m.long = append(m.long, make([]netloop.Chain, n)...)
	}
}

// fits counts n bytes more, and lets go of all parts if they are too many.
func (m *merge) fits(l *netloop.Loop, n int) bool {
	if m.size += n; m.size > maxGather && !m.tooLarge {
		m.tooLarge = true
		m.shorten(l)
		for i := range m.parts {
			m.parts[i] = nil
		}
	}
	return !m.tooLarge
}

// shorten frees the long parts.
func (m *merge) shorten(l *netloop.Loop) {
	for i := range m.long {
		m.long[i].Free(l)
	}
	m.long = nil
}

// restart forgets what has come of one part.
func (m *merge) restart(l *netloop.Loop, part int32) {
	m.parts[part] = m.parts[part][:0]
	if m.long != nil {
		m.lengthen()
		m.long[part].Free(l)
	}
}

// gather makes short parts of the long ones, for what is combined by copying.
func (m *merge) gather(l *netloop.Loop) {
	for i := range m.long {
		if q := &m.long[i]; q.Len() > 0 {
			m.parts[i] = append(m.parts[i][:0], q.Contiguous(l)...)
		}
	}
	m.shorten(l)
}

// replyLong answers slot seq with the parts of m, of which some are long.
func (c *client) replyLong(seq uint32, m *merge) {
	l := c.w.loop
	if m.fill(l); len(m.order) > keysPerTurn && m.failed() < 0 {
		c.replyByTurns(seq, m)
		return
	}
	var out netloop.Chain
	m.joined(l, &out)
	m.shorten(l)
	c.w.putMerge(m)
	c.replyChain(seq, &out)
}

// fill makes all parts long ones.
func (m *merge) fill(l *netloop.Loop) {
	m.lengthen()
	for i := range m.long {
		if m.long[i].Len() == 0 {
			m.long[i].Append(l, m.parts[i])
		}
	}
}

// failed is the first part that is an error; negative if there is none.
func (m *merge) failed() int {
	return slices.IndexFunc(m.long, func(q netloop.Chain) bool { return isError(q.Head()) })
}

// joined is result for long parts.
func (m *merge) joined(l *netloop.Loop, out *netloop.Chain) {
	if i := m.failed(); i >= 0 {
		m.long[i].MoveTo(out)
		return
	}
	if !m.join(l, m, out) {
		misfit(l, out)
	}
}

// misfit makes out an error.
func misfit(l *netloop.Loop, out *netloop.Chain) {
	out.Free(l)
	out.Append(l, redisproto.AppendError(nil, "ERR dragoman: the shards' replies do not fit together"))
}

// replyByTurns is replyLong for the values of so many keys that putting them in order
// takes several iterations of the loop.
func (c *client) replyByTurns(seq uint32, m *merge) {
	c.ring.at(seq).merge = m // still, in case the client goes
	c.held += m.size
	out := &netloop.Chain{}
	m.beginOrder(c.w.loop, out)
	c.joinSome(seq, m, m.order, out)
}

func (c *client) joinSome(seq uint32, m *merge, order []int32, out *netloop.Chain) {
	l := c.w.loop
	if c.has(stateClosed) {
		out.Free(l)
		return
	}
	n := min(len(order), keysPerTurn)
	if !m.takeOrder(l, order[:n], out) {
		misfit(l, out)
	} else if order = order[n:]; len(order) > 0 {
		l.Post(func() { c.joinSome(seq, m, order, out) })
		return
	}
	c.ring.at(seq).merge = nil
	c.held -= m.size
	m.shorten(l)
	c.w.putMerge(m)
	c.replyChain(seq, out)
}

// joinOrder is combineOrder.
func joinOrder(l *netloop.Loop, m *merge, out *netloop.Chain) bool {
	m.beginOrder(l, out)
	return m.takeOrder(l, m.order, out)
}

func (m *merge) beginOrder(l *netloop.Loop, out *netloop.Chain) {
	for i := range m.long {
		m.long[i].Skip(l, headerLen(m.long[i].Head()))
	}
	out.Append(l, redisproto.AppendArray(nil, len(m.order)))
}

// takeOrder moves the next values, each from the part that has it.
func (m *merge) takeOrder(l *netloop.Loop, order []int32, out *netloop.Chain) bool {
	for _, part := range order {
		if !moveValue(l, &m.long[part], out) {
			return false
		}
	}
	return true
}

// moveValue moves the first value of q to out. Chunks end where the connection's
// scanner stopped, so the first line of a value is in one of them.
func moveValue(l *netloop.Loop, q, out *netloop.Chain) bool {
	var scan redisproto.Scanner
	for q.Len() > 0 {
		n, done, err := scan.Scan(q.Head(), &replyLimits)
		if err != nil || n == 0 {
			return false
		}
		q.MoveN(l, out, n)
		if done {
			return true
		}
	}
	return false
}

// joinConcat is combineConcat.
func joinConcat(l *netloop.Loop, m *merge, out *netloop.Chain) bool {
	kind, total := m.long[0].Head()[0], 0
	for i := range m.long {
		n, _, err := redisproto.Elements(m.long[i].Head())
		if err != nil {
			return false
		}
		total += max(n, 0)
	}
	if kind == '%' {
		total /= 2
	}
	header := redisproto.AppendArray(nil, total)
	header[0] = kind
	out.Append(l, header)
	for i := range m.long {
		q := &m.long[i]
		q.Skip(l, headerLen(q.Head()))
		q.MoveTo(out)
	}
	return true
}
