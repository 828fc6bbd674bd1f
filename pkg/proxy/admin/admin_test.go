package admin_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/admin"
)

type fixture struct {
	options       admin.Options
	notReady      atomic.Bool
	text          atomic.Value // that /ready shows beside
	drained, quit atomic.Int32
}

func newFixture() *fixture {
	f := &fixture{}
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dragoman_things_total", Help: "h"}, []string{"kind"})
	c.WithLabelValues("x").Add(3)
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "dragoman_time_seconds", Help: "h"})
	h.Observe(2)
	reg.MustRegister(c, h)
	f.options = admin.Options{
		Ready: func() (bool, string) {
			text, _ := f.text.Load().(string)
			return !f.notReady.Load(), text
		},
		ConfigDump: func() any {
			return map[string]any{"version": "v1", "facts": map[string]string{"zone": "a", "label": "b"}}
		},
		Resources: func(kind string, wanted func(string) bool) ([]any, bool) {
			var list []any
			for _, name := range []string{"shop/cache", "shop/orders"} {
				if wanted(name) {
					list = append(list, map[string]any{"@type": "T", "name": name, "active_state": map[string]any{"version_info": "7", "listener": "l"}})
				}
			}
			return list, kind == "dynamic_listeners"
		},
		Clusters:       func() admin.View { return admin.View{JSON: []string{"c"}, Text: "c::up\n"} },
		Listeners:      func() admin.View { return admin.View{JSON: []string{"l"}, Text: "l::127.0.0.1:1\n"} },
		SlowLog:        func() any { return []string{"GET k"} },
		HotKeys:        func() any { return []string{"k"} },
		DrainListeners: func() { f.drained.Add(1) },
		Quit:           func() { f.quit.Add(1) },
		Level:          &slog.LevelVar{},
		Gatherer:       reg,
		Log:            slog.New(slog.DiscardHandler),
	}
	return f
}

func (f *fixture) do(t *testing.T, method, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	admin.Handler(f.options).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, target, http.NoBody))
	return w.Code, w.Body.String()
}

func TestPaths(t *testing.T) {
	t.Parallel()
	f := newFixture()
	cases := []struct {
		method, target string
		code           int
		want           string
	}{
		{"GET", "/", 200, "/quitquitquit (POST): end the process"},
		{"GET", "/help", 200, "/config_dump"},
		{"GET", "/nothing", 404, "invalid path. admin commands are:\n"},
		{"POST", "/nothing", 404, "/quitquitquit (POST)"},
		{"GET", "/ready", 200, "LIVE\n"},
		{"HEAD", "/ready", 200, ""},
		{"POST", "/ready", 405, "use GET"},
		{"GET", "/config_dump", 200, `"version": "v1"`},
		{"GET", "/clusters", 200, "c::up\n"},
		{"GET", "/clusters?format=json", 200, `"c"`},
		{"GET", "/clusters?format=text", 200, "c::up\n"},
		{"GET", "/clusters?format=yaml", 400, "format=yaml: there is text and json"},
		{"GET", "/config_dump?mask=facts.zone", 200, "{\n  \"facts\": {\n    \"zone\": \"a\"\n  }\n}\n"},
		{"GET", "/config_dump?mask=facts.zone,version,nothing", 200, "{\n  \"facts\": {\n    \"zone\": \"a\"\n  },\n  \"version\": \"v1\"\n}\n"},
		{"GET", "/config_dump?mask=.", 400, "want fields separated by commas"},
		{"GET", "/config_dump?resource=dynamic_listeners", 200, `"name": "shop/orders"`},
		{
			"GET", "/config_dump?resource=dynamic_listeners&name_regex=cache&mask=active_state.version_info", 200,
			"{\n  \"configs\": [\n    {\n      \"@type\": \"T\",\n      \"active_state\": {\n        \"version_info\": \"7\"\n      }\n    }\n  ]\n}\n",
		},
		{"GET", "/config_dump?resource=nonsense", 404, "nonsense not found in config dump: there is dynamic_listeners, "},
		{"GET", "/config_dump?resource=dynamic_listeners&name_regex=(", 400, "name_regex is not a regular expression"},
		{"GET", "/config_dump?name_regex=cache", 400, "names of what?"},
		{"GET", "/listeners", 200, "l::127.0.0.1:1\n"},
		{"GET", "/slowlog", 200, "GET k"},
		{"GET", "/hotkeys", 200, `"k"`},
		{"GET", "/metrics", 200, `dragoman_things_total{kind="x"} 3`},
		{"GET", "/stats/prometheus", 200, `dragoman_things_total{kind="x"} 3`},
		{"GET", "/stats", 200, "dragoman_things_total{kind=\"x\"}: 3\ndragoman_time_seconds_count: 1\ndragoman_time_seconds_sum: 2\n"},
		{"GET", "/stats?filter=nothing", 200, ""},
		{"GET", "/stats?filter=(", 400, "regular expression"},
		{"GET", "/stats?filter=seconds_count", 200, "dragoman_time_seconds_count: 1\n"},
		{"GET", "/stats?format=html", 400, "there is text, json and prometheus"},
		{"GET", "/stats/prometheus?filter=(", 400, "regular expression"},
		{"GET", "/stats?format=prometheus", 200, "# TYPE dragoman_things_total counter"},
		{"GET", "/debug/pprof/", 200, "goroutine"},
		{"GET", "/logging?level=debug", 405, "use POST"},
		{"POST", "/logging", 200, "level: "},
		{"POST", "/logging?level=warning", 200, "level: warn\n"},
		{"POST", "/logging?level=loud", 400, "level must be"},
		{"POST", "/logging?level=", 400, "level must be"},
		{"POST", "/logging?redis=debug", 400, "redis: there is one level for all"},
		{"POST", "/drain_listeners?graceful", 200, "OK\n"},
		{"POST", "/drain_listeners?inboundonly", 400, "inboundonly: all listeners are closed"},
		{"GET", "/drain_listeners", 405, "use POST"},
		{"GET", "/quitquitquit", 405, "use POST"},
	}
	for _, tc := range cases {
		t.Run(tc.method+" "+tc.target, func(t *testing.T) {
			t.Parallel()
			code, body := f.do(t, tc.method, tc.target)
			if code != tc.code || !strings.Contains(body, tc.want) {
				t.Errorf("got %d %q, want %d with %q", code, body, tc.code, tc.want)
			}
		})
	}
}

