package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// mostBetweenScrapes is what the proxy may have resident while nobody scrapes.
const mostBetweenScrapes = 20 << 20

// TestAdapterMemory: what a scrape of five sources takes is handed back before the
// next one.
func TestAdapterMemory(t *testing.T) {
	t.Parallel()
	port, lines := redistest.Port(t), redistest.Port(t)
	var exporter strings.Builder
	for i := range 200 {
		fmt.Fprintf(&exporter, "# TYPE m%d counter\nm%d{x=\"1\"} 1\nm%d{x=\"2\"} 2\n", i, i, i)
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, exporter.String()) }))
	t.Cleanup(page.Close)
	app := appPages(t)
	file := filetest.Put(t, t.TempDir()+"/adapter.yaml", adapterDocument(port,
		fmt.Sprintf("{name: nginx, nginxStubStatus: {uri: %q}}", statusPage(t)), fmt.Sprintf("{name: app, statsd: {tcp: %d}}", lines),
		fmt.Sprintf(`{name: queues, json: {uri: "%s/stats", extract: [{name: queue_depth, path: "{.queues[*]}", labels: {queue: "{.name}"}, value: "{.depth}"}]}}`, app),
		fmt.Sprintf(`{name: vars, expvar: {uri: "%s/debug/vars"}}`, app), fmt.Sprintf("{name: other, prometheus: {uri: %q}}", page.URL),
	))
	p := deliver(t, nil, "run", "-f", file)
	p.awaitReady()
	uri := "http://" + loopback(port) + "/metrics"
	for range 10 {
		awaitPage(t, uri, []string{"nginx_up 1", "app_logins 42", `m199{x="2"} 2`, `queue_depth{queue="orders"} 7`})
		redistest.Eventually(t, readyLimit, "the memory that a scrape took to be handed back", func() error {
			if size := p.memory("VmRSS"); size > mostBetweenScrapes {
				return fmt.Errorf("%d bytes", size)
			}
			return nil
		})
	}
}
