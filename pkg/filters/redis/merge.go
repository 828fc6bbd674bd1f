package redis

import (
	"bytes"
	"math/rand/v2"
	"slices"

	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/redisproto"
)

// merge gathers the replies of several upstream requests into one.
type merge struct {
	how      combine
	join     joiner // the same for long parts; nil: they are copied
	left     int
	parts    [][]byte        // whole reply frames
	long     []netloop.Chain // instead, what came in pieces; nil if nothing has
	order    []int32         // for each key of the request, the part that has its value
	at       []int           // scratch: how much of each part has been used
	size     int
	tooLarge bool
	tolerant bool // one part without an error is enough (SCRIPT KILL)
}

// combine makes one reply of the parts, none of which is an error.
type combine func(m *merge, dst []byte, resp uint8) []byte

func (w *worker) takeMerge(how combine, parts int) *merge {
	var m *merge
	if n := len(w.merges); n > 0 {
		m = w.merges[n-1]
		w.merges = w.merges[:n-1]
	} else {
		m = &merge{}
	}
	m.how = how
	m.setParts(parts)
	return m
}

func (m *merge) setParts(n int) {
	m.left = n
	for len(m.parts) < n {
		if len(m.parts) < cap(m.parts) {
			m.parts = m.parts[:len(m.parts)+1]
		} else {
			m.parts = append(m.parts, nil)
		}
	}
	m.parts = m.parts[:n]
}

const (
	keepMerges   = 256
	keepMergeCap = 64 << 10
)

// putMerge keeps m for the next request, unless it has grown large.
func (w *worker) putMerge(m *merge) {
	grown := m.size + 4*cap(m.order) + 24*cap(m.parts)
	if len(w.merges) >= keepMerges || grown > keepMergeCap {
		return
	}
	for i := range m.parts {
		m.parts[i] = m.parts[i][:0]
	}
	m.order, m.size, m.how, m.join = m.order[:0], 0, nil, nil
	m.tooLarge, m.tolerant = false, false
	w.merges = append(w.merges, m)
}

// orphan is called when the client has gone. Replies still to come see that,
// so what is left of m is the garbage collector's.
func (m *merge) orphan(w *worker) { m.shorten(w.loop) }

// addPart appends to one part of the reply of slot seq.
func (c *client) addPart(seq uint32, part int32, b []byte) {
	c.held += len(b)
	if m := c.ring.at(seq).merge; m.fits(c.w.loop, len(b)) {
		m.parts[part] = append(m.parts[part], b...)
	}
}

// done says that one part is complete; the last one answers the slot.
func (m *merge) done(c *client, seq uint32, _ int32) {
	m.left--
	if m.left > 0 {
		return
	}
	s := c.ring.at(seq)
	s.merge = nil
	c.held -= m.size
	if m.long != nil {
		if m.join != nil && !m.tolerant {
			c.replyLong(seq, m)
			return
		}
		m.gather(c.w.loop)
	}
	if m.size > copiedReply && !m.tooLarge {
		c.replyMade(seq, m)
		return
	}
	c.w.merged = m.result(slices.Grow(c.w.merged[:0], min(m.size, copiedReply)), c.resp)
	c.reply(seq, c.w.merged)
	c.w.putMerge(m)
}

// copiedReply is the size up to which a merged reply is copied into the client's
// output. A larger one is made in a chunk that becomes a part of that.
const copiedReply = 4 << 10

// replyMade answers slot seq with the parts of m.
func (c *client) replyMade(seq uint32, m *merge) {
	p := c.w.loop.NewChunk(m.size + len("*2147483647\r\n"))
	room := p.Room()
	frame := m.result(room[:0], c.resp)
	c.w.putMerge(m)
	if &frame[0] != &room[0] { // an error, longer than the replies
		c.reply(seq, frame)
		c.w.loop.Free(p)
		return
	}
	p.Extend(len(frame))
	var out netloop.Chain
	out.AppendChunk(p)
	c.replyChain(seq, &out)
}

// result is the merged reply: the first error if there is one and the way of
// combining does not look at errors itself.
func (m *merge) result(dst []byte, resp uint8) []byte {
	if m.tooLarge {
		return redisproto.AppendError(dst, "ERR dragoman: the shards' replies together are too large to be merged")
	}
	for _, p := range m.parts {
		if isError(p) != m.tolerant {
			return append(dst, p...)
		}
	}
	if m.tolerant {
		return append(dst, m.parts[0]...)
	}
	return m.how(m, dst, resp)
}

func isError(frame []byte) bool {
	return len(frame) > 0 && (frame[0] == '-' || frame[0] == '!')
}

