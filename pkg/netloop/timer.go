package netloop

import "time"

// Timer calls a function on its loop's goroutine once, after a delay. Its
// resolution is a millisecond.
type Timer struct {
	loop *Loop
	fn   func()
	when int64 // due then, in ns of Loop.Now
	at   int64 // position in the heap: at most when
	pos  int   // index in the heap, -1 outside
}

// After calls fn after d.
func (l *Loop) After(d time.Duration, fn func()) *Timer {
	t := &Timer{loop: l, fn: fn, pos: -1}
	t.Reset(d)
	return t
}

// Stop prevents the call, if it is still to come.
func (t *Timer) Stop() {
	if t.pos >= 0 {
		t.loop.timers.remove(t)
	}
}

// Active says that the call is still to come.
func (t *Timer) Active() bool { return t.pos >= 0 }

// Reset makes the call due d from now, whether or not it was made before.
// Moving a deadline further away is cheap: the heap learns of it only when the
// old one has come.
func (t *Timer) Reset(d time.Duration) {
	t.when = t.loop.now + int64(max(d, 0))
	h := &t.loop.timers
	switch {
	case t.pos < 0:
		t.at = t.when
		h.add(t)
	case t.when < t.at:
		t.at = t.when
		h.up(t.pos)
	}
}

// runTimers calls what is due.
func (l *Loop) runTimers() {
	for {
		t := l.timers.top()
		if t == nil || t.at > l.now {
			return
		}
		if t.when > t.at { // was moved
			t.at = t.when
			l.timers.down(t.pos)
			continue
		}
		l.timers.remove(t)
		t.fn()
		if t.pos >= 0 && t.when <= l.now { // reset to now: next iteration
			t.when = l.now + 1
			t.at = t.when
			l.timers.down(t.pos)
		}
	}
}

// timerHeap is a binary heap by Timer.at.
type timerHeap []*Timer

func (h *timerHeap) top() *Timer {
	if len(*h) == 0 {
		return nil
	}
	return (*h)[0]
}

func (h *timerHeap) add(t *Timer) {
	t.pos = len(*h)
	*h = append(*h, t)
	h.up(t.pos)
}

func (h *timerHeap) remove(t *Timer) {
	i, last := t.pos, len(*h)-1
	s := *h
	if i != last {
		s[i] = s[last]
		s[i].pos = i
	}
	s[last] = nil
	*h = s[:last]
	t.pos = -1
	if i != last {
		moved := s[i]
		h.up(i)
		h.down(moved.pos)
	}
}

func (h *timerHeap) up(i int) {
	s := *h
	t := s[i]
	for i > 0 {
		parent := (i - 1) / 2
		if s[parent].at <= t.at {
			break
		}
		s[i] = s[parent]
		s[i].pos = i
		i = parent
	}
	s[i] = t
	t.pos = i
}

func (h *timerHeap) down(i int) {
	s := *h
	t := s[i]
	for {
		k := 2*i + 1
		if k >= len(s) {
			break
		}
		if k+1 < len(s) && s[k+1].at < s[k].at {
			k++
		}
		if s[k].at >= t.at {
			break
		}
		s[i] = s[k]
		s[i].pos = i
		i = k
	}
	s[i] = t
	t.pos = i
}
