package prom_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/expose"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/prom"
)

const everything = `# HELP a_total Text with \\ and \n in it.
# TYPE a_total counter
a_total{path="C:\\dir",quote="say \"x\"",line="a\nb"} 1027 1395066363000
a_total 3
# some comment
# TYPE g gauge
g{ a = "b" , c="d", } +Inf
g NaN
# TYPE h histogram
h_bucket{le="0.5",x="1"} 1
h_bucket{le="+Inf",x="1"} 2
h_sum{x="1"} 3.5
h_count{x="1"} 2
# TYPE s summary
s{quantile="0.5"} 4773
s_sum 1.7560473e+07
s_count 2693
untyped -1e-5
`

const open = `# HELP a Text with \" in it.
# TYPE a counter
# UNIT a seconds
a_total{x="1"} 3.0 1700000000.5 # {trace="abc"} 0.5 1700000000
a_created{x="1"} 1.6e+09
# TYPE h histogram
h_bucket{le="1.0"} 1 # {t="1"} 0.4
h_bucket{le="+Inf"} 2
h_count 2
h_sum 3.5
h_created 1.6e+09
# TYPE i info
i_info{version="1"} 1
# TYPE st stateset
st{st="on"} 1
# TYPE u unknown
u 1
# EOF
after the end
`

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, page      string
		open            bool
		limit           int
		want            string // in the text format
		malformed, past int
	}{
		{"everything", everything, false, 100, `# HELP a_total Text with \\ and \n in it.
# TYPE a_total counter
a_total{line="a\nb",path="C:\\dir",quote="say \"x\""} 1027 1395066363000
a_total 3
# TYPE g gauge
g{a="b",c="d"} +Inf
g NaN
# TYPE h histogram
h_bucket{x="1",le="0.5"} 1
h_bucket{x="1",le="+Inf"} 2
h_sum{x="1"} 3.5
h_count{x="1"} 2
# TYPE s summary
s{quantile="0.5"} 4773
s_sum 1.7560473e+07
s_count 2693
# TYPE untyped untyped
untyped -1e-05
`, 0, 0},
		{"OpenMetrics", open, true, 100, `# HELP a_total Text with " in it.
# TYPE a_total counter
a_total{x="1"} 3 1700000000500
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 2
h_sum 3.5
h_count 2
# TYPE i_info gauge
i_info{version="1"} 1
# TYPE st gauge
st{st="on"} 1
# TYPE u untyped
u 1
`, 0, 0},
		{
			"wrong lines cost themselves", "a 1\nb\nc x\nd{ 1\ne{x} 1\nf{x=\"1} 1\ng 1 x\nh 1 2 3\n# TYPE\n{} 1\ni 0x10\nj 1_0\nz 2\n", false, 100,
			"# TYPE a untyped\na 1\n# TYPE z untyped\nz 2\n", 11, 0,
		},
		{"a limit", "a{x=\"1\"} 1\na{x=\"2\"} 1\nb 1\n", false, 2, "# TYPE a untyped\na{x=\"1\"} 1\na{x=\"2\"} 1\n", 0, 1},
		{"names with any characters", "{\"my.metric\",\"a.b\"=\"c\"} 1\n", false, 10, "# TYPE my.metric untyped\nmy.metric{a.b=\"c\"} 1\n", 0, 0},
		{
			"no count", "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_bucket{le=\"1\",x=\"1\"} 3\n", false, 10,
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0\nh_count 2\n" +
				"h_bucket{x=\"1\",le=\"1\"} 3\nh_bucket{x=\"1\",le=\"+Inf\"} 3\nh_sum{x=\"1\"} 0\nh_count{x=\"1\"} 3\n", 0, 0,
		},
		{
			"buckets out of order", "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_bucket{le=\"1\"} 1\nh_count 2\nh_bucket 1\nh 1\nh_bucket{le=\"x\"} 1\n", false, 10,
			"# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 0\nh_count 2\n", 3, 0,
		},
		{"nothing", "", false, 10, "", 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			families, malformed, past := prom.Parse(tt.page, tt.open, tt.limit)
			if diff := cmp.Diff(tt.want, string(expose.AppendText(nil, families))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if malformed != tt.malformed || past != tt.past {
				t.Errorf("%d malformed, %d past the limit", malformed, past)
			}
		})
	}
}

// TestParseWhatALibraryWrites reads the metrics of this process, written by
// Prometheus' own library and by ours.
func TestParseWhatALibraryWrites(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(collectors.WithGoCollectorRuntimeMetrics(collectors.MetricsAll)), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	want, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text, openText bytes.Buffer
	for _, f := range want {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
		if _, err := expfmt.MetricFamilyToOpenMetrics(&openText, f, expfmt.WithCreatedLines()); err != nil {
			t.Fatal(err)
		}
	}
	for _, page := range []struct {
		text string
		open bool
	}{{text.String(), false}, {openText.String(), true}, {string(expose.AppendText(nil, want)), false}, {string(expose.AppendOpenMetrics(nil, want)), true}} {
		got, malformed, _ := prom.Parse(page.text, page.open, 100_000)
		if malformed > 0 {
			t.Errorf("%d malformed lines", malformed)
		}
		// A gauge has the name of this counter without _total: ours writes it as unknown.
		text := strings.Replace(string(expose.AppendText(nil, got)), "go_memstats_alloc_bytes_total untyped", "go_memstats_alloc_bytes_total counter", 1)
		if diff := cmp.Diff(string(expose.AppendText(nil, want)), text); diff != "" {
			t.Errorf("open %v (-want +got):\n%s", page.open, diff)
		}
	}
}

// FuzzParse: what is read, written and read again is the same.
func FuzzParse(f *testing.F) {
	f.Add(everything, false)
	f.Add(open, true)
	f.Fuzz(func(t *testing.T, page string, open bool) {
		families, _, _ := prom.Parse(page, open, 1000)
		for _, mf := range families {
			for _, m := range mf.GetMetric() {
				if strings.ContainsAny(mf.GetName(), "{\" \t\n#\r") || len(m.GetLabel()) > 0 {
					return // the writer takes valid names
				}
			}
		}
		again, malformed, _ := prom.Parse(string(expose.AppendText(nil, families)), false, 1000)
		if malformed > 0 {
			t.Fatalf("%d lines of our own are malformed", malformed)
		}
		if len(again) == len(families) {
			if diff := cmp.Diff(string(expose.AppendText(nil, families)), string(expose.AppendText(nil, again))); diff != "" {
				t.Errorf("(-first +again):\n%s", diff)
			}
		}
	})
}
