package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// adapterNginx has a page of stub_status at a port, and is for a folder.
const adapterNginx = `daemon off;
master_process off;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  server {
    listen 127.0.0.1:%[2]d;
    location = /nginx_status { stub_status; }
  }
}
`

// statusPage starts nginx and returns where its page is.
func statusPage(t *testing.T) string {
	t.Helper()
	dir, port := t.TempDir(), redistest.Port(t)
	config := filetest.Put(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(adapterNginx, dir, port))
	redistest.Run(t, "nginx", "-c", config)
	uri := fmt.Sprintf("http://127.0.0.1:%d/nginx_status", port)
	redistest.Eventually(t, readyLimit, "nginx", func() error {
		_, _, err := adapterGet(t, uri, "")
		return err
	})
	return uri
}

// adapterGet fetches a page, of a type if it says one.
func adapterGet(t *testing.T, uri, accept string) (body, contentType string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, uri, http.NoBody)
	if err != nil {
		return "", "", err
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return string(text), resp.Header.Get("Content-Type"), err
}

// appPages are an app's own: JSON at /stats, and expvar.
func appPages(t *testing.T) string {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("/stats", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"queues": []map[string]any{{"name": "orders", "depth": 7}}})
	})
	mux.HandleFunc("/debug/vars", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"app_logins": 42}`) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// adapterDocument is an Adapter with the sources, each a line of YAML.
func adapterDocument(port int, sources ...string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Adapter
metadata: {name: metrics}
spec:
  metrics:
    listen: {address: 127.0.0.1, port: %d, path: /metrics}
    sources:
    - %s
`, port, strings.Join(sources, "\n    - "))
}

// awaitPage scrapes until all lines are there, and none of those that must not be.
func awaitPage(t *testing.T, uri string, want []string, without ...string) string {
	t.Helper()
	var page string
	redistest.Eventually(t, readyLimit, "the page", func() error {
		var err error
		if page, _, err = adapterGet(t, uri, ""); err != nil {
			return err
		}
		for _, line := range want {
			if !strings.Contains(page, "\n"+line+"\n") {
				return fmt.Errorf("no %q in\n%s", line, page)
			}
		}
		for _, text := range without {
			if strings.Contains(page, text) {
				return fmt.Errorf("still %q in\n%s", text, page)
			}
		}
		return nil
	})
	return page
}

// TestAdapterOfManySources: one process shows what nginx, an app that sends
// StatsD, and an app with pages of its own have, in the format that is asked for;
// sources come and go with the file, and those that stay lose nothing.
func TestAdapterOfManySources(t *testing.T) {
	t.Parallel()
	port, lines := redistest.Port(t), redistest.Port(t)
	app := appPages(t)
	nginx := fmt.Sprintf("{name: nginx, nginxStubStatus: {uri: %q}}", statusPage(t))
	statsd := fmt.Sprintf("{name: app, statsd: {tcp: %d, udp: %d}}", lines, lines)
	queues := fmt.Sprintf(`{name: queues, json: {uri: "%s/stats", extract: [{name: queue_depth, path: "{.queues[*]}", labels: {queue: "{.name}"}, value: "{.depth}"}]}}`, app)
	vars := fmt.Sprintf(`{name: vars, expvar: {uri: "%s/debug/vars"}}`, app)

	file := filetest.Put(t, filepath.Join(t.TempDir(), "adapter.yaml"), adapterDocument(port, nginx, statsd))
	p := launch(t, nil, "run", "-f", file)
	p.awaitReady()
	uri := fmt.Sprintf("http://127.0.0.1:%d/metrics", port)
	sendLine(t, lines, "logins:3|c\n")
	fromStart := []string{"nginx_up 1", "logins 3", `adapter_source_up{source="nginx"} 1`, `adapter_source_up{source="app"} 1`}
	awaitPage(t, uri, fromStart, "queue_depth", "app_logins")

	filetest.Put(t, file, adapterDocument(port, nginx, statsd, queues, vars))
	all := append(slices.Clone(fromStart), `queue_depth{queue="orders"} 7`, "app_logins 42", `adapter_source_up{source="vars"} 1`)
	awaitPage(t, uri, all)
	page, contentType, err := adapterGet(t, uri, "application/openmetrics-text;version=1.0.0")
	if err != nil || !strings.HasPrefix(contentType, "application/openmetrics-text; version=1.0.0") || !strings.HasSuffix(page, "\n# EOF\n") {
		t.Errorf("OpenMetrics: %v, %q\n%s", err, contentType, page)
	}

	filetest.Put(t, file, adapterDocument(port, statsd, vars))
	awaitPage(t, uri, []string{"logins 3", "app_logins 42"}, "nginx_up", "queue_depth")
	noteMemory(t, p)
}

// sendLine sends a line of StatsD.
func sendLine(t *testing.T, port int, line string) {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err == nil {
		_, err = conn.Write([]byte(line))
		err = errors.Join(err, conn.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// noteMemory logs what is resident, which hangs on the machine.
func noteMemory(t *testing.T, p *Proxy) {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if size, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			t.Log("resident: " + strings.TrimSpace(size))
		}
	}
}
