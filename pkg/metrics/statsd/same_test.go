package statsd_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/tools/txtar"

	"github.com/dragoman-mesh/dragoman/internal/statsdtest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd/mapping"
)

// open makes a source on a TCP port of its own.
func open(t *testing.T, c statsd.Config) *statsd.Source {
	t.Helper()
	s, err := statsd.Open(c, metrics.Env{Sockets: sockets.NewPool()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func parseMapping(t *testing.T, text string) *mapping.File {
	t.Helper()
	f, errs := mapping.Parse("mapping.yml", []byte(text))
	if err := errs.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// text is what a source shows, in the text format.
func text(t *testing.T, s *statsd.Source) string {
	t.Helper()
	families, err := s.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// compare sends the lines to statsd_exporter and to a source, and compares what
// they show.
func compare(t *testing.T, mappingText, lines string) {
	t.Helper()
	theirs := statsdtest.Start(t, mappingText)
	ours := open(t, statsd.Config{TCP: "127.0.0.1:0", Options: statsd.Options{Mapping: parseMapping(t, mappingText)}})
	want := statsdtest.Exposition(t, theirs.TCP, []byte(lines), theirs.Metrics)
	got := statsdtest.Exposition(t, ours.Leases()[0].Addr().String(), []byte(lines), func() (string, error) { return text(t, ours), nil })
	if want == "" {
		t.Fatal("statsd_exporter shows nothing")
	}
	if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
		t.Errorf("exposition (-statsd_exporter +got):\n%s", diff)
	}
}

// sorted is the lines of an exposition, sorted within each family: series that
// differ in the names of their labels only are in no order with statsd_exporter.
func sorted(text string) []string {
	lines := strings.Split(text, "\n")
	from := 0
	for i, line := range lines {
		if strings.HasPrefix(line, "# HELP ") || i == len(lines)-1 {
			slices.Sort(lines[from:i])
			from = i
		}
	}
	return lines
}

// TestSameAsStatsdExporter: the same lines come to the same exposition, byte for
// byte.
func TestSameAsStatsdExporter(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/same/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, string(ar.Files[0].Data), string(ar.Files[1].Data))
		})
	}
}

// randomMapping has globs that overlap, types, expressions and all options.
const randomMapping = `
mappings:
- {match: "a.*.*", name: "am", labels: {xx: "$1", yy: "$2"}, match_metric_type: counter}
- {match: "a.b.*", name: "ab_${1}", observer_type: histogram, histogram_options: {buckets: [0.1, 1, 10, 100]}}
- {match: "*.c", name: "c", labels: {first: "${1}x", kk: "mapped"}, honor_labels: true}
- {match: "d.*.d", name: "dd", labels: {"kk": "$1"}, scale: 0.5}
- {match: "a.d.c", name: "nothing", action: drop}
- {match: "([a-d])\\.([a-d])\\.([a-d])\\.d", match_type: regex, name: "re_$1", labels: {l2: "$2", l3: "$3"}}
`

// randomLines are like what apps send, and like what they should not.
func randomLines(r *rand.Rand, n int) string {
	pick := func(choices ...string) string { return choices[r.IntN(len(choices))] }
	value := func() string {
		return pick("1", "0", "3.5", "-2", "+4", "100", "0.001", "1e3", "12345.678", fmt.Sprint(r.IntN(1000)), fmt.Sprint(r.Float64()*100), fmt.Sprint(r.NormFloat64()))
	}
	tags := func(separator, assign string) string {
		var out []string
		for range 1 + r.IntN(3) {
			out = append(out, pick("kk", "l", "key.x", "9")+assign+pick("v", "w", "a/b", "é"))
		}
		return strings.Join(out, separator)
	}
	var b strings.Builder
	for range n {
		var fields []string
		for range 1 + r.IntN(4) {
			fields = append(fields, pick("a", "b", "c", "d"))
		}
		name := strings.Join(fields, ".")
		typ := pick("c", "c", "c", "g", "ms", "h", "d")
		if r.IntN(20) > 0 { // most names have one type
			typ = []string{"c", "g", "ms", "h", "c"}[len(name)*7%5]
		}
		end := "|" + typ + pick("", "", "", "|@0.5", "|@0.1", "|@1")
		switch r.IntN(8) {
		case 0:
			name += "," + tags(",", "=")
		case 1:
			name += "#" + tags(",", "=")
		case 2:
			name += "[" + tags(",", "=") + "]"
		case 3:
			end += "|#" + tags(",", ":")
		case 4:
			if typ != "c" && typ != "g" {
				end = ":" + value() + end
			}
		case 5:
			end += ":" + value() + "|" + typ
		}
		line := name + ":" + value() + end
		if r.IntN(50) == 0 { // and some are damaged
			at := 1 + r.IntN(len(line)-1)
			line = line[:at] + pick("|", ":", "@", "", ",", "#") + line[at+1:]
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}

func TestSameAsStatsdExporterOnRandomLines(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			mappingText := randomMapping
			if seed%2 == 1 {
				mappingText = ""
			}
			compare(t, mappingText, randomLines(rand.New(rand.NewPCG(seed, 1)), 3000))
		})
	}
}
