package netloop

import (
	"context"
	"sync/atomic"
	"unsafe"
)

// Stats are a loop's counters since its start, and what it holds now.
type Stats struct {
	Iterations uint64
	Waits      uint64 // waits that may have blocked
	Parks      uint64 // of those, waits that gave the processor back to the scheduler
	Events     uint64
	Reads      uint64 // system calls
	Writes     uint64 // system calls
	BytesIn    uint64 // read from sockets, before TLS is taken off
	BytesOut   uint64 // written to them
	BusyNanos  int64  // time not spent waiting
	Downstream int    // open connections
	Upstream   int
	PoolBytes  int // in free lists
	HeldBytes  int // in chunks handed out: input, output, and what drivers hold
}

// Stats returns the counters. From outside the loop's goroutine use [Loop.ReadStats].
func (l *Loop) Stats() Stats {
	s := l.stats
	s.BusyNanos = l.busy.Load()
	s.Downstream = int(l.open[Downstream].Load())
	s.Upstream = int(l.open[Upstream].Load())
	s.PoolBytes = l.pool.kept
	s.HeldBytes = l.pool.inUse
	for p := l.freed; p != nil; p = p.next {
		s.HeldBytes -= cap(p.buf)
		s.PoolBytes += cap(p.buf)
	}
	return s
}

// ReadStats is [Loop.Stats] for any goroutine but the loop's.
func (l *Loop) ReadStats(ctx context.Context) (s Stats, err error) {
	err = l.Call(ctx, func() { s = l.Stats() })
	return s, err
}

// Call has fn called on the loop's goroutine and waits for it. Any goroutine
// but the loop's may call it. On an error fn has not been called and won't be,
// so that fn may use its caller's variables.
func (l *Loop) Call(ctx context.Context, fn func()) error {
	done := make(chan struct{})
	var taken atomic.Bool // by the loop, or by who gives up
	if !l.Post(func() {
		if taken.CompareAndSwap(false, true) {
			fn()
			close(done)
		}
	}) {
		return ErrStopped
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		if taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		<-done
		return nil
	}
}

// stringBytes returns s's bytes without a copy; they must not be changed.
func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
