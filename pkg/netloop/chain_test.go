package netloop

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// MoveN takes bytes from one chain to another in their order, whatever their
// chunks, and leaves the rest. Lead changes no byte.
func TestChainMoveN(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 200 {
		var from, to Chain
		var all []byte
		for range 1 + rng.IntN(8) {
			p := l.NewChunk(1 + rng.IntN(100_000))
			n := rng.IntN(len(p.Room()) + 1)
			for i := range p.Room()[:n] {
				p.Room()[i] = byte(len(all) + i)
			}
			p.Extend(n)
			all = append(all, p.Bytes()...)
			from.AppendChunk(p)
		}
		moved := 0
		for from.Len() > 0 {
			n := 1 + rng.IntN(from.Len())
			if most := rng.IntN(2 * from.Len()); rng.IntN(3) == 0 {
				want := all[moved:][:min(most, from.Len())]
				if got := from.Lead(l, most); !bytes.Equal(got, want) || from.Len() != len(all)-moved {
					t.Fatalf("the first %d bytes are %d others", len(want), len(got))
				}
			}
			from.MoveN(l, &to, n)
			if moved += n; to.Len() != moved || from.Len() != len(all)-moved {
				t.Fatalf("%d bytes were to be moved: %d are there, %d left", moved, to.Len(), from.Len())
			}
			if rest := bytes.Clone(from.Head()); !bytes.HasPrefix(all[moved:], rest) {
				t.Fatalf("the rest of %d bytes begins wrong", from.Len())
			}
		}
		from.MoveN(l, &to, 10) // there is nothing
		if got := to.Contiguous(l); !bytes.Equal(got, all) {
			t.Fatalf("%d bytes of %d are not the same", len(got), len(all))
		}
		to.Free(l)
		l.recycle()
	}
	if held := l.pool.inUse; held != 0 {
		t.Errorf("%d bytes are still in use", held)
	}
}

// Moving in large pieces keeps the memory where it is.
func TestChainMoveNKeepsChunks(t *testing.T) {
	t.Parallel()
	l := NewTestLoop()
	var from, to Chain
	for range 3 {
		p := l.NewChunk(hugeChunk)
		p.Extend(hugeChunk)
		from.AppendChunk(p)
	}
	first, last := &from.head.buf[0], &from.tail.buf[0]
	from.MoveN(l, &to, 2*hugeChunk+10)
	if &to.head.buf[0] != first || from.Len() != hugeChunk-10 || &from.tail.buf[0] != last {
		t.Error("a whole chunk was copied, or the rest was moved")
	}
	if in := l.pool.inUse; in > 4*hugeChunk {
		t.Errorf("%d bytes are in use", in)
	}
}
