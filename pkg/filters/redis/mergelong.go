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
	var out netloop.Chain
	m.joined(l, &out)
	m.shorten(l)
	c.w.putMerge(m)
	c.replyChain(seq, &out)
}

// joined is result for long parts.
func (m *merge) joined(l *netloop.Loop, out *netloop.Chain) {
	m.lengthen()
	for i := range m.long {
		if m.long[i].Len() == 0 {
			m.long[i].Append(l, m.parts[i])
		}
	}
	if i := slices.IndexFunc(m.long, func(q netloop.Chain) bool { return isError(q.Head()) }); i >= 0 {
		m.long[i].MoveTo(out)
		return
	}
	if !m.join(l, m, out) {
		out.Free(l)
		out.Append(l, redisproto.AppendError(nil, "ERR dragoman: the shards' replies do not fit together"))
	}
}

// joinOrder is combineOrder.
func joinOrder(l *netloop.Loop, m *merge, out *netloop.Chain) bool {
	for i := range m.long {
		m.long[i].Skip(l, headerLen(m.long[i].Head()))
	}
	out.Append(l, redisproto.AppendArray(nil, len(m.order)))
	for _, part := range m.order {
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
