package metrics_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// answering is an exporter that answers in some way.
func answering(t *testing.T, answer http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return server.URL + "/metrics"
}

func text(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page) }
}

const good = "# TYPE good gauge\ngood{a=\"b\"} 1\n"

// TestFaults has a source that is right beside one that is not: the right one is
// served, and of the other what can be, and the loss is told.
func TestFaults(t *testing.T) {
	t.Parallel()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	tests := []struct {
		name   string
		answer http.HandlerFunc // nil: nobody listens
		want   string           // lines of bad... and of what is said of the source
	}{
		{"down", nil, "adapter_source_series{source=\"bad\"} 0\nadapter_source_up{source=\"bad\"} 0\n"},
		{
			"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			"adapter_source_series{source=\"bad\"} 0\nadapter_source_up{source=\"bad\"} 0\n",
		},
		{
			"garbage", text("\x00\xff<html>\nwhat is this\n{{{{\n"),
			"adapter_source_dropped_total{reason=\"malformed\",source=\"bad\"} 3\nadapter_source_series{source=\"bad\"} 0\nadapter_source_up{source=\"bad\"} 0\n",
		},
		{
			"garbage among the rest", text("bad 1\nwhat is this\nbad2 2\n"),
			"adapter_source_dropped_total{reason=\"malformed\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 2\nadapter_source_up{source=\"bad\"} 1\nbad 1\nbad2 2\n",
		},
		{"100 MB", hundredMB, "adapter_source_series{source=\"bad\"} 0\nadapter_source_up{source=\"bad\"} 0\n"},
		{"100 MB that are announced", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100000000")
			hundredMB(w, r)
		}, "adapter_source_series{source=\"bad\"} 0\nadapter_source_up{source=\"bad\"} 0\n"},
		{
			"duplicates", text("bad{x=\"1\",y=\"2\"} 1\nbad{y=\"2\",x=\"1\"} 2\nbad{x=\"1\"} 3\n"),
			"adapter_source_dropped_total{reason=\"duplicate\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 2\nadapter_source_up{source=\"bad\"} 1\nbad{x=\"1\",y=\"2\"} 1\nbad{x=\"1\"} 3\n",
		},
		{
			"invalid UTF-8", text("bad{x=\"\xff\"} 1\n"),
			"adapter_source_repaired_total{reason=\"invalid_utf8\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 1\nbad{x=\"\uFFFD\"} 1\n",
		},
		{
			"names that are none", text("{\"bad.name\",\"l.1\"=\"x\",\"l_1\"=\"y\"} 1\n"),
			"adapter_source_repaired_total{reason=\"label_twice\",source=\"bad\"} 1\nadapter_source_repaired_total{reason=\"name\",source=\"bad\"} 2\n" +
				"adapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 1\nbad_name{l_1=\"x\"} 1\n",
		},
		{
			"two types at once", text("# TYPE bad counter\nbad 1\n# TYPE bad gauge\nbad 2\n"),
			"adapter_source_dropped_total{reason=\"type_conflict\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 1\nbad 1\n",
		},
		{
			"a broken histogram", text("# TYPE bad histogram\nbad_bucket{le=\"1\"} 5\nbad_bucket{le=\"2\"} 3\nbad_count 5\n# TYPE bad2 gauge\nbad2 1\n"),
			"adapter_source_dropped_total{reason=\"broken\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 1\nbad2 1\n",
		},
		{
			"a family in the way of another", text("# TYPE bad histogram\nbad_bucket{le=\"+Inf\"} 1\nbad_count 1\n# TYPE bad_sum gauge\nbad_sum 1\n"),
			"adapter_source_dropped_total{reason=\"collision\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 4\nadapter_source_up{source=\"bad\"} 1\n" +
				"bad_bucket{le=\"+Inf\"} 1\nbad_sum 0\nbad_count 1\n",
		},
		{"another's series", text(good), "adapter_source_repaired_total{reason=\"source_label\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 1\n" +
			"good{a=\"b\",adapter_source=\"bad\"} 1\n"},
		{
			"another's family with another type", text("# TYPE good counter\ngood 1\n"),
			"adapter_source_dropped_total{reason=\"type_conflict\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 1\n",
		},
		{
			"protobuf that claims to be longer than it is", protobuf("\x80\x80\x80\x80\x80\x80\x01"),
			"adapter_source_dropped_total{reason=\"malformed\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 0\nbad 1\n",
		},
		{
			"protobuf with a name that is none", protobuf(delimited("b d") + delimited("bad2")),
			"adapter_source_repaired_total{reason=\"name\",source=\"bad\"} 1\nadapter_source_series{source=\"bad\"} 3\nadapter_source_up{source=\"bad\"} 1\nbad 1\nbad2 1\n",
		},
		{
			"OpenMetrics that is cut off", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
				fmt.Fprint(w, "# TYPE bad gauge\nbad 1\n# TYPE bad2 gauge\n")
			},
			"adapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 0\nbad 1\n",
		},
		{"a family of ours", text("adapter_source_up 1\n"), "adapter_source_series{source=\"bad\"} 1\nadapter_source_up{source=\"bad\"} 0\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			uri := closed.URL
			if tt.answer != nil {
				uri = answering(t, tt.answer)
			}
			a := serve(t, config(exporter("good", answering(t, text(good))), exporter("bad", uri)))
			page := a.scrape("20")
			if !strings.Contains(page, "good{a=\"b\"} 1\n") || !strings.Contains(page, "adapter_source_up{source=\"good\"} 1\n") {
				t.Errorf("the source that is right is not served:\n%s", page)
			}
			var got strings.Builder
			for line := range strings.Lines(of(page) + lines(page, "bad", "good{a=\"b\",adapter_source")) {
				if !strings.Contains(line, "source=\"good\"") {
					got.WriteString(line)
				}
			}
			if tt.name == "a family of ours" {
				tt.want = strings.Replace(tt.want, "} 0", "} 1", 1) // what it says of itself nobody believes
			}
			if diff := cmp.Diff(tt.want, got.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// delimited is a family with the value 1, as protobuf has it in a stream.
func delimited(name string) string {
	typ, v := dto.MetricType_GAUGE, 1.0
	var out bytes.Buffer
	f := &dto.MetricFamily{Name: &name, Type: &typ, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &v}}}}
	if _, err := protodelim.MarshalTo(&out, f); err != nil {
		panic(err)
	}
	return out.String()
}

