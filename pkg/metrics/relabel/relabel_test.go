package relabel_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/relabel"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func parse(t testing.TB, text string) []*dto.MetricFamily {
	t.Helper()
	p := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := p.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	var out []*dto.MetricFamily
	for line := range strings.Lines(text) { // in the order of the text
		if name, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, _, _ = strings.Cut(name, " ")
			out = append(out, byName[name])
		}
	}
	return out
}

const input = `# HELP app_wait_ms Text.
# TYPE app_wait_ms gauge
app_wait_ms{pool="a"} 1500
app_wait_ms{pool="b"} 250
# TYPE app_jobs_total counter
app_jobs_total{state="2"} 7
# TYPE app_time_milliseconds histogram
app_time_milliseconds_bucket{le="100"} 1
app_time_milliseconds_bucket{le="+Inf"} 2
app_time_milliseconds_sum 1100
app_time_milliseconds_count 2
# TYPE other untyped
other 1
`

func TestApply(t *testing.T) {
	t.Parallel()
	gauge, counter := dto.MetricType_GAUGE, dto.MetricType_COUNTER
	ms := &resource.UnitConversion{From: "milliseconds", To: "seconds", Scale: 1e-3}
	rule := func(r resource.MetricsRule) relabel.Config {
		if r.Scale == 0 {
			r.Scale = 1
		}
		return relabel.Config{Rules: []resource.MetricsRule{r}}
	}
	series := func(r resource.Relabeling) relabel.Config {
		r.Separator, r.Action = ";", strings.ToLower(r.Action)
		if r.Regex == "" {
			r.Regex = "(.*)"
		}
		if r.Replacement == "" {
			r.Replacement = "$1"
		}
		return relabel.Config{Relabel: []resource.Relabeling{r}}
	}
	const waits = "# HELP app_wait_ms Text.\n# TYPE app_wait_ms gauge\n"
	tests := []struct {
		name   string
		config relabel.Config
		only   string // prefix of the lines that count, but for comments
		want   string
	}{
		{"nothing", relabel.Config{}, "", input},
		{
			"prefix and labels",
			relabel.Config{Prefix: "x_", Labels: map[string]string{"pool": "z", "cell": "1"}},
			"x_app_wait",
			"x_app_wait_ms{cell=\"1\",pool=\"a\"} 1500\nx_app_wait_ms{cell=\"1\",pool=\"b\"} 250\n",
		},
		{"rename by a group", rule(resource.MetricsRule{Match: "app_(.*)_ms", Name: "shop_${1}"}), "shop", "shop_wait{pool=\"a\"} 1500\nshop_wait{pool=\"b\"} 250\n"},
		{"drop", rule(resource.MetricsRule{Match: "app_.*", Drop: true}), "", "# TYPE other untyped\nother 1\n"},
		{"drop some series", rule(resource.MetricsRule{Match: "app_wait_ms", MatchLabels: map[string]string{"pool": "a|c"}, Drop: true}), "app_wait", "app_wait_ms{pool=\"b\"} 250\n"},
		{"drop a type", rule(resource.MetricsRule{MatchType: &gauge, Drop: true}), "app_wait", ""},
		{"unit of a gauge", rule(resource.MetricsRule{Match: "app_wait_ms", Unit: ms}), "app_wait", "app_wait_seconds{pool=\"a\"} 1.5\napp_wait_seconds{pool=\"b\"} 0.25\n"},
		{
			"unit of a histogram", rule(resource.MetricsRule{Match: "app_time.*", Unit: ms}), "app_time",
			"app_time_seconds_bucket{le=\"0.1\"} 1\napp_time_seconds_bucket{le=\"+Inf\"} 2\napp_time_seconds_sum 1.1\napp_time_seconds_count 2\n",
		},
		{"type and help", rule(resource.MetricsRule{Match: "other", Type: &counter, Help: "New."}), "# HELP other", "# HELP other New.\n"},
		{
			"labels with groups", rule(resource.MetricsRule{Match: "app_(.*)_ms", Labels: map[string]string{"kind": "is $1", "pool": ""}}), "app_wait",
			"app_wait_ms{kind=\"is wait\"} 1500\napp_wait_ms{kind=\"is wait\"} 250\n",
		},
		{"values", rule(resource.MetricsRule{Match: "app_wait_ms", ValueMap: map[float64]float64{250: -1}, Scale: 2}), "app_wait", "app_wait_ms{pool=\"a\"} 3000\napp_wait_ms{pool=\"b\"} -1\n"},
		{
			"the suffix _total stays the last", rule(resource.MetricsRule{Match: "app_jobs_total", Unit: &resource.UnitConversion{From: "hours", To: "seconds", Scale: 3600}}), "app_jobs",
			"app_jobs_seconds_total{state=\"2\"} 25200\n",
		},

		{
			"relabel replace", series(resource.Relabeling{SourceLabels: []string{"__name__", "pool"}, Regex: "app_(.*)_ms;(.)", TargetLabel: "id", Replacement: "$2-$1"}), "app_wait",
			"app_wait_ms{id=\"a-wait\",pool=\"a\"} 1500\napp_wait_ms{id=\"b-wait\",pool=\"b\"} 250\n",
		},
		{"relabel to another name", series(resource.Relabeling{SourceLabels: []string{"pool"}, Regex: "a", TargetLabel: "__name__", Replacement: "of_a"}), "of_a", "of_a{pool=\"a\"} 1500\n"},
		{"relabel with an empty value", series(resource.Relabeling{SourceLabels: []string{"pool"}, Regex: "(x?)a", TargetLabel: "pool"}), "app_wait", "app_wait_ms 1500\napp_wait_ms{pool=\"b\"} 250\n"},
		{"keep", series(resource.Relabeling{Action: "Keep", SourceLabels: []string{"pool"}, Regex: "b"}), "", waits + "app_wait_ms{pool=\"b\"} 250\n"},
		{"drop series", series(resource.Relabeling{Action: "drop", SourceLabels: []string{"__name__"}, Regex: "app.*"}), "", "# TYPE other untyped\nother 1\n"},
		{"labeldrop", series(resource.Relabeling{Action: "labeldrop", Regex: "state"}), "app_jobs", "app_jobs_total 7\n"},
		{"labelkeep", series(resource.Relabeling{Action: "labelkeep", Regex: "pool"}), "app_", "app_wait_ms{pool=\"a\"} 1500\napp_wait_ms{pool=\"b\"} 250\napp_jobs_total 7\n" +
			"app_time_milliseconds_bucket{le=\"100\"} 1\napp_time_milliseconds_bucket{le=\"+Inf\"} 2\napp_time_milliseconds_sum 1100\napp_time_milliseconds_count 2\n"},
		{"labelmap", series(resource.Relabeling{Action: "labelmap", Regex: "st(.*)", Replacement: "new_$1"}), "app_jobs", "app_jobs_total{new_ate=\"2\",state=\"2\"} 7\n"},
		{"uppercase", series(resource.Relabeling{Action: "Uppercase", SourceLabels: []string{"pool"}, TargetLabel: "pool"}), "app_wait", "app_wait_ms{pool=\"A\"} 1500\napp_wait_ms{pool=\"B\"} 250\n"},
		{"dropequal", series(resource.Relabeling{Action: "dropequal", SourceLabels: []string{"pool"}, TargetLabel: "state"}), "app", "app_wait_ms{pool=\"a\"} 1500\napp_wait_ms{pool=\"b\"} 250\napp_jobs_total{state=\"2\"} 7\n"},
		// As Prometheus computes it: md5("a"), its last 8 bytes modulo 1000.
		{"hashmod", series(resource.Relabeling{Action: "hashmod", SourceLabels: []string{"pool"}, TargetLabel: "shard", Modulus: 1000}), "app_wait_ms{pool=\"a\"", "app_wait_ms{pool=\"a\",shard=\"697\"} 1500\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := relabel.New(tt.config)
			if err != nil {
				t.Fatal(err)
			}
			families := parse(t, input)
			var got strings.Builder
			for line := range strings.Lines(string(expose.AppendText(nil, r.Apply(families, time.Now())))) {
				if tt.only == "" || strings.HasPrefix(line, tt.only) {
					got.WriteString(line)
				}
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(input, string(expose.AppendText(nil, families))); diff != "" {
				t.Errorf("the source's families have changed:\n%s", diff)
			}
		})
	}
}

// TestTTL: what does not change is left out after a time, and comes back with
// its next change.
func TestTTL(t *testing.T) {
	t.Parallel()
	r, err := relabel.New(relabel.Config{Rules: []resource.MetricsRule{{Match: "a", Scale: 1, TTL: time.Minute}}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_700_000_000, 0)
	for _, step := range []struct {
		after time.Duration
		value string
		there bool
	}{{0, "1", true}, {59 * time.Second, "1", true}, {time.Second, "1", false}, {time.Hour, "1", false}, {time.Second, "2", true}, {59 * time.Second, "2", true}, {time.Second, "2", false}} {
		now = now.Add(step.after)
		got := r.Apply(parse(t, "# TYPE a gauge\na{b=\"c\"} "+step.value+"\n"), now)
		if there := len(got[0].GetMetric()) == 1; there != step.there {
			t.Errorf("%s at %v: there: %v", step.value, now.Unix(), there)
		}
	}
}
