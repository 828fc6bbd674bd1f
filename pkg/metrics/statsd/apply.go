package statsd

import (
	"math"

	"github.com/dragoman-mesh/dragoman/pkg/statsdproto"
)

func (s *store) noteMapping(m *meaning) {
	if m.mapped {
		s.stats.Mapped++
	} else {
		s.stats.Unmapped++
	}
}

// apply gives a value to its series.
func (s *store) apply(e *entry, v float64, relative bool, now int64) {
	m := &e.meaning
	if m.series == nil {
		s.stats.Dropped++
		return
	}
	s.noteMapping(m)
	k := m.series.family.kind
	v, ok := s.amount(e, k, v)
	if !ok {
		return
	}
	switch k {
	case counterKind:
		m.series.add(v)
		s.stats.Events[counterEvent]++
	case gaugeKind:
		if relative {
			v += m.series.value
		}
		m.series.value = v
		s.stats.Events[gaugeEvent]++
	case histogramKind:
		m.series.hist.observe(v, e.times)
		s.stats.Events[observerEvent] += uint64(e.times)
	case summaryKind:
		m.series.sum.observe(v, e.times, now)
		s.stats.Events[observerEvent] += uint64(e.times)
	}
	m.series.seen = now
}

// amount is what a value comes to: scaled, of a counter as if all had been
// sampled, and of a timer in seconds. It is false for what must not reach a
// series, which is counted.
func (s *store) amount(e *entry, k Kind, v float64) (float64, bool) {
	switch {
	case k == counterKind && e.rate != 1:
		v /= e.rate
	case e.typ == statsdproto.Timer:
		v /= 1000
	}
	v = e.rule.Scaled(v)
	switch {
	case k == gaugeKind, k == setKind:
		return v, true
	case math.IsNaN(v), math.IsInf(v, 0):
		s.stats.IllegalNumbers++
		return 0, false
	case k == counterKind && v < 0:
		s.stats.NegativeCounters++
		return 0, false
	default:
		return v, true
	}
}

func (s *store) applySet(e *entry, member []byte, now int64) {
	if e.series == nil {
		s.stats.Dropped++
		return
	}
	s.noteMapping(&e.meaning)
	e.series.set.add(s.members, member, now)
	e.series.seen = now
	s.stats.Events[setEvent]++
}
