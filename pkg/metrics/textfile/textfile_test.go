package textfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/textfile"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func gather(t *testing.T, dir string, env metrics.Env) (text string, err error) {
	t.Helper()
	s, err := textfile.New(&resource.TextfileSource{Path: dir}, env)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	families, err := s.Gather(t.Context())
	return strings.ReplaceAll(tooltest.Text(t, families), dir, "DIR"), err
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	when := time.Unix(1700000000, 0)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFilesAreMerged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"a.prom":   "# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{job=\"a\"} 1\r\n",
		"b.prom":   "# HELP jobs_total Other words.\n# TYPE jobs_total counter\njobs_total{job=\"b\"} 2\nplain 3\n",
		"skip.txt": "not this one",
	})
	got, err := gather(t, dir, metrics.Env{})
	if err != nil {
		t.Error(err)
	}
	want := `# HELP jobs_total Jobs.
# TYPE jobs_total counter
jobs_total{job="a"} 1
jobs_total{job="b"} 2
# HELP node_textfile_mtime_seconds Unixtime mtime of textfiles successfully read.
# TYPE node_textfile_mtime_seconds gauge
node_textfile_mtime_seconds{file="DIR/a.prom"} 1.7e+09
node_textfile_mtime_seconds{file="DIR/b.prom"} 1.7e+09
# HELP node_textfile_scrape_error 1 if there was an error opening or reading a file, 0 otherwise
# TYPE node_textfile_scrape_error gauge
node_textfile_scrape_error 0
# HELP plain Metric read from DIR/b.prom
# TYPE plain untyped
plain 3
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestABadFileIsLeftOut: the others are served, and the error names it.
func TestABadFileIsLeftOut(t *testing.T) {
	t.Parallel()
	good := "# HELP good g\n# TYPE good gauge\ngood 1\n"
	tests := map[string]string{
		"no metrics":         "<html>\n",
		"timestamps":         "bad 1 1700000000000\n",
		"another type":       "# TYPE good counter\ngood 2\n",
		"half a line":        "good2 1\nbad{x=\"",
		"a family doubled":   "# TYPE x gauge\nx 1\n# TYPE x gauge\nx 2\n",
		"too long":           strings.Repeat("# comment\n", 1000),
		"too many series":    series(20),
		"no number":          "bad x\n",
		"invalid label name": "bad{0=\"x\"} 1\n",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, map[string]string{"good.prom": good, "late.prom": text})
			got, err := gather(t, dir, metrics.Env{MaxBytes: 2000, MaxSeries: 10})
			if err == nil || !strings.Contains(err.Error(), "late.prom") {
				t.Errorf("error %v, want one that names the file", err)
			}
			want := good + "# HELP node_textfile_mtime_seconds Unixtime mtime of textfiles successfully read.\n# TYPE node_textfile_mtime_seconds gauge\n" +
				"node_textfile_mtime_seconds{file=\"DIR/good.prom\"} 1.7e+09\n# HELP node_textfile_scrape_error 1 if there was an error opening or reading a file, 0 otherwise\n" +
				"# TYPE node_textfile_scrape_error gauge\nnode_textfile_scrape_error 1\n"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func series(n int) string {
	var out strings.Builder
	for i := range n {
		fmt.Fprintf(&out, "many{i=\"%d\"} 1\n", i)
	}
	return out.String()
}

// TestAFolderThatIsNotThere is told, and may come later.
func TestAFolderThatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	got, err := gather(t, dir, metrics.Env{})
	if err == nil || !strings.Contains(got, "node_textfile_scrape_error 1\n") {
		t.Errorf("got %s, %v", got, err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if got, err = gather(t, dir, metrics.Env{}); err != nil || !strings.Contains(got, "node_textfile_scrape_error 0\n") {
		t.Errorf("got %s, %v", got, err)
	}
}

// FuzzParse: what is read is read again from what it is shown as.
func FuzzParse(f *testing.F) {
	f.Add("# HELP a b\n# TYPE a histogram\na_bucket{le=\"1\"} 1\na_bucket{le=\"+Inf\"} 2\na_sum 3\na_count 2\n")
	f.Add("a{b=\"\\n\\\"\"} NaN\n")
	f.Fuzz(func(t *testing.T, text string) {
		first, err := textfile.Parse([]byte(text))
		if err != nil {
			return
		}
		for _, mf := range first {
			if len(mf.Metric) == 0 { // nothing to show
				return
			}
		}
		shown := tooltest.Text(t, first)
		second, err := textfile.Parse([]byte(shown))
		if err != nil {
			t.Fatalf("%v: %s", err, shown)
		}
		if diff := cmp.Diff(shown, tooltest.Text(t, second)); diff != "" {
			t.Errorf("(-first +second):\n%s", diff)
		}
	})
}
