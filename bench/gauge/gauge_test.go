package gauge

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseProc(t *testing.T) {
	t.Parallel()
	if got, err := parseSchedstat("880918292 1656054 55\n"); err != nil || got != 880918292 {
		t.Errorf("parseSchedstat = %v, %v", got, err)
	}
	stat := "7 (a b) (c)) S 1 7 7 0 -1 4194560 1 2 3 4 250 61 5 6 20 0 1 0 99"
	if got, err := parseStat(stat); err != nil || got != 3110*time.Millisecond {
		t.Errorf("parseStat = %v, %v, want 3.11s", got, err)
	}
	status := "Name:\tx\nVmHWM:\t    4 kB\nVmRSS:\t    2048 kB\n"
	if got, err := parseStatus(status, "VmRSS"); err != nil || got != 2<<20 {
		t.Errorf("parseStatus = %v, %v, want 2 MiB", got, err)
	}
	for name, err := range map[string]error{
		"schedstat": second(parseSchedstat("1 2")), "schedstat number": second(parseSchedstat("x 2 3")),
		"stat": second(parseStat("7 (a) S 1")), "stat number": second(parseStat(strings.Replace(stat, "250", "x", 1))),
		"status": second(parseStatus(status, "VmSize")), "status number": second(parseStatus("VmRSS: x kB", "VmRSS")),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestRotate(t *testing.T) {
	t.Parallel()
	list := []string{"a", "b", "c"}
	var got []string
	for i := range 4 {
		got = append(got, strings.Join(Rotate(list, i), ""))
	}
	if diff := cmp.Diff([]string{"abc", "bca", "cab", "abc"}, got); diff != "" {
		t.Errorf("rotations (-want +got):\n%s", diff)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	tab := Table{Left: 1, Titles: []string{"shape", "µs"}}
	tab.Add("GET", "1.25")
	tab.Add("a longer one", "100")
	var b strings.Builder
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := `| shape        |   µs |
|:-------------|-----:|
| GET          | 1.25 |
| a longer one |  100 |
`
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	tests := []struct {
		v    Verdict
		want string
	}{
		{Verdict{1.2, 1.05, true}, "1.20 (>= 1.05) ok"},
		{Verdict{1.04, 1.05, true}, "1.04 (>= 1.05) no"},
		{Verdict{0.8049, 0.8, false}, "0.80 (<= 0.8) ok"},
		{Verdict{0.81, 0.8, false}, "0.81 (<= 0.8) no"},
		{Verdict{2, 0, false}, "2.00"},
		{Verdict{math.NaN(), 1, true}, "-"},
	}
	for _, tt := range tests {
		if got := tt.v.String(); got != tt.want {
			t.Errorf("%+v shows %q, want %q", tt.v, got, tt.want)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for want, values := range map[float64][]float64{3: {9, 1, 3}, 2: {1, 3}, 5: {5}} {
		if got := Median(values); got != want {
			t.Errorf("Median(%v) = %v, want %v", values, got, want)
		}
	}
	if got := Median(nil); !math.IsNaN(got) {
		t.Errorf("median of nothing = %v, want NaN", got)
	}
}