// protobuf answers with a good family and what comes after it.
func protobuf(rest string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited")
		fmt.Fprint(w, delimited("bad")+rest)
	}
}

func hundredMB(w http.ResponseWriter, _ *http.Request) {
	out := bufio.NewWriter(w)
	defer out.Flush()
	for i := range 2_500_000 {
		if _, err := fmt.Fprintf(out, "bad{series=\"%020d\"} 1234567\n", i); err != nil {
			return
		}
	}
}

// TestSlow: a source that takes too long costs the scrape no more than the time
// that it has, and is not asked again before it is done.
func TestSlow(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	free := make(chan struct{})
	uri := answering(t, func(_ http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		select {
		case <-free:
		case <-r.Context().Done():
		}
	})
	defer close(free)
	slow := exporter("slow", uri)
	a := serve(t, config(exporter("good", answering(t, text(good))), slow))
	page := a.scrape("1") // the client waits much longer
	want := "adapter_source_up{source=\"good\"} 1\nadapter_source_up{source=\"slow\"} 0\ngood{a=\"b\"} 1\n"
	if diff := cmp.Diff(want, lines(page, "adapter_source_up", "good")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

// TestManySeries: a million of them cost no more than the limit, and are counted.
func TestManySeries(t *testing.T) {
	t.Parallel()
	uri := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		out := bufio.NewWriter(w)
		defer out.Flush()
		for i := range 1_000_000 {
			fmt.Fprintf(out, "m{i=\"%d\"} 1\n", i)
		}
	})
	many := resource.MetricsFetch{URI: uri, Timeout: time.Minute}
	cfg := config(exporter("good", answering(t, text(good))), resource.MetricsSource{Name: "many", Kind: &resource.PrometheusSource{MetricsFetch: many}})
	cfg.SeriesPerSource, cfg.BytesPerSource = 1000, 64<<20
	a := serve(t, cfg)
	page := a.scrape("120")
	want := "adapter_source_dropped_total{reason=\"series_limit\",source=\"many\"} 999000\nadapter_source_series{source=\"good\"} 1\nadapter_source_series{source=\"many\"} 1000\n" +
		"adapter_source_up{source=\"good\"} 1\nadapter_source_up{source=\"many\"} 1\n"
	if diff := cmp.Diff(want, of(page)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 600<<20 { // this process has other tests as well
		t.Errorf("%d MB are kept", m.HeapAlloc>>20)
	}
}

// TestOneFetchForAll: scrapers that ask at the same time share what the source
// gave, and so do those that come soon after.
func TestOneFetchForAll(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	uri := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, good)
	})
	cfg := config(exporter("good", uri))
	cfg.MinInterval = time.Hour
	a := serve(t, cfg)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if page := a.scrape(""); !strings.Contains(page, "good{a=\"b\"} 1\n") {
				t.Errorf("got\n%s", page)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// TestTypeThatChanges: a family is what the source says now.
func TestTypeThatChanges(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	uri := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE m %s\nm 1\n", []string{"counter", "gauge", "untyped"}[(asked.Add(1)-1)%3])
	})
	a := serve(t, config(exporter("x", uri)))
	for _, want := range []string{"counter", "gauge", "untyped", "counter"} {
		if page := a.scrape(""); !strings.Contains(page, "# TYPE m "+want+"\nm 1\n") {
			t.Errorf("want %s, got\n%s", want, page)
		}
	}
}

