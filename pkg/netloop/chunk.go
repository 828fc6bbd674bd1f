package netloop

import "unsafe"

// Sizes of the pooled chunks, in bytes. Anything larger is allocated to size
// and left to the garbage collector.
const (
	smallChunk  = 2 << 10
	mediumChunk = 16 << 10
	largeChunk  = 72 << 10 // 64 KiB, and the head that such a payload has
	hugeChunk   = 256 << 10

	classes  = 4
	unpooled = classes // class of a chunk that has no free list
)

// ownThreshold is the size from which [Conn.Own] gives the read buffer away
// instead of copying: below it a copy is cheaper than a fresh buffer.
const ownThreshold = 16 << 10

// Chunk is an owned piece of memory from a loop's pool. Whoever holds a chunk
// passes it on ([Conn.WriteChunk], [Chain.AppendChunk]) or releases it with
// [Loop.Free], once.
type Chunk struct {
	loop  *Loop
	next  *Chunk
	buf   []byte // all that may be filled; cap is the class's size
	r, w  int    // unread bytes are buf[r:w]
	class uint8
}

// Bytes returns the unread bytes. The slice is valid until the chunk is passed on.
func (p *Chunk) Bytes() []byte { return p.buf[p.r:p.w:p.w] }

// Len returns the number of unread bytes.
func (p *Chunk) Len() int { return p.w - p.r }

// Room returns the spare room behind the unread bytes; see [Chunk.Extend].
func (p *Chunk) Room() []byte { return p.buf[p.w:] }

// Extend says that n bytes of [Chunk.Room] have been filled.
func (p *Chunk) Extend(n int) { p.w += n }

// Skip drops the first n unread bytes.
func (p *Chunk) Skip(n int) { p.r += n }

// staleAfter is how long a size class goes unasked for before its free chunks
// give way to those of a class that is in use, in ns.
const staleAfter = 100e6

// pool holds a loop's free chunks by size class.
type pool struct {
	free    [classes]*Chunk
	asked   [classes]int64 // when a chunk of the class was last asked for, as Loop.now
	headers *Chunk         // chunks without memory
	kept    int            // bytes in the free lists
	limit   int            // bytes the free lists may hold
	inUse   int            // bytes of chunks handed out
}

func classOf(size int) uint8 {
	switch {
	case size <= smallChunk:
		return 0
	case size <= mediumChunk:
		return 1
	case size <= largeChunk:
		return 2
	case size <= hugeChunk:
		return 3
	}
	return unpooled
}

func classSize(class uint8) int {
	switch class {
	case 0:
		return smallChunk
	case 1:
		return mediumChunk
	case 2:
		return largeChunk
	}
	return hugeChunk
}

// NewChunk returns an empty chunk with room for at least size bytes.
func (l *Loop) NewChunk(size int) *Chunk {
	k := classOf(size)
	if k == unpooled {
		l.pool.inUse += size
		return &Chunk{loop: l, buf: make([]byte, size), class: unpooled}
	}
	n := classSize(k)
	l.pool.inUse += n
	l.pool.asked[k] = l.now
	p := l.pool.free[k]
	if p == nil {
		return &Chunk{loop: l, buf: make([]byte, n), class: k}
	}
	l.pool.free[k] = p.next
	l.pool.kept -= n
	p.next, p.r, p.w = nil, 0, 0
	return p
}

// Free releases a chunk. Its memory is reused from the next iteration on, not
// before: slices seen in the current driver call stay valid. A nil chunk is
// ignored.
func (l *Loop) Free(p *Chunk) {
	if p == nil {
		return
	}
	p.next = l.freed
	l.freed = p
}

// reuse releases a chunk at once, so that the next payload finds memory that is
// still in the processor's cache. It defers where the driver is being shown
// that very memory.
func (l *Loop) reuse(p *Chunk) {
	if s := l.shown; s != nil && (s == p || unsafe.SliceData(s.buf) == unsafe.SliceData(p.buf)) {
		l.Free(p)
		return
	}
	l.pool.put(p)
}

// recycle moves what was freed in the last iteration to the free lists.
func (l *Loop) recycle() {
	p := l.freed
	l.freed = nil
	for p != nil {
		next := p.next
		l.pool.put(p)
		p = next
	}
}

func (o *pool) put(p *Chunk) {
	n := cap(p.buf)
	o.inUse -= n
	switch {
	case n == 0:
		p.next, o.headers = o.headers, p
	case p.class == unpooled || o.kept+n > o.limit && !o.makeRoom(n, p.class):
		p.buf, p.next = nil, nil
	default:
		p.buf = p.buf[:n]
		p.next, o.free[p.class] = o.free[p.class], p
		o.kept += n
	}
}

// makeRoom drops free chunks of classes that are no longer asked for until n
// more bytes of a class may be kept. Without it what a former load left behind
// would keep the present one from reusing anything.
func (o *pool) makeRoom(n int, class uint8) bool {
	for k := range o.free {
		for o.free[k] != nil && o.asked[class]-o.asked[k] > staleAfter {
			p := o.free[k]
			o.free[k] = p.next
			o.kept -= cap(p.buf)
			p.buf, p.next = nil, nil
			if o.kept+n <= o.limit {
				return true
			}
		}
	}
	return false
}

// detach gives p's memory away as a chunk of its own that holds buf[from:to]
// and has no room behind it: what follows may still be read through p. p keeps
// seeing the memory, but owns it no longer and must be abandoned before the
// next iteration.
func (l *Loop) detach(p *Chunk, from, to int) *Chunk {
	q := l.pool.headers
	if q == nil {
		q = &Chunk{loop: l}
	} else {
		l.pool.headers = q.next
	}
	q.next, q.buf, q.r, q.w, q.class = nil, p.buf[:to], from, to, p.class
	return q
}

// offset returns where b starts in p's memory, or -1 when b lives elsewhere.
func (p *Chunk) offset(b []byte) int {
	if len(b) == 0 || len(p.buf) == 0 {
		return -1
	}
	base := uintptr(unsafe.Pointer(unsafe.SliceData(p.buf)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if at < base || at+uintptr(len(b)) > base+uintptr(len(p.buf)) {
		return -1
	}
	return int(at - base)
}
