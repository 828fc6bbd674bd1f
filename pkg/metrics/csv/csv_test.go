package csv_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/csv"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const page = "\uFEFFpool, state,sessions cur,sessions max\nweb,UP,3,10\n\"a, b\",DOWN,0,20\nshort,UP\n"

func TestParse(t *testing.T) {
	t.Parallel()
	gauge := dto.MetricType_GAUGE
	tests := []struct {
		name, page, want, wantErr string
		delimiter                 byte
		extract                   []resource.Extraction
	}{
		{
			name: "columns", page: page,
			extract: []resource.Extraction{
				{Name: "sessions", Path: "sessions *", Type: gauge, Labels: map[string]string{"pool": "pool", "which": "*", "site": `"n"`}},
				{Name: "up", Path: "state", Type: gauge, Labels: map[string]string{"pool": "pool"}, ValueMap: map[string]float64{"UP": 1, "*": 0}},
			},
			want: "# TYPE sessions gauge\nsessions{pool=\"web\",site=\"n\",which=\"cur\"} 3\nsessions{pool=\"web\",site=\"n\",which=\"max\"} 10\n" +
				"sessions{pool=\"a, b\",site=\"n\",which=\"cur\"} 0\nsessions{pool=\"a, b\",site=\"n\",which=\"max\"} 20\n" +
				"# TYPE up gauge\nup{pool=\"web\"} 1\nup{pool=\"a, b\"} 0\nup{pool=\"short\"} 1\n",
			wantErr: `metric sessions: a line ends before the column "sessions cur" (and 1 more)`,
		},
		{
			name: "tabs, and an empty cell", page: "a\tb\tc\nx\t1\t2\ny\t\t3\n\t4\t5\n", delimiter: '\t',
			extract: []resource.Extraction{{Name: "b", Path: "b", Type: gauge, Labels: map[string]string{"a": "a"}}},
			want:    "# TYPE b gauge\nb{a=\"x\"} 1\nb{a=\"\"} 4\n", wantErr: `metric b: "" is not a number`,
		},
		{
			name: "a column that is missing", page: page,
			extract: []resource.Extraction{{Name: "a", Path: "nothing", Type: gauge}}, wantErr: `metric a: the column "nothing" is not found`,
		},
		{
			name: "a quote without end keeps what is before it", page: "a\n1\n\"2\n3\n",
			extract: []resource.Extraction{{Name: "a", Path: "a", Type: gauge}},
			want:    "# TYPE a gauge\na 1\n", wantErr: "reading the table: record on line 3; parse error on line 4, column 3: extraneous or missing \" in quoted-field",
		},
		{name: "nothing", page: "", wantErr: "the table is empty: its first line must name the columns"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p, err := csv.NewParser(tt.delimiter, tt.extract)
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

func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	p, err := csv.NewParser(0, []resource.Extraction{{Name: "a", Path: "a", Type: dto.MetricType_GAUGE}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Parse("a\n"+strings.Repeat("1\n", 1000), 10)
	if len(got) != 1 || len(got[0].Metric) != 10 || err == nil || !strings.Contains(err.Error(), "990 series beyond the limit of 10") {
		t.Errorf("got %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(page)
	f.Add("a,a\n1,2\n\"")
	p, err := csv.NewParser(0, []resource.Extraction{{Name: "a", Path: "a*", Type: dto.MetricType_GAUGE, Labels: map[string]string{"b": "b", "star": "*"}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := p.Parse(text, 100) // an error says what is missing
		tooltest.Text(t, got)
	})
}