// errorText is the message of an error frame.
func errorText(frame []byte) string {
	frame = bytes.TrimRight(frame, "\r\n")
	if len(frame) > 0 && frame[0] == '!' {
		if i := bytes.IndexByte(frame, '\n'); i >= 0 {
			return string(frame[i+1:])
		}
	}
	return string(bytes.TrimPrefix(frame, []byte("-")))
}

// combineOrder puts the elements of the parts' arrays into the order of the
// request's keys (MGET).
func combineOrder(m *merge, dst []byte, _ uint8) []byte {
	dst = redisproto.AppendArray(dst, len(m.order))
	m.at = m.at[:0]
	for _, p := range m.parts {
		m.at = append(m.at, headerLen(p))
	}
	for _, part := range m.order {
		rest := m.parts[part][m.at[part]:]
		n, err := redisproto.FrameLen(rest, &replyLimits)
		if err != nil {
			return redisproto.AppendError(dst[:0], "ERR dragoman: a shard answered with too few values")
		}
		dst = append(dst, rest[:n]...)
		m.at[part] += n
	}
	return dst
}

// headerLen is the length of an aggregate's first line.
func headerLen(frame []byte) int { return bytes.IndexByte(frame, '\n') + 1 }

// combineFirst takes the first reply (all have succeeded).
func combineFirst(m *merge, dst []byte, _ uint8) []byte { return append(dst, m.parts[0]...) }

// combineSum adds integers.
func combineSum(m *merge, dst []byte, _ uint8) []byte {
	var sum int64
	for _, p := range m.parts {
		sum += intOf(p)
	}
	return redisproto.AppendInt(dst, sum)
}

// combineMin takes the smallest integer.
func combineMin(m *merge, dst []byte, _ uint8) []byte {
	least := intOf(m.parts[0])
	for _, p := range m.parts[1:] {
		least = min(least, intOf(p))
	}
	return redisproto.AppendInt(dst, least)
}

// combineMax takes the largest integer.
func combineMax(m *merge, dst []byte, _ uint8) []byte {
	most := intOf(m.parts[0])
	for _, p := range m.parts[1:] {
		most = max(most, intOf(p))
	}
	return redisproto.AppendInt(dst, most)
}

func intOf(frame []byte) int64 {
	v, _, err := redisproto.ParseValue(frame, &replyLimits)
	if err != nil {
		return 0
	}
	return v.Int
}

// combineConcat joins arrays, sets or maps, of any length.
func combineConcat(m *merge, dst []byte, _ uint8) []byte {
	total := 0
	for _, p := range m.parts {
		n, _, err := redisproto.Elements(p)
		if err != nil {
			return append(dst, p...)
		}
		total += max(n, 0)
	}
	start := len(dst)
	if m.parts[0][0] == '%' {
		total /= 2
	}
	dst = redisproto.AppendArray(dst, total)
	dst[start] = m.parts[0][0]
	for _, p := range m.parts {
		dst = append(dst, p[headerLen(p):]...)
	}
	return dst
}

// combineMap joins maps, arrays of pairs in RESP2. Of keys that several have,
// the first value counts (CONFIG GET).
func combineMap(m *merge, dst []byte, resp uint8) []byte {
	seen := map[string]bool{}
	var pairs []byte
	for _, p := range m.parts {
		_, elems, err := redisproto.Elements(p)
		if err != nil {
			return append(dst, p...)
		}
		key, n := []byte(nil), 0
		for e := range elems {
			if n++; n%2 == 1 {
				key = e
			} else if !seen[string(key)] {
				seen[string(key)] = true
				pairs = append(append(pairs, key...), e...)
			}
		}
	}
	return append(redisproto.AppendMap(dst, len(seen), int(resp)), pairs...)
}

// combineAnd is 1 where all arrays have 1 (SCRIPT EXISTS).
func combineAnd(m *merge, dst []byte, _ uint8) []byte {
	var all []bool
	for _, p := range m.parts {
		v, _, err := redisproto.ParseValue(p, &replyLimits)
		if err != nil {
			return append(dst, p...)
		}
		for i := range v.Elems {
			if i == len(all) {
				all = append(all, true)
			}
			all[i] = all[i] && v.Elems[i].Int != 0
		}
	}
	dst = redisproto.AppendArray(dst, len(all))
	for _, ok := range all {
		n := int64(0)
		if ok {
			n = 1
		}
		dst = redisproto.AppendInt(dst, n)
	}
	return dst
}

// combineAny takes one of the replies that are not null, at random (RANDOMKEY).
func combineAny(m *merge, dst []byte, _ uint8) []byte {
	start := rand.IntN(len(m.parts))
	for i := range m.parts {
		p := m.parts[(start+i)%len(m.parts)]
		if !bytes.Equal(p, []byte("$-1\r\n")) && !bytes.Equal(p, []byte("_\r\n")) {
			return append(dst, p...)
		}
	}
	return append(dst, m.parts[0]...)
}
