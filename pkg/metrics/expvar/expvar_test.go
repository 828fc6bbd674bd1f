package expvar_test

import (
	"expvar"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"

	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	ours "github.com/dragoman-mesh/dragoman/pkg/metrics/expvar"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestVariables: keys of maps are labels, texts and lists are no metrics.
func TestVariables(t *testing.T) {
	t.Parallel()
	got, err := ours.Parse(`{"cmdline": ["app", "-password=x"], "requests": 12, "hit.ratio": 0.5, "ready": true, "version": "1.2",
		"by path": {"/a": 1, "/b": 2, "note": "text"}, "nested": {"x": {"y": {"z": 3}}, "w": 4}, "null": null, "list": [1]}`, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := `by_path{key="/a"} 1
by_path{key="/b"} 2
hit_ratio 0.5
nested{key="x",key_2="y",key_3="z"} 3
nested{key="w"} 4
ready 1
requests 12
`
	if diff := cmp.Diff(want, series(tooltest.Text(t, got))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func series(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// TestMemstatsAreNamedAsInTheGoClient reads the page of this very process, and
// what client_golang says of it.
func TestMemstatsAreNamedAsInTheGoClient(t *testing.T) {
	t.Parallel()
	runtime.GC() // so that there is a pause to tell of
	app := httptest.NewServer(expvar.Handler())
	t.Cleanup(app.Close)
	s, err := ours.New(&resource.ExpvarSource{MetricsFetch: resource.MetricsFetch{URI: app.URL, Timeout: time.Minute}}, metrics.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Gather(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector())
	want, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	// Not in runtime.MemStats: these ask the runtime itself.
	elsewhere := map[string]bool{"go_gc_gogc_percent": true, "go_gc_gomemlimit_bytes": true, "go_goroutines": true, "go_info": true, "go_sched_gomaxprocs_threads": true, "go_threads": true}
	heads := func(list []*dto.MetricFamily) map[string]string {
		out := make(map[string]string)
		for _, mf := range list {
			if !elsewhere[mf.GetName()] {
				out[mf.GetName()] = mf.GetType().String()
			}
		}
		return out
	}
	if diff := cmp.Diff(heads(want), heads(got)); diff != "" {
		t.Errorf("families (-client_golang +ours):\n%s", diff)
	}
}

func TestNoPageOfExpvarIsAnError(t *testing.T) {
	t.Parallel()
	for _, page := range []string{"", "[1]", "<html>", `{"a":`, strings.Repeat(`{"a":`, 1000)} {
		if got, err := ours.Parse(page, 0); err == nil || got != nil {
			t.Errorf("%.20q gives %v, %v", page, got, err)
		}
	}
	app := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(app.Close)
	s, err := ours.New(&resource.ExpvarSource{MetricsFetch: resource.MetricsFetch{URI: app.URL, Timeout: time.Minute}}, metrics.Env{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got, err := s.Gather(t.Context()); got != nil || err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a page that is not there gives %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"a": {"b": 1e400}, "memstats": {"NumGC": 5, "PauseTotalNs": 1, "PauseNs": [1, "x"]}}`)
	f.Add(`{"memstats": {"NumGC": -5, "PauseTotalNs": 1, "PauseNs": []}}`)
	f.Fuzz(func(t *testing.T, page string) {
		got, err := ours.Parse(page, 10)
		if err == nil {
			tooltest.Text(t, got)
		}
	})
}
