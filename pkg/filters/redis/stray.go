package redis

import (
	"maps"
	"slices"
	"time"
)

// stray is a request that was redirected to a node which is known by its host name
// alone, as those of a cluster that announces host names are until the topology that
// they have joined has been asked for. It waits for that.
type stray struct {
	pending
	from *pool
	addr string
	ask  bool
	// ns: when the topology was asked for last, and the end of the wait
	asked, till int64
}

const (
	strayPatience = 5 * time.Second // of a request without a deadline
	strayRefresh  = time.Second     // between two looks at the topology: its name may be new, too
)

// keepStray has the topology asked for at once.
func (w *worker) keepStray(s stray) {
	s.till = s.deadline
	if s.till == 0 {
		s.till = w.loop.Now() + int64(strayPatience)
	}
	s.refresh(w.loop.Now())
	if w.strays == nil {
		w.strays = make(map[string][]stray)
	}
	w.strays[s.addr] = append(w.strays[s.addr], s)
	w.startTicking()
}

func (s *stray) refresh(now int64) {
	if s.asked == 0 || now-s.asked >= int64(strayRefresh) {
		s.asked = now
		s.from.cluster.Refresh("unknown node " + s.addr)
	}
}

// sendStrays sends those on whose node is known by now, and answers those that have
// waited for long enough.
func (w *worker) sendStrays() {
	for _, addr := range slices.Collect(maps.Keys(w.strays)) {
		w.sendStraysTo(addr)
	}
}

// sendStraysTo is sendStrays for one address, in the order that they came in.
func (w *worker) sendStraysTo(addr string) {
	list, now := w.strays[addr], w.loop.Now()
	if len(list) == 0 {
		return
	}
	delete(w.strays, addr)
	seen := tables{}
	for i := range list {
		s := &list[i]
		if !s.live() {
			continue
		}
		e := seen.of(s.from.cluster).ByAddress(s.addr)
		switch {
		case e != nil:
			s.from.sendOn(&s.pending, e, s.ask)
		case now >= s.till:
			s.c.failPart(s.seq, s.part, errOnTheMove)
		default:
			s.refresh(now)
			w.strays[addr] = append(w.strays[addr], *s)
		}
	}
}
