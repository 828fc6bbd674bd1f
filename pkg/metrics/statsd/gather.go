package statsd

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// atOnce is how many series are written while the lock is held: senders wait
// for no longer than that takes, some 10 us.
const atOnce = 256

// gathered is what Gather keeps from one time to the next.
type gathered struct {
	families []*family // by name
	shown    []*dto.MetricFamily
}

// gather brings what is shown up to date and returns it.
func (s *store) gather(now int64) []*dto.MetricFamily {
	s.gathering.Lock()
	defer s.gathering.Unlock()
	g := &s.gathered
	s.mu.Lock()
	s.expire(now)
	if s.gone {
		g.families = g.families[:0]
		for _, f := range s.families {
			g.families = append(g.families, f)
		}
		slices.SortFunc(g.families, func(a, b *family) int { return strings.Compare(a.name, b.name) })
		s.gone = false
	}
	s.mu.Unlock()
	g.shown = g.shown[:0]
	for _, f := range g.families {
		if s.show(f, now); len(f.shown.Metric) > 0 {
			g.shown = append(g.shown, f.shown)
		}
	}
	return g.shown
}

// show brings a family up to date, some of its series at a time.
func (s *store) show(f *family, now int64) {
	s.mu.Lock()
	changed := f.died || len(f.added) > 0
	f.arrange()
	if f.shown == nil || *f.shown.Help != f.help {
		// A family of its own: who was given the last one may be reading it.
		name, help, typ := f.name, f.help, f.kind.exposed()
		f.shown = &dto.MetricFamily{Name: &name, Help: &help, Type: &typ}
		changed = true
	}
	written := 0
	for written < len(f.order) {
		end := min(written+atOnce, len(f.order))
		for _, series := range f.order[written:end] {
			series.write(now)
		}
		if written = end; written < len(f.order) {
			s.mu.Unlock()
			s.mu.Lock()
		}
	}
	s.mu.Unlock()
	if !changed {
		return
	}
	f.shown.Metric = make([]*dto.Metric, len(f.order))
	for i, series := range f.order {
		f.shown.Metric[i] = series.metric
	}
}

// expire removes series whose time is over. The caller holds the lock.
func (s *store) expire(now int64) {
	s.expired = now
	if !s.expiring {
		return
	}
	for _, f := range s.families {
		for _, series := range f.series {
			if series.ttl > 0 && now-series.seen > series.ttl {
				s.remove(series)
				s.stats.Expired++
			}
		}
	}
}

// makeRoom looks for series whose time is over, once a second at most.
func (s *store) makeRoom(now int64) bool {
	const second = 1e9
	if now-s.expired < second {
		return false
	}
	s.expire(now)
	return s.count < s.options.MaxSeries
}

func (s *store) remove(series *series) {
	f := series.family
	series.dead, f.died = true, true
	delete(f.series, series.key)
	s.count--
	s.stats.Series[f.kind]--
	if len(f.series) == 0 {
		delete(s.families, f.name)
		s.stats.Families[f.kind]--
		s.gone = true
	}
}

// renew makes what is shown anew, since somebody else may still be reading what
// it was so far. The caller holds the lock.
func (s *store) renew() {
	s.gone = true
	for _, f := range s.families {
		f.shown, f.order, f.added, f.died = nil, nil, nil, true
		for _, series := range f.series {
			series.metric = nil
			f.added = append(f.added, series)
		}
	}
}

// remap exchanges the mapping. Series which the new one makes of the lines that
// made them stay, the others go.
func (s *store) remap(file *mapping.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.options.Mapping = file
	s.lines.reset()
	s.windows = map[*mapping.Rule]*window{}
	var line []byte
	for _, f := range s.families {
		for _, series := range f.series {
			line = append(append(append(line[:0], series.origin[:series.originHead]...), ":0"...), series.origin[series.originHead:]...)
			if !s.stillMeans(line, series) {
				s.remove(series)
			}
		}
	}
}

// stillMeans tells whether the line is mapped to the series.
func (s *store) stillMeans(line []byte, series *series) bool {
	l, id := &s.line, &s.identity
	if err := l.Parse(line, s.options.Styles); err != nil || len(l.Samples) == 0 {
		return false
	}
	if !id.resolve(s.options.Mapping, l, l.Samples[0].Type) || id.rule.Drop ||
		string(id.name) != series.family.name || id.kind != series.family.kind || string(id.key) != series.key {
		return false
	}
	series.ttl = s.ttl(id.rule)
	if id.rule.Help != "" {
		series.family.help = strings.ToValidUTF8(id.rule.Help, "\uFFFD")
	}
	return true
}
