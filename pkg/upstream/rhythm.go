package upstream

import (
	"context"
	"time"
)

// hasty is how many questions in a row are asked at the quick pace: an endpoint
// that stays dead must not make every proxy ask every second for ever.
const hasty = 30

// rhythm says when a discovery asks again. The zero value is ready.
type rhythm struct {
	failures int // in a row
	quick    int // questions in a row at the quick pace
}

// next is the pause after a question: short and growing after failures; short
// while something is going on; else the configured one.
func (r *rhythm) next(t *timing, rate time.Duration, err error, busy bool) time.Duration {
	if err != nil {
		r.failures++
		return t.backoff(r.failures-1, t.refresh, min(rate, t.suspect))
	}
	r.failures = 0
	if !busy {
		r.quick = 0
		return t.jitter(rate)
	}
	if r.quick++; r.quick > hasty {
		return t.jitter(rate)
	}
	return t.jitter(min(rate, t.suspect))
}

// pause waits so long, until woken or until the context ends. It tells whether
// it was woken.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
		return true
	case <-timer.C:
	}
	return false
}
