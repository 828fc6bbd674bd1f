package metrics_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/promtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// everyType is what an exporter might show: all types, and characters that must
// be escaped.
const everyType = `# HELP app_requests_total Requests.
# TYPE app_requests_total counter
app_requests_total{path="C:\\dir",text="say \"x\""} 1027
# HELP app_temperature_celsius Temperature.
# TYPE app_temperature_celsius gauge
app_temperature_celsius -3.5
# HELP app_wait_seconds Waits.
# TYPE app_wait_seconds histogram
app_wait_seconds_bucket{le="0.5"} 1
app_wait_seconds_bucket{le="+Inf"} 2
app_wait_seconds_sum 3.5
app_wait_seconds_count 2
# HELP app_size_bytes Sizes.
# TYPE app_size_bytes summary
app_size_bytes{quantile="0.5"} 4773
app_size_bytes_sum 17560473
app_size_bytes_count 2693
`

// prometheus is a real one that scrapes targets, by the names of their jobs, each
// fifth of a second.
func prometheus(t *testing.T, targets map[string]string) (query func(string) []promtest.Sample) {
	t.Helper()
	var conf strings.Builder
	conf.WriteString("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n")
	for job, target := range targets {
		fmt.Fprintf(&conf, "- {job_name: %s, static_configs: [{targets: [%q]}]}\n", job, strings.TrimPrefix(target, "http://"))
	}
	server := promtest.Start(t, conf.String())
	return func(q string) []promtest.Sample {
		out, err := server.Query(q)
		if err != nil {
			return nil // it is starting
		}
		return out
	}
}

// TestPrometheusScrapes has a real Prometheus take both of the formats that it
// knows without an error, and get the same.
func TestPrometheusScrapes(t *testing.T) {
	t.Parallel()
	a := serve(t, config(exporter("app", answering(t, text(everyType)))))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Accept", "text/plain;version=0.0.4") // this Prometheus can not be told to ask for it
		a.filter.Handler(nil).ServeHTTP(w, r)
	}))
	defer plain.Close()
	query := prometheus(t, map[string]string{"open": a.url, "text": plain.URL})
	redistest.Eventually(t, wait, "both targets are up", func() error {
		if up := query("up == 1"); len(up) != 2 {
			return fmt.Errorf("up: %v", up)
		}
		return nil
	})
	series := func(job string) map[string]float64 {
		out := map[string]float64{}
		for _, s := range query(`{job="` + job + `",__name__=~"app_.*"}`) {
			name := s.Metric["__name__"]
			for _, l := range []string{"le", "quantile", "path", "text"} {
				if v, ok := s.Metric[l]; ok {
					name += "," + l + "=" + v
				}
			}
			out[name] = s.Value
		}
		return out
	}
	want := map[string]float64{
		`app_requests_total,path=C:\dir,text=say "x"`: 1027, "app_temperature_celsius": -3.5, "app_wait_seconds_bucket,le=0.5": 1,
		"app_wait_seconds_bucket,le=+Inf": 2, "app_wait_seconds_sum": 3.5, "app_wait_seconds_count": 2,
		"app_size_bytes,quantile=0.5": 4773, "app_size_bytes_sum": 17560473, "app_size_bytes_count": 2693,
	}
	for _, job := range []string{"open", "text"} {
		if diff := cmp.Diff(want, series(job)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", job, diff)
		}
		scraped, kept := query(`scrape_samples_scraped{job="`+job+`"}`), query(`scrape_samples_post_metric_relabeling{job="`+job+`"}`)
		if len(scraped) != 1 || len(kept) != 1 || scraped[0].Value != kept[0].Value {
			t.Errorf("%s: scraped %v, kept %v", job, scraped, kept)
		}
	}
}

// TestRateOverRestart: a source that starts again from 0 is, for Prometheus, one
// that goes on: rate() and increase() are of what really happened.
func TestRateOverRestart(t *testing.T) {
	t.Parallel()
	var scrapes atomic.Int64
	// Counts 10 for each look; at the twentieth the app has begun anew.
	uri := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		n := scrapes.Add(1)
		if n > 20 {
			n -= 20
		}
		fmt.Fprintf(w, "# TYPE app_jobs_total counter\napp_jobs_total %d\n", n*10)
	})
	a := serve(t, config(exporter("app", uri)))
	query := prometheus(t, map[string]string{"app": a.url})
	redistest.Eventually(t, wait, "40 scrapes", func() error {
		if n := scrapes.Load(); n < 40 {
			return fmt.Errorf("%d", n)
		}
		return nil
	})
	if resets := query("resets(app_jobs_total[1h])"); len(resets) != 1 || resets[0].Value != 1 {
		t.Errorf("resets: %v", resets)
	}
	// The value now is no more than 200 above the first: the rest is from before.
	increase := query("increase(app_jobs_total[1h])")
	var v float64
	if len(increase) == 1 {
		v = increase[0].Value
	}
	if all := float64(scrapes.Load()) * 10; v < 250 || v > all*1.2 {
		t.Errorf("increase: %v, of %v in all", increase, all)
	}
}

// TestPromtool: what is served of a source with proper names has nothing to
// criticise, what is said of the sources included.
func TestPromtool(t *testing.T) {
	t.Parallel()
	a := serve(t, config(exporter("app", answering(t, text(everyType))), exporter("bad", answering(t, text("what is this\n")))))
	cmd := exec.CommandContext(t.Context(), redistest.Binary(t, "promtool"), "check", "metrics")
	cmd.Stdin = strings.NewReader(a.scrape(""))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestStaleness: what a source that is down had is gone at once for Prometheus, and
// not only when it has looked back for five minutes; the others stay.
func TestStaleness(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	uri := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "# TYPE app_jobs_total counter\napp_jobs_total 7\n")
	})
	a := serve(t, config(exporter("app", uri), exporter("other", answering(t, text("# TYPE other gauge\nother 1\n")))))
	query := prometheus(t, map[string]string{"app": a.url})
	expect := func(jobs int, up float64) {
		t.Helper()
		redistest.Eventually(t, wait, "what is shown of a source", func() error {
			shown, state, other := query("app_jobs_total"), query(`adapter_source_up{source="app"}`), query("other")
			if len(shown) != jobs || len(state) != 1 || state[0].Value != up || len(other) != 1 {
				return fmt.Errorf("series %v, up %v, other %v", shown, state, other)
			}
			return nil
		})
	}
	expect(1, 1)
	down.Store(true)
	expect(0, 0)
	down.Store(false)
	expect(1, 1)
}