// TestFilteredStats: a filter is for names as /stats prints them, in every form.
func TestFilteredStats(t *testing.T) {
	t.Parallel()
	f := newFixture()
	for _, path := range []string{"/metrics?", "/stats/prometheus?", "/stats?format=prometheus&", "/stats?"} {
		for filter, other := range map[string]string{"things": "time", "seconds_sum": "things"} {
			if code, body := f.do(t, "GET", path+"filter="+filter); code != 200 || !strings.Contains(body, filter) || strings.Contains(body, other) {
				t.Errorf("%sfilter=%s: %d\n%s", path, filter, code, body)
			}
		}
	}
}

func TestStatsJSON(t *testing.T) {
	t.Parallel()
	_, body := newFixture().do(t, "GET", "/stats?format=json&filter=things")
	var got struct {
		Stats []struct {
			Name  string
			Value float64
		}
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Stats) != 1 || got.Stats[0].Value != 3 {
		t.Errorf("got %+v", got)
	}
}

func TestChanges(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.text.Store("from disk")
	if code, body := f.do(t, "GET", "/ready"); code != http.StatusOK || body != "LIVE\nfrom disk\n" {
		t.Errorf("ready, with something to say: %d %q", code, body)
	}
	f.text.Store("starting")
	f.notReady.Store(true)
	if code, body := f.do(t, "GET", "/ready"); code != http.StatusServiceUnavailable || body != "starting\n" {
		t.Errorf("ready: %d %q", code, body)
	}
	if code, body := f.do(t, "POST", "/logging?level=debug"); code != 200 || body != "level: debug\n" {
		t.Errorf("logging: %d %q", code, body)
	}
	if f.options.Level.Level() != slog.LevelDebug {
		t.Error("level not set")
	}
	f.do(t, "POST", "/drain_listeners")
	f.do(t, "POST", "/quitquitquit")
	if f.drained.Load() != 1 || f.quit.Load() != 1 {
		t.Errorf("drained %d, quit %d", f.drained.Load(), f.quit.Load())
	}
}

// TestOtherOrigins: what a page of the web has a browser post changes nothing.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	f := newFixture()
	server := httptest.NewServer(admin.Handler(f.options))
	defer server.Close()
	for _, tt := range []struct {
		method, site, origin string
		want                 int
	}{
		{"POST", "cross-site", "https://example.com", 403},
		{"POST", "", "https://example.com", 403},
		{"GET", "cross-site", "", 405},
		{"POST", "same-origin", server.URL, 200},
		{"POST", "", "", 200}, // curl
	} {
		req, err := http.NewRequestWithContext(t.Context(), tt.method, server.URL+"/quitquitquit", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Sec-Fetch-Site": tt.site, "Origin": tt.origin} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		res, err := nettest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != tt.want {
			t.Errorf("%s from %q, %q: status %d, want %d", tt.method, tt.site, tt.origin, res.StatusCode, tt.want)
		}
	}
	if n := f.quit.Load(); n != 2 {
		t.Errorf("the process was ended %d times, want 2", n)
	}
}

func TestAbsentPaths(t *testing.T) {
	t.Parallel()
	f := newFixture()
	f.options.SlowLog, f.options.HotKeys, f.options.Quit = nil, nil, nil
	for _, path := range []string{"/slowlog", "/hotkeys", "/quitquitquit"} {
		if code, _ := f.do(t, "GET", path); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestServer(t *testing.T) {
	t.Parallel()
	f := newFixture()
	s, err := admin.Listen(t.Context(), "127.0.0.1:0", f.options)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr()+"/ready", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(body) != "LIVE\n" {
		t.Errorf("got %q", body)
	}
	// What would make a large regular expression, and a program of it of a gigabyte.
	huge := "http://" + s.Addr() + "/stats?filter=" + strings.Repeat(`\pL`, 100_000)
	if req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, huge, http.NoBody); err != nil {
		t.Fatal(err)
	}
	if resp, err = nettest.Client.Do(req); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a huge filter: status %d", resp.StatusCode)
	}
	if _, err := admin.Listen(t.Context(), s.Addr(), f.options); err == nil {
		t.Error("the port is taken, yet Listen succeeds")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s.Close(ctx)
}
