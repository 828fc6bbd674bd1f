package netloop

// copySmall is the size up to which moving bytes into spare room is cheaper
// than one more chunk in the chain (and one more entry in a writev).
const copySmall = 1 << 10

// Chain is a queue of bytes in chunks. The zero value is empty. A chain and
// all its chunks belong to one loop.
type Chain struct {
	head, tail *Chunk
	n          int
}

// Len returns the number of bytes.
func (q *Chain) Len() int { return q.n }

// Append copies b to the end: into the last chunk's spare room, then into
// chunks of growing size.
func (q *Chain) Append(l *Loop, b []byte) {
	if t := q.tail; t != nil && len(b) <= len(t.buf)-t.w { // the hot case
		copy(t.buf[t.w:], b)
		t.w += len(b)
		q.n += len(b)
		return
	}
	for len(b) > 0 {
		t := q.tail
		if t == nil || t.w == len(t.buf) {
			t = l.NewChunk(min(q.nextSize(len(b)), largeChunk))
			q.push(t)
		}
		n := copy(t.buf[t.w:], b)
		t.w += n
		q.n += n
		b = b[n:]
	}
}

// nextSize chooses the room of the next chunk: as much as the chain holds
// already, so that a long chain has few chunks and a short one little memory.
func (q *Chain) nextSize(need int) int { return max(need, q.n) }

// AppendChunk appends p and takes ownership of it.
func (q *Chain) AppendChunk(p *Chunk) {
	n := p.Len()
	if t := q.tail; n <= copySmall && (n == 0 || t != nil && n <= len(t.buf)-t.w) {
		if n > 0 {
			copy(t.buf[t.w:], p.Bytes())
			t.w += n
			q.n += n
		}
		p.loop.Free(p)
		return
	}
	q.push(p)
	q.n += n
}

func (q *Chain) push(p *Chunk) {
	p.next = nil
	if q.tail == nil {
		q.head = p
	} else {
		q.tail.next = p
	}
	q.tail = p
}

// MoveTo appends all bytes to dst and leaves q empty. It costs the same
// whatever the length.
func (q *Chain) MoveTo(dst *Chain) {
	switch {
	case q.head == nil:
		return
	case q.head == q.tail:
		p := q.head
		*q = Chain{}
		dst.AppendChunk(p)
		return
	case dst.head == nil:
		*dst = *q
	default:
		dst.tail.next = q.head
		dst.tail = q.tail
		dst.n += q.n
	}
	*q = Chain{}
}

// Head returns the bytes of the first chunk, nil if there is none. The slice is
// valid until q is next changed.
func (q *Chain) Head() []byte {
	if q.head == nil {
		return nil
	}
	return q.head.Bytes()
}

// MoveN appends the first n bytes, at most all, to dst. Whole chunks that do not
// fit into the room there change their owner, the rest is copied: no more memory
// is taken than twice the bytes.
func (q *Chain) MoveN(l *Loop, dst *Chain, n int) {
	for n > 0 && q.head != nil {
		p := q.head
		k := min(n, p.Len())
		n -= k
		if k < p.Len() || (dst.tail != nil && k <= len(dst.tail.Room())) {
			dst.Append(l, p.Bytes()[:k])
			q.Skip(l, k)
			continue
		}
		if q.head = p.next; q.head == nil {
			q.tail = nil
		}
		q.n -= k
		dst.push(p)
		dst.n += k
	}
}

// Free releases all chunks.
func (q *Chain) Free(l *Loop) {
	for p := q.head; p != nil; {
		next := p.next
		l.Free(p)
		p = next
	}
	*q = Chain{}
}

// Skip drops the first n bytes, at most all.
func (q *Chain) Skip(l *Loop, n int) {
	q.n -= min(n, q.n)
	for q.head != nil {
		p := q.head
		k := min(n, p.Len())
		p.r += k
		n -= k
		if p.r < p.w {
			return
		}
		q.head = p.next
		if q.head == nil {
			q.tail = nil
		}
		l.reuse(p)
	}
}

// Contiguous returns all bytes as one slice, gathering them into one chunk
// when there are several. The slice is valid until q is next changed.
func (q *Chain) Contiguous(l *Loop) []byte { return q.Lead(l, q.n) }

// Lead returns the first n bytes, at most all, as one slice, gathering them into
// one chunk when they are in several. The slice is valid until q is next changed.
func (q *Chain) Lead(l *Loop, n int) []byte {
	if q.head == nil {
		return nil
	}
	if n = min(n, q.n); n > q.head.Len() {
		p := l.NewChunk(n)
		for p.w < n {
			k := copy(p.buf[p.w:n], q.head.Bytes())
			p.w += k
			q.Skip(l, k)
		}
		if p.next = q.head; p.next == nil {
			q.tail = p
		}
		q.head = p
		q.n += n
	}
	return q.head.Bytes()[:n:n]
}
