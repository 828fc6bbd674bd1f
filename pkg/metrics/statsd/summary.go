package statsd

import (
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// Defaults of client_golang's summaries.
const (
	defaultMaxAge     = 10 * time.Minute
	defaultAgeBuckets = 5
	defaultBufCap     = 500
)

// window is what summaries of the same options share.
type window struct {
	quantiles []mapping.Quantile // increasing
	step      int64              // ns for which one stream is the oldest
	streams   int
	buffer    int
	scratch   []sample // of one flush
}

func newWindow(o *mapping.SummaryOptions) *window {
	maxAge, ages, buffer := o.MaxAge, o.AgeBuckets, o.BufCap
	if maxAge == 0 {
		maxAge = defaultMaxAge
	}
	if ages == 0 {
		ages = defaultAgeBuckets
	}
	if buffer == 0 {
		buffer = defaultBufCap
	}
	return &window{quantiles: o.Quantiles, step: max(int64(maxAge)/int64(ages), 1), streams: ages, buffer: buffer}
}

// summary is the quantiles of the last while, and the count and sum of all.
// Every observation goes to each of its streams; they are begun anew one after
// the other, and the one that was begun first is asked.
type summary struct {
	window  *window
	count   uint64
	sum     float64
	pending []float64 // observed and not yet in the streams
	streams []stream
	oldest  int
	until   int64 // when the oldest stream is begun anew, by clock

	asked bool // shown is of what is there now
	shown *dto.Summary
}

func newSummary(w *window, now int64) *summary {
	return &summary{window: w, streams: make([]stream, w.streams), until: now + w.step}
}

func (s *summary) observe(v float64, times int, now int64) {
	if now > s.until {
		s.rotate(now)
	}
	s.asked = false
	s.count += uint64(times)
	s.sum = addTimes(s.sum, v, times)
	if many := 64; times > many {
		s.flush()
		s.insert([]sample{{value: v, width: float64(times)}})
		return
	}
	for range times {
		s.pending = append(s.pending, v)
		if len(s.pending) >= s.window.buffer {
			s.flush()
		}
	}
}

// flush gives what is pending to the streams.
func (s *summary) flush() {
	if len(s.pending) == 0 {
		return
	}
	slices.Sort(s.pending)
	sorted := s.window.scratch[:0]
	for _, v := range s.pending {
		sorted = append(sorted, sample{value: v, width: 1})
	}
	s.window.scratch = sorted
	s.insert(sorted)
	s.pending = s.pending[:0]
}

func (s *summary) insert(sorted []sample) {
	for i := range s.streams {
		s.streams[i].merge(sorted, s.window.quantiles)
	}
}

// rotate begins streams anew whose time has come.
func (s *summary) rotate(now int64) {
	s.flush()
	s.asked = false
	behind := 1 + (now-s.until-1)/s.window.step
	for range min(behind, int64(len(s.streams))) {
		s.streams[s.oldest] = stream{}
		s.oldest = (s.oldest + 1) % len(s.streams)
	}
	s.until += behind * s.window.step
	if behind >= int64(len(s.streams)) {
		s.pending = nil // it was silent for long
	}
}

// write fills in what is shown; the message stays the same.
func (s *summary) write(now int64) {
	if now > s.until {
		s.rotate(now)
	}
	if s.asked {
		return
	}
	s.asked = true
	if s.shown.SampleCount == nil {
		s.shown.SampleCount, s.shown.SampleSum = new(uint64), new(float64)
		for i := range s.window.quantiles {
			s.shown.Quantile = append(s.shown.Quantile, &dto.Quantile{Quantile: &s.window.quantiles[i].Quantile, Value: new(float64)})
		}
	}
	*s.shown.SampleCount, *s.shown.SampleSum = s.count, s.sum
	oldest := &s.streams[s.oldest]
	if len(oldest.list) > 0 {
		s.flush()
	} else {
		slices.Sort(s.pending)
	}
	for i, q := range s.window.quantiles {
		v := &s.shown.Quantile[i].Value
		switch {
		case len(oldest.list) > 0:
			**v = oldest.query(q.Quantile, s.window.quantiles)
		case len(s.pending) > 0:
			**v = s.pending[max(int(math.Ceil(float64(len(s.pending))*q.Quantile))-1, 0)]
		default:
			**v = math.NaN()
		}
	}
}

// stream is the data structure of Cormode, Korn, Muthukrishnan and Srivastava,
// "Effective Computation of Biased Quantiles over Data Streams", for targeted
// quantiles. While it holds few values it holds all of them.
type stream struct {
	n      float64
	list   []sample // by value
	packed bool     // samples stand for others than themselves
}

// sample stands for width observations, whose rank is known but for delta.
type sample struct {
	value, width, delta float64
}

// allValues is how many a stream keeps before it packs them.
const allValues = 256

// slack is how far a rank at r may be off twice.
func (s *stream) slack(r float64, targets []mapping.Quantile) float64 {
	least := math.MaxFloat64
	for _, t := range targets {
		var f float64
		switch {
		case t.Quantile == 0, t.Quantile == 1: // the ends of the list are exact
			continue
		case t.Quantile*s.n <= r:
			f = 2 * t.Error * r / t.Quantile
		default:
			f = 2 * t.Error * (s.n - r) / (1 - t.Quantile)
		}
		least = min(least, f)
	}
	return least
}

// merge adds samples, which are sorted.
func (s *stream) merge(sorted []sample, targets []mapping.Quantile) {
	if len(targets) == 0 {
		return
	}
	old := s.list
	list := make([]sample, 0, len(old)+len(sorted))
	i := 0
	for _, add := range sorted {
		for i < len(old) && old[i].value <= add.value {
			list = append(list, old[i])
			i++
		}
		if s.packed && i < len(old) {
			add.delta = old[i].width + old[i].delta - 1 // it may be before or behind all that the next one stands for
		}
		list = append(list, add)
		s.n += add.width
	}
	s.list = append(list, old[i:]...)
	if s.packed || len(s.list) > allValues {
		s.pack(targets)
	}
}

// pack lets samples stand for their neighbours where the targets allow it.
func (s *stream) pack(targets []mapping.Quantile) {
	s.packed = true
	last := len(s.list) - 1
	at, kept := last, s.list[last]
	r := s.n - 1 - kept.width
	for i := last - 1; i >= 0; i-- {
		c := s.list[i]
		if i > 0 && c.width+kept.width+kept.delta <= s.slack(r, targets) {
			kept.width += c.width
		} else {
			s.list[at] = kept
			at--
			kept = c
		}
		r -= c.width
	}
	s.list[at] = kept
	s.list = slices.Clone(s.list[at:])
}

func (s *stream) query(q float64, targets []mapping.Quantile) float64 {
	if q == 1 {
		return s.list[len(s.list)-1].value
	}
	rank := math.Ceil(q * s.n)
	if s.packed && q > 0 {
		rank += math.Ceil(s.slack(rank, targets) / 2)
	}
	r, before := 0.0, s.list[0]
	for i, c := range s.list {
		r += c.width
		switch {
		case !s.packed && r >= rank:
			return c.value
		case s.packed && i > 0 && r+c.delta > rank:
			return before.value
		}
		before = c
	}
	return before.value
}
