package proxy

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// TestReleaser: what is asked for shortly before memory is handed back is not
// forgotten, and the heap is collected every heapEvery at most.
func TestReleaser(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		asked []time.Duration // when soon is called
		want  []time.Duration // when the heap is handed back
	}{
		{"once", []time.Duration{0}, []time.Duration{heapAfter}},
		{"some at once", []time.Duration{0, time.Millisecond}, []time.Duration{heapAfter, heapAfter + heapEvery}},
		{"just before", []time.Duration{0, heapAfter - 1}, []time.Duration{heapAfter, heapAfter + heapEvery}},
		{"just after", []time.Duration{0, heapAfter + 1}, []time.Duration{heapAfter, heapAfter + heapEvery}},
		{"long after", []time.Duration{0, time.Minute}, []time.Duration{heapAfter, time.Minute + heapAfter}},
		{
			"scrapes every 15 s",
			[]time.Duration{0, heapEvery, 2 * heapEvery},
			[]time.Duration{heapAfter, heapEvery + heapAfter, 2*heapEvery + heapAfter},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := releaser{log: slog.New(slog.DiscardHandler)}
				defer r.stop()
				begun := time.Now()
				for _, at := range tt.asked {
					time.AfterFunc(at, r.soon)
				}
				for _, want := range tt.want {
					r.expect(t, begun.Add(want-1), false)
					r.expect(t, begun.Add(want), true)
				}
				if <-time.After(2 * heapEvery); r.due() {
					t.Error("it never ends")
				}
			})
		})
	}
}

// expect goes on to a moment of the bubble's clock, and tells whether the heap was
// handed back just then.
func (r *releaser) expect(t *testing.T, at time.Time, want bool) {
	t.Helper()
	<-time.After(time.Until(at)) // at once: the clock is the bubble's
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if got := r.last.Equal(at); got != want {
		t.Errorf("at %v: handed back %t, want %t; the last time was %v", at, got, want, r.last)
	}
}

func (r *releaser) due() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.heap != nil
}
