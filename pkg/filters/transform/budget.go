package transform

import (
	"context"
	"runtime"
	"sync/atomic"
)

const (
	// budgetBytes is how much of all bodies together may be in memory, in one
	// process.
	budgetBytes = 256 << 20
	// small bodies are changed at once. Larger ones take turns: their trees cost ten
	// times their size.
	small = 64 << 10
)

// budget bounds what all requests hold.
type budget struct {
	left  atomic.Int64
	turns chan struct{}
}

func newBudget() *budget {
	b := &budget{turns: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	b.left.Store(budgetBytes)
	return b
}

// take takes n bytes, unless there are none left.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

func (b *budget) give(n int64) { b.left.Add(n) }

// turn waits until a body of n bytes may be changed. The function that it returns
// ends the turn.
func (b *budget) turn(ctx context.Context, n int) (func(), error) {
	if n <= small {
		return func() {}, nil
	}
	select {
	case b.turns <- struct{}{}:
		return func() { <-b.turns }, nil
	case <-ctx.Done():
		return nil, errClientGone
	}
}
