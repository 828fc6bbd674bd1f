package merge_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/merge"
)

// family is one of a type; series are labels and values as pairs.
func family(name string, t dto.MetricType, series ...*dto.Metric) *dto.MetricFamily {
	return &dto.MetricFamily{Name: &name, Type: &t, Metric: series}
}

func gauges(name string, series ...*dto.Metric) *dto.MetricFamily {
	return family(name, dto.MetricType_GAUGE, series...)
}

// gauge is a series whose labels are name, value, name, value.
func gauge(v float64, labels ...string) *dto.Metric {
	m := &dto.Metric{Gauge: &dto.Gauge{Value: &v}}
	for i := 0; i+1 < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: &labels[i], Value: &labels[i+1]})
	}
	return m
}

func histogram(count uint64, bounds []float64, counts ...uint64) *dto.Metric {
	h := &dto.Histogram{SampleCount: &count, SampleSum: new(float64)}
	for i, b := range bounds {
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &b, CumulativeCount: &counts[i]})
	}
	return &dto.Metric{Histogram: h}
}

// series are the lines of an exposition, without comments.
func series(t *testing.T, families []*dto.MetricFamily) []string {
	t.Helper()
	var out []string
	for line := range strings.Lines(tooltest.Text(t, families)) {
		if !strings.HasPrefix(line, "#") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

func TestClean(t *testing.T) {
	t.Parallel()
	const bad = "\xff\xfe"
	tests := []struct {
		name              string
		limit             int
		give              []*dto.MetricFamily
		want              []string
		dropped, repaired map[string]uint64
	}{
		{name: "valid ones, sorted", limit: 10, give: []*dto.MetricFamily{gauges("b", gauge(2)), gauges("a", gauge(1, "l", "v"))}, want: []string{`a{l="v"} 1`, "b 2"}},
		{name: "empty ones are left out", limit: 10, give: []*dto.MetricFamily{nil, gauges("a"), gauges("b", gauge(1))}, want: []string{"b 1"}},
		{
			name: "names", limit: 10, give: []*dto.MetricFamily{gauges("app.jobs-done", gauge(1)), gauges("1st:x", gauge(2, "da-ta", "v")), gauges("", gauge(3))},
			want: []string{`_1st:x{da_ta="v"} 2`, "app_jobs_done 1"}, repaired: map[string]uint64{merge.BadName: 3}, dropped: map[string]uint64{merge.Broken: 1},
		},
		{
			name: "labels", limit: 10,
			give:     []*dto.MetricFamily{gauges("a", gauge(1, "z", "1", "b", "2"), gauge(2, "l", ""), gauge(3, "l", "x"+bad), gauge(4, "l", "first", "l", "second"), gauge(5, "__name__", "n"))},
			want:     []string{`a{b="2",z="1"} 1`, `a 2`, "a{l=\"x\uFFFD\"} 3", `a{l="first"} 4`, `a{exported_name__="n"} 5`},
			repaired: map[string]uint64{merge.EmptyLabel: 1, merge.InvalidUTF8: 1, merge.LabelTwice: 1, merge.Reserved: 1},
		},
		{
			name: "the same series twice", limit: 10, give: []*dto.MetricFamily{gauges("a", gauge(1, "l", "v"), gauge(2, "l", "v"), gauge(3))},
			want: []string{`a{l="v"} 1`, "a 3"}, dropped: map[string]uint64{merge.Duplicate: 1},
		},
		{
			name: "the same family twice, and with another type", limit: 10,
			give: []*dto.MetricFamily{gauges("a", gauge(1, "l", "1")), gauges("a", gauge(2, "l", "2")), family("a", dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: proto.Float64(3)}})},
			want: []string{`a{l="1"} 1`, `a{l="2"} 2`}, dropped: map[string]uint64{merge.TypeConflict: 1},
		},
		{
			name: "values of another type", limit: 10, give: []*dto.MetricFamily{family("a", dto.MetricType_COUNTER, gauge(1)), gauges("b", gauge(1))},
			want: []string{"b 1"}, dropped: map[string]uint64{merge.Broken: 1},
		},
		{
			name: "more than there is room for", limit: 3, give: []*dto.MetricFamily{gauges("a", gauge(1), gauge(2, "l", "1")), gauges("b", gauge(3), gauge(4, "l", "1"), gauge(5, "l", "2"))},
			want: []string{"a 1", `a{l="1"} 2`, "b 3"}, dropped: map[string]uint64{merge.SeriesLimit: 2},
		},
		{
			name: "buckets count, and must rise", limit: 5,
			give: []*dto.MetricFamily{
				family("falls", dto.MetricType_HISTOGRAM, histogram(3, []float64{1, 2}, 3, 1)),
				family("fits", dto.MetricType_HISTOGRAM, histogram(3, []float64{1, 2}, 1, 3)),
				family("more", dto.MetricType_HISTOGRAM, histogram(2, []float64{1}, 3)),
				gauges("z", gauge(1)),
			},
			want:    []string{`fits_bucket{le="1"} 1`, `fits_bucket{le="2"} 3`, `fits_bucket{le="+Inf"} 3`, "fits_sum 0", "fits_count 3"},
			dropped: map[string]uint64{merge.Broken: 2, merge.SeriesLimit: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var dropped, repaired merge.Counts
			before := make([]string, len(tt.give))
			for i, f := range tt.give {
				before[i] = f.String()
			}
			got, n := merge.NewCleaner(tt.limit, &dropped, &repaired).Clean(tt.give)
			if diff := cmp.Diff(tt.want, series(t, got)); diff != "" {
				t.Errorf("series (-want +got):\n%s", diff)
			}
			if n != len(tt.want) {
				t.Errorf("%d series are counted, want %d", n, len(tt.want))
			}
			counts(t, "dropped", tt.dropped, &dropped)
			counts(t, "repaired", tt.repaired, &repaired)
			for i, f := range tt.give {
				if f.String() != before[i] {
					t.Errorf("what was given has changed: %s, then %s", before[i], f)
				}
			}
		})
	}
}

