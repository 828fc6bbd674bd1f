package upstream

import (
	"errors"
	"testing"
	"time"
)

func TestRhythm(t *testing.T) {
	t.Parallel()
	tm := defaultTiming()
	tm.random = func() float64 { return 0 }
	var r rhythm
	failed := errors.New("failed")
	steps := []struct {
		name string
		err  error
		busy bool
		want time.Duration
	}{
		{"quiet", nil, false, 10 * time.Second},
		{"first failure", failed, false, 100 * time.Millisecond},
		{"second", failed, true, 200 * time.Millisecond},
		{"third", failed, false, 400 * time.Millisecond},
		{"fourth", failed, false, 800 * time.Millisecond},
		{"fifth", failed, false, time.Second},
		{"busy", nil, true, time.Second},
		{"failures are forgotten", failed, false, 100 * time.Millisecond},
	}
	for _, step := range steps {
		if got := r.next(&tm, 10*time.Second, step.err, step.busy); got != step.want {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
	for range hasty {
		r.next(&tm, 10*time.Second, nil, true)
	}
	if got := r.next(&tm, 10*time.Second, nil, true); got != 10*time.Second {
		t.Errorf("busy for long: %v", got)
	}
	r.next(&tm, 10*time.Second, nil, false)
	if got := r.next(&tm, 10*time.Second, nil, true); got != time.Second {
		t.Errorf("busy again: %v", got)
	}
}
