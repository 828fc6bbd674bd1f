package metrics_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// adapter is a filter behind a server of its own.
type adapter struct {
	tb      testing.TB
	builder *metrics.Builder
	filter  filters.HTTP
	url     string
}

// config is a filter of sources with the defaults of a document, but for what is
// kept, so that each question is asked.
func config(sources ...resource.MetricsSource) *resource.MetricsFilter {
	return &resource.MetricsFilter{
		Path: "/metrics", Sources: sources, SeriesPerSource: resource.DefaultSeriesPerSource, BytesPerSource: resource.DefaultBytesPerSource,
	}
}

func page(uri string) resource.MetricsFetch {
	return resource.MetricsFetch{URI: uri, Timeout: resource.DefaultFetchTimeout}
}

func exporter(name, uri string) resource.MetricsSource {
	return resource.MetricsSource{Name: name, Kind: &resource.PrometheusSource{MetricsFetch: page(uri)}}
}

func serve(tb testing.TB, cfg *resource.MetricsFilter) *adapter {
	tb.Helper()
	return serveLogging(tb, cfg, slog.New(slog.DiscardHandler))
}

// serveLogging is serve with a log.
func serveLogging(tb testing.TB, cfg *resource.MetricsFilter, log *slog.Logger) *adapter {
	tb.Helper()
	a := &adapter{tb: tb, builder: metrics.NewBuilder(log)}
	f, err := a.builder.BuildHTTP(cfg, filters.Context{Listener: "test"})
	if err != nil {
		tb.Fatal(err)
	}
	a.filter = f
	server := httptest.NewServer(f.Handler(nil))
	a.url = server.URL
	tb.Cleanup(func() {
		server.Close()
		f.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := a.builder.Drain(ctx); err != nil {
			tb.Error(err)
		}
	})
	return a
}

// scrape asks as a scraper does that waits so long; 0: it does not say.
func (a *adapter) scrape(timeout string) string {
	a.tb.Helper()
	return get(a.tb, a.url+"/metrics", timeout)
}

func get(tb testing.TB, url, timeout string) string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	if timeout != "" {
		req.Header.Set("X-Prometheus-Scrape-Timeout-Seconds", timeout)
	}
	res, err := nettest.Client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		tb.Fatalf("%s: %v\n%s", res.Status, err, body)
	}
	return string(body)
}

// lines gives those of a text that begin with one of the prefixes.
func lines(text string, prefixes ...string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for _, p := range prefixes {
			if strings.HasPrefix(line, p) {
				b.WriteString(line)
				break
			}
		}
	}
	return b.String()
}

// of gives the lines of an adapter's own families, without how long it took.
func of(text string) string {
	return lines(text, "adapter_source_up", "adapter_source_series", "adapter_source_dropped", "adapter_source_repaired")
}
