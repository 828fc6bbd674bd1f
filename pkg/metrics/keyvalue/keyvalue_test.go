package keyvalue_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/keyvalue"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const page = `# status
uptime = 12.5
jobs.done: 42
threads 8
state=running
queue_mail=3
queue_print = 0
name="a = b"
broken
queue_mail_size 5
`

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, separator, page, want, wantErr string
		extract                              []resource.Extraction
	}{
		{
			name: "every number is a gauge", page: page,
			want: "# TYPE jobs_done gauge\njobs_done 42\n# TYPE queue_mail gauge\nqueue_mail 3\n# TYPE queue_mail_size gauge\nqueue_mail_size 5\n" +
				"# TYPE queue_print gauge\nqueue_print 0\n# TYPE threads gauge\nthreads 8\n# TYPE uptime gauge\nuptime 12.5\n",
		},
		{
			name: "rules", page: page,
			extract: []resource.Extraction{
				{Name: "app_jobs_total", Path: "jobs.done", Type: dto.MetricType_COUNTER, Help: "Jobs.", Labels: map[string]string{"name": "name", "site": `"north"`}},
				{Name: "app_queue", Path: "queue_*", Type: dto.MetricType_GAUGE, Labels: map[string]string{"queue": "*"}, Scale: 2},
				{Name: "app_up", Path: "state", Type: dto.MetricType_GAUGE, ValueMap: map[string]float64{"running": 1, "*": 0}},
			},
			want: "# HELP app_jobs_total Jobs.\n# TYPE app_jobs_total counter\napp_jobs_total{name=\"a = b\",site=\"north\"} 42\n" +
				"# TYPE app_queue gauge\napp_queue{queue=\"mail\"} 6\napp_queue{queue=\"print\"} 0\napp_queue{queue=\"mail_size\"} 10\n" +
				"# TYPE app_up gauge\napp_up 1\n",
		},
		{
			name: "another separator", page: "a b => 1\nc => x", separator: "=>",
			want: "# TYPE a_b gauge\na_b 1\n",
		},
		{
			name: "a key that is missing and a text", page: page,
			extract: []resource.Extraction{
				{Name: "a", Path: "nothing", Type: dto.MetricType_GAUGE},
				{Name: "b", Path: "state", Type: dto.MetricType_GAUGE},
				{Name: "c", Path: "threads", Type: dto.MetricType_GAUGE},
			},
			want: "# TYPE c gauge\nc 8\n", wantErr: "metric a: the key \"nothing\" is not found\nmetric b: \"running\" is not a number",
		},
		{name: "no text of keys and values", page: "<html>\n</html>\n", wantErr: "the text has no line with a key and a value"},
		{name: "an empty text", page: ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := keyvalue.NewParser(tt.separator, tt.extract)
			if err != nil {
				t.Fatal(err)
			}
			got, err := p.Parse(tt.page, 0)
			if diff := cmp.Diff(tt.want, tooltest.Text(t, got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.wantErr {
				t.Errorf("error %q, want %q", text, tt.wantErr)
			}
		})
	}
}

func TestBadRulesAreRefused(t *testing.T) {
	t.Parallel()
	for _, x := range []resource.Extraction{
		{Name: "no name", Path: "a", Type: dto.MetricType_GAUGE},
		{Name: "a", Path: "a*b*", Type: dto.MetricType_GAUGE},
		{Name: "a", Path: "a", Value: "b", Type: dto.MetricType_GAUGE},
		{Name: "a", Path: "a", Type: dto.MetricType_HISTOGRAM},
		{Name: "a", Path: "a", Type: dto.MetricType_GAUGE, Labels: map[string]string{"0": "x"}},
		{Name: "a", Path: "a", Type: dto.MetricType_GAUGE, Labels: map[string]string{"x": ""}},
		{Name: "a", Path: "a", Type: dto.MetricType_GAUGE, Labels: map[string]string{"__x": `"y"`}},
	} {
		if _, err := keyvalue.NewParser("", []resource.Extraction{x}); err == nil {
			t.Errorf("%+v is taken", x)
		}
	}
}

// FuzzParse: what is read can be shown, and a text that shows the same numbers
// again gives the same.
func FuzzParse(f *testing.F) {
	f.Add(page)
	f.Add("a=1\na:2\n=\n:\n \t1")
	p, err := keyvalue.NewParser("", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := p.Parse(text, 0)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, mf := range first {
			for _, m := range mf.Metric {
				again.WriteString(mf.GetName() + " = " + value(m) + "\n")
				break
			}
		}
		second, err := p.Parse(again.String(), 0)
		if err != nil || len(second) != len(first) {
			t.Errorf("%d families, then %d, %v", len(first), len(second), err)
		}
	})
}

func value(m *dto.Metric) string {
	return strconv.FormatFloat(m.GetGauge().GetValue(), 'g', -1, 64)
}
