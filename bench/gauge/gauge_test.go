package gauge

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
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

// letter is a contender.
type letter string

func (l letter) Name() string { return strings.ToUpper(string(l)) }

func TestRounds(t *testing.T) {
	t.Parallel()
	var order strings.Builder
	measured := 0
	got, err := Rounds(1, 2, []letter{"a", "b", "c"}, func(c letter) (int, error) {
		order.WriteString(string(c))
		measured++
		return measured, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := order.String(); got != "abcbcacab" {
		t.Errorf("the order is %s", got)
	}
	if diff := cmp.Diff(map[string][]int{"A": {6, 8}, "B": {4, 9}, "C": {5, 7}}, got); diff != "" {
		t.Errorf("samples (-want +got):\n%s", diff)
	}
	failure := errors.New("broken")
	_, err = Rounds(0, 1, []letter{"a"}, func(letter) (int, error) { return 0, failure })
	if !errors.Is(err, failure) || !strings.HasPrefix(err.Error(), "A: ") {
		t.Errorf("a failure is told as %v", err)
	}
}

func TestRatio(t *testing.T) {
	t.Parallel()
	// The second round was slow for both; the third has nothing to compare to.
	ours, theirs := []float64{20, 4, 60}, []float64{10, 1}
	same := func(v float64) float64 { return v }
	if got := Ratio(ours, theirs, same); got != 3 {
		t.Errorf("ratio = %v, want 3", got)
	}
	if got := Difference(ours, theirs, same); got != 6.5 {
		t.Errorf("difference = %v, want 6.5", got)
	}
	if got := Ratio(ours, nil, same); !math.IsNaN(got) {
		t.Errorf("ratio to nothing = %v, want NaN", got)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	parse := func(args ...string) (*Options, int, error) {
		o := &Options{}
		flags := o.Flags("test", 7, io.Discard)
		o.ShapeFlags(flags, "GET")
		o.ContenderFlags(flags, []string{"ours", "theirs"})
		requests := flags.Int("requests", 100, "")
		quick := flags.Bool("quick", false, "")
		err := o.Parse(flags, args, quick, map[string]string{"rounds": "2", "requests": "10"})
		return o, *requests, err
	}
	tests := []struct {
		args     []string
		want     Options
		requests int
		shape    string // that is measured
	}{
		{nil, Options{Rounds: 7, Contenders: []string{"ours", "theirs"}}, 100, "SET"},
		{[]string{"-quick"}, Options{Rounds: 2, Contenders: []string{"ours", "theirs"}}, 10, "SET"},
		{
			[]string{"-quick", "-rounds", "5", "-contenders", "theirs", "-proxy-args", "--a b", "-shape", "^GET"},
			Options{Rounds: 5, Contenders: []string{"theirs"}, ProxyArgs: []string{"--a", "b"}},
			10, "GET",
		},
	}
	for _, tt := range tests {
		o, requests, err := parse(tt.args...)
		if err != nil || requests != tt.requests || !o.Shapes.MatchString(tt.shape) {
			t.Errorf("%v: %v, %d requests, shapes %s", tt.args, err, requests, o.Shapes)
		}
		o.Shapes = nil
		if diff := cmp.Diff(tt.want, *o); diff != "" {
			t.Errorf("%v (-want +got):\n%s", tt.args, diff)
		}
	}
	for _, args := range [][]string{{"-contenders", "ours,nobody"}, {"-rounds", "0"}, {"-shape", "("}, {"-nope"}} {
		if _, _, err := parse(args...); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}

func TestInFolder(t *testing.T) {
	t.Parallel()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	failure := errors.New("broken")
	for _, tt := range []struct {
		name  string
		ctx   context.Context
		err   error
		stays bool
	}{
		{"well", t.Context(), nil, false},
		{"a failure", t.Context(), failure, true},
		{"an interrupt", cancelled, failure, false},
	} {
		var dir string
		err := InFolder(tt.ctx, func(d string) error {
			dir = d
			return tt.err
		})
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", tt.name, err)
		}
		_, missing := os.Stat(dir)
		if stays := missing == nil; stays != tt.stays || stays != (err != nil && strings.Contains(err.Error(), dir)) {
			t.Errorf("%s: the folder stays: %v, told as %v", tt.name, stays, err)
		}
		_ = os.RemoveAll(dir)
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
