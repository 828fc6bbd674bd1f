package metrics_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const wait = 30 * time.Second

// nginx starts a real one that shows its status.
func nginx(t *testing.T, port int) *redistest.Process {
	t.Helper()
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen 127.0.0.1:%[2]d; keepalive_timeout 0; location = /nginx_status { stub_status; } }
}
`, dir, port)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := redistest.Run(t, "nginx", "-e", "stderr", "-p", dir, "-c", conf)
	redistest.Eventually(t, wait, "nginx", func() error {
		res, err := nettest.Client.Get(fmt.Sprintf("http://127.0.0.1:%d/nginx_status", port))
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
	return p
}

// TestSameAsNginxExporter: the families, types, help and values are those that
// nginx' own exporter shows of the same nginx, also while it is down and after a
// restart.
func TestSameAsNginxExporter(t *testing.T) {
	t.Parallel()
	port, other := redistest.Port(t), redistest.Port(t)
	uri := fmt.Sprintf("http://127.0.0.1:%d/nginx_status", port)
	server := nginx(t, port)
	redistest.Run(t, "prometheus-nginx-exporter", "-nginx.scrape-uri", uri, "-web.listen-address", fmt.Sprintf("127.0.0.1:%d", other), "-nginx.retries", "20", "-nginx.retry-interval", "100ms")
	theirs := fmt.Sprintf("http://127.0.0.1:%d/metrics", other)
	redistest.Eventually(t, wait, "the exporter", func() error {
		res, err := nettest.Client.Get(theirs)
		if err != nil {
			return err
		}
		return res.Body.Close()
	})
	a := serve(t, config(resource.MetricsSource{Name: "nginx", Kind: &resource.NginxStubStatusSource{MetricsFetch: page(uri)}}))

	same := func(when string, want int) {
		t.Helper()
		// Whoever asks changes what nginx counts: each look is one request, and one
		// connection, more than the one before.
		theirs, ours := nginxLines(get(t, theirs, "")), nginxLines(a.scrape(""))
		count := func(text, name string) float64 {
			var v float64
			for line := range strings.Lines(text) {
				if rest, ok := strings.CutPrefix(line, name+" "); ok {
					if _, err := fmt.Sscan(rest, &v); err != nil {
						t.Fatal(err)
					}
				}
			}
			return v
		}
		for _, name := range []string{"nginx_connections_accepted", "nginx_connections_handled", "nginx_http_requests_total"} {
			if want == 0 {
				continue
			}
			before, after := count(theirs, name), count(ours, name)
			if after != before+1 {
				t.Errorf("%s: %s is %v after %v", when, name, after, before)
			}
			ours = strings.Replace(ours, fmt.Sprintf("\n%s %v\n", name, after), fmt.Sprintf("\n%s %v\n", name, before), 1)
		}
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s (-theirs +ours):\n%s", when, diff)
		}
		if up := int(count(ours, "nginx_up")); up != want {
			t.Errorf("%s: nginx_up is %d", when, up)
		}
	}
	same("while it runs", 1)
	server.Kill()
	same("while it is down", 0)
	if got := lines(a.scrape(""), "adapter_source_up"); got != "adapter_source_up{source=\"nginx\"} 0\n" {
		t.Errorf("of the source is said %q", got)
	}
	nginx(t, port)
	same("after a restart", 1)
}

// nginxLines gives the families of nginx with their heads.
func nginxLines(text string) string {
	return "\n" + lines(text, "# HELP nginx_", "# TYPE nginx_", "nginx_")
}
