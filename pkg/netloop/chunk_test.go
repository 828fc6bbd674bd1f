package netloop

import (
	"testing"
	"time"
)

// TestPoolFollowsTheLoad: chunks of a size that was asked for in the past do
// not keep those of the size that is asked for now out of the pool.
func TestPoolFollowsTheLoad(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	fill := func(size int) {
		for range l.pool.limit/size + 1 {
			l.Free(&Chunk{loop: l, buf: make([]byte, size), class: classOf(size)})
		}
		l.recycle()
	}
	reused := func(size int) bool {
		p := l.NewChunk(size)
		memory := &p.buf[0]
		l.Free(p)
		l.recycle()
		return &l.NewChunk(size).buf[0] == memory
	}
	l.NewChunk(smallChunk)
	fill(smallChunk)
	if l.pool.kept != l.pool.limit {
		t.Fatalf("the pool keeps %d bytes of %d", l.pool.kept, l.pool.limit)
	}
	if reused(hugeChunk) {
		t.Error("small chunks in use gave way at once")
	}
	l.now += 2 * int64(time.Second)
	if !reused(hugeChunk) {
		t.Error("small chunks that nobody asks for keep a large one out")
	}
	if l.pool.kept > l.pool.limit {
		t.Errorf("the pool keeps %d bytes of %d", l.pool.kept, l.pool.limit)
	}
}