func counts(t *testing.T, what string, want map[string]uint64, got *merge.Counts) {
	t.Helper()
	if want == nil {
		want = map[string]uint64{}
	}
	if diff := cmp.Diff(want, got.ByReason()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// source is a part, and what was counted of it.
func source(name string, families ...*dto.MetricFamily) merge.Part {
	return merge.Part{Source: name, Families: families, Dropped: &merge.Counts{}, Repaired: &merge.Counts{}}
}

func TestMerge(t *testing.T) {
	t.Parallel()
	requests := func(labels ...string) *dto.MetricFamily { return gauges("requests", gauge(1, labels...)) }
	counter := family("requests", dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: proto.Float64(3)}})
	tests := []struct {
		name     string
		parts    []merge.Part
		want     []string
		dropped  map[string]uint64 // of the last
		repaired map[string]uint64
	}{
		{name: "none", want: nil},
		{name: "families of both, sorted", parts: []merge.Part{source("one", gauges("b", gauge(1))), source("two", gauges("a", gauge(2)), gauges("c", gauge(3)))}, want: []string{"a 2", "b 1", "c 3"}},
		{name: "other series of a family", parts: []merge.Part{source("one", requests("l", "1")), source("two", requests("l", "2"))}, want: []string{`requests{l="1"} 1`, `requests{l="2"} 1`}},
		{
			name: "the same series", parts: []merge.Part{source("one", requests("l", "1")), source("two", requests("l", "1"))},
			want: []string{`requests{l="1"} 1`, `requests{adapter_source="two",l="1"} 1`}, repaired: map[string]uint64{merge.SourceLabel: 1},
		},
		{
			name: "another type: the first one's stays", parts: []merge.Part{source("one", requests()), source("two", counter)},
			want: []string{"requests 1"}, dropped: map[string]uint64{merge.TypeConflict: 1},
		},
		{
			name: "what looks like a histogram's count", parts: []merge.Part{source("one", family("wait", dto.MetricType_HISTOGRAM, histogram(1, []float64{1}, 1))), source("two", gauges("wait_count", gauge(7)))},
			want: []string{`wait_bucket{le="1"} 1`, `wait_bucket{le="+Inf"} 1`, "wait_sum 0", "wait_count 1"}, dropped: map[string]uint64{merge.Collision: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := merge.NewMerger().Merge(tt.parts)
			if diff := cmp.Diff(tt.want, series(t, got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if n := len(tt.parts); n > 0 {
				counts(t, "dropped", tt.dropped, tt.parts[n-1].Dropped)
				counts(t, "repaired", tt.repaired, tt.parts[n-1].Repaired)
			}
		})
	}
}

// TestLabelStays: a source whose series had to get a label keeps it while the
// other one is away, or its series would come and go.
func TestLabelStays(t *testing.T) {
	t.Parallel()
	m := merge.NewMerger()
	one, two := source("one", gauges("up", gauge(1))), source("two", gauges("up", gauge(2)))
	if got := series(t, m.Merge([]merge.Part{two})); !slices.Equal(got, []string{"up 2"}) {
		t.Errorf("alone: %q", got)
	}
	both := []string{"up 1", `up{adapter_source="two"} 2`}
	if got := series(t, m.Merge([]merge.Part{one, two})); !slices.Equal(got, both) {
		t.Errorf("beside the other: %q", got)
	}
	if got := series(t, m.Merge([]merge.Part{source("one"), two})); !slices.Equal(got, both[1:]) {
		t.Errorf("alone again: %q", got)
	}
	if got := slices.Sorted(maps.Keys(two.Repaired.ByReason())); !slices.Equal(got, []string{merge.SourceLabel}) {
		t.Errorf("repairs: %q", got)
	}
}

// TestExemplars: one that OpenMetrics does not allow is left out, and nothing else.
func TestExemplars(t *testing.T) {
	t.Parallel()
	exemplar := func(labels ...string) *dto.Exemplar {
		return &dto.Exemplar{Label: gauge(0, labels...).Label, Value: proto.Float64(1)}
	}
	late := exemplar("trace_id", "abc")
	late.Timestamp = &timestamppb.Timestamp{Seconds: math.MaxInt64}
	tests := []struct {
		name string
		give *dto.Exemplar
		good bool
	}{
		{"none", nil, true},
		{"good", exemplar("trace_id", "abc", "span_id", "\u00e9"), true},
		{"no labels", exemplar(), true},
		{"a name with a dot", exemplar("trace.id", "abc"), false},
		{"a name with a line feed", exemplar("a\nb", "abc"), false},
		{"no name", exemplar("", "abc"), false},
		{"a name twice", exemplar("a", "1", "a", "2"), false},
		{"invalid UTF-8", exemplar("a", "\xff"), false},
		{"128 characters", exemplar("a", strings.Repeat("\u00e9", 127)), true},
		{"129 characters", exemplar("a", strings.Repeat("\u00e9", 128)), false},
		{"a time that is none", late, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := histogram(2, []float64{1, 2}, 1, 2)
			h.Histogram.Bucket[0].Exemplar, h.Histogram.Bucket[1].Exemplar = tt.give, exemplar("trace_id", "of another")
			h.Histogram.Exemplars = []*dto.Exemplar{exemplar("trace_id", "of another")}
			if tt.give != nil {
				h.Histogram.Exemplars = append(h.Histogram.Exemplars, tt.give)
			}
			give := []*dto.MetricFamily{
				family("c_total", dto.MetricType_COUNTER, &dto.Metric{Counter: &dto.Counter{Value: proto.Float64(1), Exemplar: tt.give}}),
				family("h", dto.MetricType_HISTOGRAM, h),
			}
			want := []*dto.MetricFamily{proto.CloneOf(give[0]), proto.CloneOf(give[1])}
			before := []*dto.MetricFamily{proto.CloneOf(give[0]), proto.CloneOf(give[1])}
			repairs := map[string]uint64{}
			if !tt.good {
				want[0].Metric[0].Counter.Exemplar = nil
				want[1].Metric[0].Histogram.Bucket[0].Exemplar = nil
				want[1].Metric[0].Histogram.Exemplars = want[1].Metric[0].Histogram.Exemplars[:1]
				repairs[merge.BadExemplar] = 2
			}
			var dropped, repaired merge.Counts
			got, _ := merge.NewCleaner(10, &dropped, &repaired).Clean(give)
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, give, protocmp.Transform()); diff != "" {
				t.Errorf("what was given has changed (-before +after):\n%s", diff)
			}
			counts(t, "repaired", repairs, &repaired)
		})
	}
}
