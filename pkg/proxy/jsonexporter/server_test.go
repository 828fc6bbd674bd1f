package jsonexporter_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/tooltest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/json"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/jsonexporter"
)

const config = `
modules:
  default:
    metrics:
    - {name: up, path: '{.up}', help: Is it., valuetype: gauge, labels: {site: '{.site}', none: '{.none}'}}
    - {name: item, type: object, path: '{.items[*]}', labels: {name: '{.name}'}, values: {size: '{.size}'}}
  posting:
    body: {content: '{"a": "{{ .a | first }}"}', templatize: true}
    metrics: [{name: up, path: '{.up}', labels: {asked: '{.asked}'}}]
`

// app is asked by both exporters.
func app(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/ok":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		asked := strings.ReplaceAll(string(body), `"`, "'")
		_, _ = io.WriteString(w, `{"up": 1, "site": "n", "asked": "`+asked+`", "items": [{"name": "a", "size": 1}, {"name": "b", "size": "x"}, {"name": "c", "size": 2.5}]}`)
	case "/double":
		_, _ = io.WriteString(w, `{"up": 1, "items": [{"name": "a", "size": 1}, {"name": "a", "size": 2}]}`)
	case "/garbage":
		_, _ = io.WriteString(w, "<html>")
	case "/slow":
		<-r.Context().Done()
	case "/huge":
		_, _ = io.Copy(w, io.LimitReader(zeros{}, 100<<20)) // until the other end has had enough
	default:
		http.NotFound(w, r)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// start runs our exporter until the test ends, and returns its URL.
func start(t *testing.T, configFile string) string {
	t.Helper()
	file, err := json.LoadExporter(configFile)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jsonexporter.Listen(t.Context(), jsonexporter.Options{
		Config: file, Listen: []string{"127.0.0.1:0"}, Path: "/metrics", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + s.Addresses()[0].String()
}

func get(t *testing.T, uri string, header http.Header) (status int, kind, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, uri, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	res, err := nettest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header.Get("Content-Type"), string(page)
}

func writeConfig(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "config.yml")
	if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestSameAsJSONExporter asks both the same, over HTTP.
func TestSameAsJSONExporter(t *testing.T) {
	t.Parallel()
	name := writeConfig(t)
	address := tooltest.FreeAddress(t)
	tooltest.Start(t, address, "json_exporter", "--config.file="+name, "--web.listen-address="+address)
	ours := start(t, name)
	documents := httptest.NewServer(http.HandlerFunc(app))
	t.Cleanup(documents.Close)
	ok := "&target=" + url.QueryEscape(documents.URL+"/ok")
	for _, query := range []string{
		"?module=default" + ok, "?x=1" + ok, "?module=posting&a=b" + ok, "?module=posting" + ok, "?module=other" + ok, "?module=default",
		"?target=" + url.QueryEscape(documents.URL+"/missing"),
	} {
		wantStatus, wantKind, want := get(t, "http://"+address+"/probe"+query, nil)
		gotStatus, gotKind, got := get(t, ours+"/probe"+query, nil)
		if wantStatus != gotStatus || strings.Split(wantKind, ";")[0] != strings.Split(gotKind, ";")[0] {
			t.Errorf("%s: status %d, %s; json_exporter's are %d, %s", query, gotStatus, gotKind, wantStatus, wantKind)
		}
		if wantStatus == http.StatusServiceUnavailable { // the reason is in other words
			want, _, _ = strings.Cut(want, ", ERROR")
			got, _, _ = strings.Cut(got, ", ERROR")
		}
		if diff := cmp.Diff(lines(want), lines(got)); diff != "" {
			t.Errorf("%s (-json_exporter +ours):\n%s", query, diff)
		}
	}
}

func lines(text string) []string {
	out := strings.Split(text, "\n")
	slices.Sort(out)
	return out
}

// TestFaults: what fails is told, and counted; what can be had is served.
func TestFaults(t *testing.T) {
	t.Parallel()
	ours := start(t, writeConfig(t))
	documents := httptest.NewServer(http.HandlerFunc(app))
	t.Cleanup(documents.Close)
	gone := tooltest.FreeAddress(t)
	for target, want := range map[string]string{
		documents.URL + "/garbage": "not JSON at byte 0", documents.URL + "/huge": "the answer is too large", documents.URL + "/slow": "no whole answer in time",
		"http://" + gone: "refused", "ftp://x": "unsupported protocol scheme", "::": "the URI is not valid",
	} {
		header := http.Header{}
		if strings.HasSuffix(target, "/slow") {
			header.Set("X-Prometheus-Scrape-Timeout-Seconds", "0.4")
		}
		status, _, body := get(t, ours+"/probe?target="+url.QueryEscape(target), header)
		if status != http.StatusServiceUnavailable || !strings.Contains(body, want) {
			t.Errorf("%s: status %d, %s", target, status, body)
		}
	}
	if status, _, body := get(t, ours+"/probe?target="+url.QueryEscape(documents.URL+"/double"), nil); status != http.StatusOK ||
		!strings.Contains(body, "item_size{name=\"a\"} 1\n") || strings.Contains(body, "item_size{name=\"a\"} 2\n") {
		t.Errorf("the same series twice: status %d, %s", status, body)
	}
	_, _, body := get(t, ours+"/metrics", nil)
	for _, want := range []string{
		`dragoman_json_exporter_probes_total{module="default",result="error"} 6`, `dragoman_json_exporter_probes_total{module="default",result="ok"} 1`,
		`dragoman_json_exporter_lost_series_total{module="default",reason="duplicate"} 1`, "go_goroutines ",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("%s is missing in\n%s", want, body)
		}
	}
}

// TestFormats: OpenMetrics and protobuf for who asks for them.
func TestFormats(t *testing.T) {
	t.Parallel()
	ours := start(t, writeConfig(t))
	documents := httptest.NewServer(http.HandlerFunc(app))
	t.Cleanup(documents.Close)
	uri := ours + "/probe?target=" + url.QueryEscape(documents.URL+"/ok")
	_, kind, body := get(t, uri, http.Header{"Accept": {"application/openmetrics-text;version=1.0.0"}})
	if !strings.HasPrefix(kind, "application/openmetrics-text") || !strings.HasSuffix(body, "# EOF\n") {
		t.Errorf("%s: %s", kind, body)
	}
	if _, kind, _ = get(t, uri, http.Header{"Accept": {"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"}}); !strings.HasPrefix(kind, "application/vnd.google.protobuf") {
		t.Errorf("content type %s", kind)
	}
	if status, _, body := get(t, ours+"/", nil); status != http.StatusOK || !strings.Contains(body, `href="/metrics"`) {
		t.Errorf("the landing page: %d, %s", status, body)
	}
	if status, _, _ := get(t, ours+"/other", nil); status != http.StatusNotFound {
		t.Errorf("another page: %d", status)
	}
}

// TestTaken: a port of somebody else ends the start.
func TestTaken(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	file, err := json.LoadExporter(writeConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = jsonexporter.Listen(t.Context(), jsonexporter.Options{
		Config: file, Listen: []string{"127.0.0.1:0", strings.TrimPrefix(other.URL, "http://")}, Path: "/metrics", Log: slog.New(slog.DiscardHandler),
	})
	if err == nil {
		t.Error("the port of somebody else was bound")
	}
}
