// Package bodies bounds what HTTP filters hold of bodies: how much of them is in
// memory at once, and how long a client may take to send one.
package bodies

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// small bodies are converted at once. Larger ones take turns: what is made of them
// on the way costs many times their size.
const small = 64 << 10 // bytes

// Budget bounds what all requests of a process hold together.
type Budget struct {
	left  atomic.Int64
	turns chan struct{}
}

// NewBudget returns a budget of n bytes.
func NewBudget(n int64) *Budget {
	b := &Budget{turns: make(chan struct{}, 2*runtime.GOMAXPROCS(0))}
	b.left.Store(n)
	return b
}

// Take takes n bytes, unless there are not as many left.
func (b *Budget) Take(n int64) bool {
	if b.left.Add(-n) < 0 {
		b.left.Add(n)
		return false
	}
	return true
}

// Give gives n bytes back.
func (b *Budget) Give(n int64) { b.left.Add(n) }

// Turn waits until a body of n bytes may be converted. The function that it returns
// ends the turn; false: ctx was done before.
func (b *Budget) Turn(ctx context.Context, n int) (end func(), ok bool) {
	if n <= small {
		return func() {}, true
	}
	select {
	case b.turns <- struct{}{}:
		return func() { <-b.turns }, true
	case <-ctx.Done():
		return nil, false
	}
}

// Account is what one request has taken of a budget. Its methods may be called from
// any goroutine.
type Account struct {
	budget *Budget

	mu     sync.Mutex
	taken  int64 // guarded by mu
	closed bool  // guarded by mu
}

// Open returns an account, which is to be closed.
func (b *Budget) Open() *Account { return &Account{budget: b} }

// change takes n bytes, or gives -n back. False: there are not as many left, or the
// account is closed.
func (a *Account) change(n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return false
	case n <= 0:
		a.budget.Give(-n)
	case !a.budget.Take(n):
		return false
	}
	a.taken += n
	return true
}

// Close gives back all that is taken.
func (a *Account) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.budget.Give(a.taken)
	a.taken, a.closed = 0, true
}

// Share returns a part of the account, of somebody who holds nothing yet.
func (a *Account) Share() Share { return Share{account: a} }

// Share is what one holder of a request's bytes has. The zero Share is not counted.
type Share struct {
	account *Account
	n       int64
}

// Set says that the holder has n bytes now. False: there are not as many left, and
// nothing has changed.
func (s *Share) Set(n int) bool {
	if s.account == nil || int64(n) == s.n {
		return true
	}
	if !s.account.change(int64(n) - s.n) {
		return false
	}
	s.n = int64(n)
	return true
}