// TestCollisionStays: a label that tells two sources apart stays while one of
// them is down: a series must not be another one each time.
func TestCollisionStays(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	first := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, good)
	})
	a := serve(t, config(exporter("one", first), exporter("two", answering(t, text(good)))))
	both := "good{a=\"b\"} 1\ngood{a=\"b\",adapter_source=\"two\"} 1\n"
	if diff := cmp.Diff(both, lines(a.scrape(""), "good")); diff != "" {
		t.Errorf("both up (-want +got):\n%s", diff)
	}
	down.Store(true)
	if diff := cmp.Diff("good{a=\"b\",adapter_source=\"two\"} 1\n", lines(a.scrape(""), "good")); diff != "" {
		t.Errorf("one down (-want +got):\n%s", diff)
	}
}

// TestReload: a source whose configuration is the same goes on, another one is
// replaced, and a port that is taken refuses all.
func TestReload(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	uri := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, good+"what is this\n")
	})
	cfg := config(exporter("x", uri))
	a := serve(t, cfg)
	a.scrape("")
	renamed := config(exporter("x", uri))
	renamed.Sources[0].Labels = map[string]string{"new": "1"}
	next, err := a.builder.BuildHTTP(renamed, filters.Context{Listener: "test"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(next.Handler(nil))
	defer server.Close()
	defer next.Close()
	page := get(t, server.URL+"/metrics", "")
	want := "adapter_source_dropped_total{reason=\"malformed\",source=\"x\"} 2\ngood{a=\"b\",new=\"1\"} 1\n"
	if diff := cmp.Diff(want, lines(page, "adapter_source_dropped", "good")); diff != "" {
		t.Errorf("the source does not go on (-want +got):\n%s", diff)
	}

	taken := httptest.NewServer(http.NotFoundHandler())
	defer taken.Close()
	address := strings.TrimPrefix(taken.URL, "http://")
	wrong := config(exporter("x", uri), resource.MetricsSource{
		Name: "s", Kind: &resource.StatsDSource{MetricsListen: resource.MetricsListen{TCP: address}},
	})
	if _, err := a.builder.BuildHTTP(wrong, filters.Context{Listener: "test"}); err == nil || !strings.Contains(err.Error(), "sources[1] (s)") {
		t.Errorf("a port that is taken: %v", err)
	}
}

// TestOtherPaths: only the one path is the filter's.
func TestOtherPaths(t *testing.T) {
	t.Parallel()
	a := serve(t, config(exporter("x", answering(t, text(good)))))
	for _, tt := range []struct {
		method, path string
		want         int
	}{{"GET", "/metrics", 200}, {"HEAD", "/metrics", 200}, {"POST", "/metrics", 405}, {"GET", "/", 200}, {"GET", "/other", 404}} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, a.url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := nettest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s %s: %s", tt.method, tt.path, res.Status)
		}
	}
}
