package statsd

import (
	"cmp"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// Kind is what a family's series are.
type Kind uint8

const (
	counterKind Kind = iota
	gaugeKind
	histogramKind
	summaryKind
	setKind
	kinds
)

// String is its name.
func (k Kind) String() string {
	switch k {
	case counterKind:
		return "counter"
	case gaugeKind:
		return "gauge"
	case histogramKind:
		return "histogram"
	case summaryKind:
		return "summary"
	default:
		return "set"
	}
}

func (k Kind) observed() bool { return k == histogramKind || k == summaryKind }

// event is the name under which statsd_exporter counts samples of the kind.
func (k Kind) event() Event {
	switch k {
	case counterKind:
		return counterEvent
	case gaugeKind:
		return gaugeEvent
	case setKind:
		return setEvent
	default:
		return observerEvent
	}
}

func (k Kind) exposed() dto.MetricType {
	switch k {
	case counterKind:
		return dto.MetricType_COUNTER
	case histogramKind:
		return dto.MetricType_HISTOGRAM
	case summaryKind:
		return dto.MetricType_SUMMARY
	default:
		return dto.MetricType_GAUGE
	}
}

// family is the series of a name. All of them are of one kind.
type family struct {
	name   string
	kind   Kind
	series map[string]*series // by labels as appendLabels spells them

	help  string
	added []*series // since arrange
	died  bool      // some of order did, or of added

	// Of the goroutine that gathers.
	shown *dto.MetricFamily // nil until then
	order []*series         // as shown
}

// series is one set of labels, and the value.
type series struct {
	family *family
	key    string // in family.series
	// origin is the line that made it, without its value, as in entry.
	origin     string
	originHead int

	labels []*dto.LabelPair // by name
	seen   int64            // by clock; of the batch that held its last sample
	ttl    int64            // ns; 0: forever
	dead   bool             // expired, or mapped to nothing: entries must not use it any more

	whole uint64  // of a counter: the sum of what was added in whole numbers
	value float64 // of a gauge; of a counter: the sum of the rest
	hist  *histogram
	sum   *summary
	set   *set

	created time.Time
	metric  *dto.Metric // nil until it is shown
	shown   *float64    // where a counter's or gauge's value is shown
}

// total is the value of a counter. Whole numbers are kept apart, as client_golang
// does, so that they stay exact.
func (s *series) total() float64 { return s.value + float64(s.whole) }

func (s *series) add(v float64) {
	if n := uint64(v); float64(n) == v {
		s.whole += n
		return
	}
	s.value += v
}

// write brings what is shown up to date.
func (s *series) write(now int64) {
	if s.metric == nil {
		s.makeMetric()
	}
	switch s.family.kind {
	case counterKind:
		*s.shown = s.total()
	case gaugeKind:
		*s.shown = s.value
	case setKind:
		*s.shown = s.set.count(now)
	case histogramKind:
		s.hist.write()
	case summaryKind:
		s.sum.write(now)
	}
}

func (s *series) makeMetric() {
	s.metric = &dto.Metric{Label: s.labels}
	created := timestamppb.New(s.created)
	switch s.family.kind {
	case counterKind:
		s.shown = new(float64)
		s.metric.Counter = &dto.Counter{Value: s.shown, CreatedTimestamp: created}
	case gaugeKind, setKind:
		s.shown = new(float64)
		s.metric.Gauge = &dto.Gauge{Value: s.shown}
	case histogramKind:
		s.hist.shown = &dto.Histogram{CreatedTimestamp: created}
		s.metric.Histogram = s.hist.shown
	case summaryKind:
		s.sum.shown, s.sum.asked = &dto.Summary{CreatedTimestamp: created}, false
		s.metric.Summary = s.sum.shown
	}
}

// byLabels is the order in which Prometheus' client library shows series: by how
// many labels they have, then by their values.
func byLabels(a, b *series) int {
	if c := cmp.Compare(len(a.labels), len(b.labels)); c != 0 {
		return c
	}
	for i, l := range a.labels {
		if c := strings.Compare(*l.Value, *b.labels[i].Value); c != 0 {
			return c
		}
	}
	return cmp.Compare(a.key, b.key)
}

// arrange makes order what there is: it puts what was added into its place and
// takes out what died.
func (f *family) arrange() {
	if f.died {
		f.order = slices.DeleteFunc(f.order, func(s *series) bool { return s.dead })
		f.died = false
	}
	f.added = slices.DeleteFunc(f.added, func(s *series) bool { return s.dead })
	if len(f.added) == 0 {
		return
	}
	slices.SortFunc(f.added, byLabels)
	old := f.order
	f.order = make([]*series, 0, len(old)+len(f.added))
	for len(old) > 0 && len(f.added) > 0 {
		from := &old
		if byLabels(f.added[0], old[0]) < 0 {
			from = &f.added
		}
		f.order = append(f.order, (*from)[0])
		*from = (*from)[1:]
	}
	f.order = append(append(f.order, old...), f.added...)
	f.added = nil
}

// newSeries makes the state of a series for the first sample of it.
func newSeries(f *family, rule *mapping.Rule, w *window, o *Options, now int64) *series {
	s := &series{family: f, created: wall(now)}
	switch f.kind {
	case histogramKind:
		s.hist = newHistogram(&rule.Histogram)
	case summaryKind:
		s.sum = newSummary(w, now)
	case setKind:
		step := int64(o.SetWindow) / 2
		if rule.Summary.MaxAge > 0 {
			step = int64(rule.Summary.MaxAge) / 2
		}
		s.set = newSet(max(step, 1), now)
	}
	return s
}
