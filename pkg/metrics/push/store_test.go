package push_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/push"
)

// at is a moment, in seconds.
func at(second int64) time.Time { return time.Unix(1_000_000+second, 0) }

func gauge(name string, value float64, labels ...string) *push.Sample {
	return &push.Sample{Name: name, Type: dto.MetricType_GAUGE, Labels: labels, Value: value}
}

// text shows families in one line each: name type "help" {labels}=value ...
func text(t *testing.T, s *push.Store, now time.Time) string {
	t.Helper()
	list, err := s.Gather(now)
	if err != nil {
		t.Error(err)
	}
	var lines []string
	for _, f := range list {
		var series []string
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			value := m.GetGauge().GetValue() + m.GetCounter().GetValue() + m.GetUntyped().GetValue()
			series = append(series, fmt.Sprintf("{%s}=%g", strings.Join(labels, ","), value))
		}
		slices.Sort(series) // they come in any order
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s %v %q %s", f.GetName(), f.GetType(), f.GetHelp(), strings.Join(series, " "))))
	}
	return strings.Join(lines, "\n")
}

// set is a value at a time.
type set struct {
	second int64
	sample *push.Sample
	full   bool // there is no room
}

// TestStore: what is shown of values that arrive one after the other.
func TestStore(t *testing.T) {
	t.Parallel()
	helped := gauge("a", 1, "x", "1")
	helped.Help = "First."
	counter := gauge("a", 2, "x", "2")
	counter.Help, counter.Type = "Second.", dto.MetricType_COUNTER
	short := gauge("b", 1)
	short.TTL = 5 * time.Second
	tests := []struct {
		name  string
		limit int
		ttl   time.Duration
		sets  []set
		shown int64 // second
		want  string
	}{
		{name: "nothing", want: ""},
		{name: "the latest value stays", sets: []set{{sample: gauge("a", 1)}, {second: 1, sample: gauge("a", 2)}}, want: `a GAUGE "" {}=2`},
		{name: "also after the clock was set back", sets: []set{{second: 1000, sample: gauge("a", 1)}, {sample: gauge("a", 2)}}, want: `a GAUGE "" {}=2`},
		{
			name: "labels make another series", sets: []set{{sample: gauge("a", 1)}, {sample: gauge("a", 2, "x", "")}, {sample: gauge("ax", 3)}},
			want: "a GAUGE \"\" {x=}=2 {}=1\nax GAUGE \"\" {}=3",
		},
		{name: "of one name, help and type are those of the first", sets: []set{{sample: helped}, {sample: counter}}, want: `a GAUGE "First." {x=1}=1 {x=2}=2`},
		{
			name: "beyond the limit there is no room, and those that are there go on", limit: 2,
			sets: []set{{sample: gauge("a", 1)}, {sample: gauge("b", 1)}, {sample: gauge("c", 1), full: true}, {sample: gauge("a", 2)}},
			want: "a GAUGE \"\" {}=2\nb GAUGE \"\" {}=1",
		},
		{name: "idle series are forgotten", ttl: 10 * time.Second, sets: []set{{sample: gauge("a", 1)}, {second: 5, sample: gauge("b", 1)}}, shown: 11, want: `b GAUGE "" {}=1`},
		{name: "and not before their time", ttl: 10 * time.Second, sets: []set{{sample: gauge("a", 1)}}, shown: 10, want: `a GAUGE "" {}=1`},
		{name: "a sample's own time comes first", ttl: time.Minute, sets: []set{{sample: short}}, shown: 6, want: ""},
		{
			name: "forgotten series make room", limit: 1, ttl: 10 * time.Second, sets: []set{{sample: gauge("a", 1)}, {second: 11, sample: gauge("b", 1)}},
			shown: 11, want: `b GAUGE "" {}=1`,
		},
		{
			name: "a family that was forgotten may be of another type", limit: 1, ttl: 10 * time.Second, sets: []set{{sample: helped}, {second: 11, sample: counter}},
			shown: 11, want: `a COUNTER "Second." {x=2}=2`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := push.NewStore(tt.limit, tt.ttl)
			for i, v := range tt.sets {
				if got := s.Set(v.sample, at(v.second)); got == v.full {
					t.Errorf("value %d: room %v", i, got)
				}
			}
			if diff := cmp.Diff(tt.want, text(t, s, at(tt.shown))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestGatherIsTheSame: what is shown of series with different helps doesn't change
// from one scrape to the next.
func TestGatherIsTheSame(t *testing.T) {
	t.Parallel()
	s := push.NewStore(0, 0)
	for i := range 50 {
		sample := gauge("a", 1, "x", fmt.Sprint(i))
		sample.Help = fmt.Sprint("Help ", i)
		s.Set(sample, at(0))
	}
	for range 20 {
		list, err := s.Gather(at(0))
		if err != nil || len(list) != 1 || list[0].GetHelp() != "Help 0" {
			t.Fatalf("%v, %v", list, err)
		}
	}
}

// TestFull: where there is no room, series whose time is over are looked for once a
// second: to look at all of them for each line would take all of a CPU.
func TestFull(t *testing.T) {
	t.Parallel()
	s := push.NewStore(1, 100*time.Millisecond)
	for _, step := range []struct {
		after time.Duration
		name  string
		want  bool
	}{
		{0, "a", true},
		{0, "b", false},
		{500 * time.Millisecond, "b", false},
		{time.Second, "b", true},
		{1500 * time.Millisecond, "a", false},
		{-time.Hour, "a", false},
		{2 * time.Second, "a", true},
	} {
		if got := s.Set(gauge(step.name, 1), at(0).Add(step.after)); got != step.want {
			t.Errorf("%s after %v: %v, want %v", step.name, step.after, got, step.want)
		}
	}
}
