package families_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
)

// TestBuilder: series come in any order, and families are sorted; the first help
// and type stay.
func TestBuilder(t *testing.T) {
	t.Parallel()
	b := &families.Builder{}
	b.Counter("z_total", "Last.", 1, "b", "2", "a", "1")
	b.Gauge("a", "", 2)
	b.Gauge("z_total", "Another.", 3)
	b.Family("empty", "", dto.MetricType_GAUGE)
	b.Family("u", "", dto.MetricType_UNTYPED).Add(4, nil)
	b.Family("s", "", dto.MetricType_SUMMARY).AddSummary(&dto.Summary{SampleCount: new(uint64), SampleSum: new(float64)}, families.Labels("l", "v"))
	list, err := b.Done()
	want := `# TYPE a gauge
a 2
# TYPE s summary
s_sum{l="v"} 0
s_count{l="v"} 0
# TYPE u untyped
u 4
# HELP z_total Last.
# TYPE z_total counter
z_total{a="1",b="2"} 1
z_total 3
`
	if diff := cmp.Diff(want, tooltest.Text(t, list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err == nil || err.Error() != "two types were asked for z_total: the first one stays" {
		t.Errorf("error %v", err)
	}
	if list, err := (&families.Builder{}).Done(); list == nil || len(list) > 0 || err != nil {
		t.Errorf("of nothing: %v, %v", list, err)
	}
}

// TestLimit: what is past it is counted, and of many series each keeps its own
// value and labels.
func TestLimit(t *testing.T) {
	t.Parallel()
	const limit = 1000
	b := &families.Builder{Limit: limit}
	for i := range limit + 5 {
		if room := b.Room(); room != (i < limit) {
			t.Fatalf("room after %d: %v", i, room)
		}
		b.Gauge("g", "", float64(i), "i", fmt.Sprint(i))
	}
	b.Family("s", "", dto.MetricType_SUMMARY).AddSummary(&dto.Summary{}, nil)
	list, err := b.Done()
	var partial *families.PartialError
	if !errors.As(err, &partial) || partial.Dropped != 6 {
		t.Fatalf("error %v", err)
	}
	if len(list) != 1 || len(list[0].GetMetric()) != limit {
		t.Fatalf("%d families", len(list))
	}
	for i, m := range list[0].GetMetric() {
		if m.GetGauge().GetValue() != float64(i) || tooltest.Labels(m)["i"] != fmt.Sprint(i) {
			t.Fatalf("series %d: %v", i, m)
		}
	}
	var l families.Ledger
	if got := l.Note(fmt.Errorf("both: %w", errors.Join(err, errors.New("no loss"), err))); got == nil {
		t.Error("the error is gone")
	}
	if l.Note(nil) != nil {
		t.Error("nothing became an error")
	}
	l.Add("other", 2)
	l.Add("none", 0)
	if diff := cmp.Diff(map[string]uint64{"series_limit": 12, "other": 2}, l.Losses()); diff != "" {
		t.Errorf("losses (-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	tests := []struct{ give, name, snake, metric string }{
		{"", "_", "_", "_"},
		{"app_jobs", "app_jobs", "app_jobs", "app_jobs"},
		{"1st", "_1st", "_1st", "_1st"},
		{"da-ta.b c", "da_ta_b_c", "da_ta_b_c", "da_ta_b_c"},
		{"größe", "gr__e", "gr__e", "gr__e"},
		{"maxThreadsBusy", "maxThreadsBusy", "max_threads_busy", "maxThreadsBusy"},
		{"HTTPRequests", "HTTPRequests", "http_requests", "HTTPRequests"},
		{"already_Snake", "already_Snake", "already_snake", "already_Snake"},
		{"job:rate:5m", "job_rate_5m", "job_rate_5m", "job:rate:5m"},
		{"a:1-b", "a_1_b", "a_1_b", "a:1_b"},
	}
	for _, tt := range tests {
		if got := [3]string{families.Name(tt.give), families.Snake(tt.give), families.MetricName(tt.give)}; got != [3]string{tt.name, tt.snake, tt.metric} {
			t.Errorf("%q: got %q, want %q, %q, %q", tt.give, got, tt.name, tt.snake, tt.metric)
		}
	}
}

// TestUnique: of series with the same labels in a family the first stays; the same
// labels in another family are another series.
func TestUnique(t *testing.T) {
	t.Parallel()
	b := &families.Builder{}
	for _, name := range []string{"a", "b"} {
		b.Gauge(name, "", 1, "l", "v")
		b.Gauge(name, "", 2, "l", "w")
		b.Gauge(name, "", 3)
	}
	b.Gauge("a", "", 4, "l", "v")
	b.Gauge("a", "", 5, "lv", "")
	b.Gauge("b", "", 6)
	list, err := b.Done()
	if err != nil {
		t.Fatal(err)
	}
	if n := families.Unique(list); n != 2 {
		t.Errorf("%d were left out, want 2", n)
	}
	want := "# TYPE a gauge\na{l=\"v\"} 1\na{l=\"w\"} 2\na 3\na{lv=\"\"} 5\n# TYPE b gauge\nb{l=\"v\"} 1\nb{l=\"w\"} 2\nb 3\n"
	if diff := cmp.Diff(want, tooltest.Text(t, list)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
