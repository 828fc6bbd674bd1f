package main

import (
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestNginxFlags: the flags of 0.x and of 1.x, with one dash or two, and their
// variables.
func TestNginxFlags(t *testing.T) {
	t.Parallel()
	const uri = "http://localhost/nginx_status"
	tests := []struct {
		name string
		args []string
		env  map[string]string
		want string // of what matters, or of the error
	}{
		{"nothing", nil, nil, "[:9113] /metrics [http://127.0.0.1:8080/stub_status] true 5s map[]"},
		{"0.4.2", []string{"-nginx.scrape-uri", uri}, nil, "[:9113] /metrics [" + uri + "] true 5s map[]"},
		{
			"0.4.2, all",
			[]string{"-nginx.scrape-uri=" + uri, "-nginx.ssl-verify=false", "-nginx.retries", "3", "-nginx.retry-interval", "1s", "-nginx.timeout", "2s", "-web.listen-address", ":1", "-web.telemetry-path", "/m"},
			nil,
			"[:1] /m [" + uri + "] false 2s map[]",
		},
		{
			"1.x",
			[]string{"--no-nginx.ssl-verify", "--nginx.scrape-uri=" + uri, "--nginx.scrape-uri=unix:/run/n.sock:/s", "--prometheus.const-label=a=b", "--prometheus.const-label=c=d"},
			nil,
			"[:9113] /metrics [" + uri + " unix:/run/n.sock:/s] false 5s map[a:b c:d]",
		},
		{
			"variables",
			[]string{"--nginx.timeout", "1s"},
			map[string]string{"SCRAPE_URI": uri, "TIMEOUT": "9s", "LISTEN_ADDRESS": ":2", "SSL_VERIFY": "false", "CONST_LABELS": "a=b"},
			"[:2] /metrics [" + uri + "] false 1s map[a:b]",
		},
		{"plus", []string{"-nginx.plus"}, nil, "--nginx.plus: the API of NGINX Plus is not read here"},
		{"no URI", []string{"-nginx.scrape-uri", "localhost"}, nil, `--nginx.scrape-uri "localhost" is not a URI of http, https or unix`},
		{"a word", []string{"run"}, nil, `unexpected "run"`},
		{"no path", []string{"-web.telemetry-path", "m"}, nil, `--web.telemetry-path "m" must begin with a slash`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := newNginxFlags()
			err := f.parse(tt.args, func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
			got := fmt.Sprint(f.listen, " ", f.path, " ", f.uris, " ", f.verify, " ", f.timeout, " ", f.labels)
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestFaces(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ args, want string }{
		{"proxy run -f a", "run -f a"},
		{"proxy -nginx.scrape-uri http://localhost/nginx_status", "nginx-exporter -nginx.scrape-uri http://localhost/nginx_status"},
		{"proxy -web.listen-address :1 --nginx.timeout 1s", "nginx-exporter -web.listen-address :1 --nginx.timeout 1s"},
		{"proxy --statsd.mapping-config=/m.yml", "statsd-exporter --statsd.mapping-config=/m.yml"},
		{"/usr/bin/nginx-prometheus-exporter --version", "nginx-exporter --version"},
		{"proxy --help", "--help"},
	} {
		if got := strings.Join(face(strings.Fields(tt.args)), " "); got != tt.want {
			t.Errorf("%s: %s", tt.args, got)
		}
	}
}

// TestNginxExporter: the arguments of a pod, with nginx not there yet.
func TestNginxExporter(t *testing.T) {
	t.Parallel()
	port := redistest.Port(t)
	cmd := program(t, nil, "-nginx.scrape-uri", fmt.Sprintf("http://127.0.0.1:%d/nginx_status", redistest.Port(t)), "-web.listen-address", fmt.Sprintf("127.0.0.1:%d", port))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var page string
	redistest.Eventually(t, limit, "the exporter", func() error {
		res, err := nettest.Client.Get(fmt.Sprintf("http://127.0.0.1:%d/metrics", port))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		page = string(body)
		return err
	})
	for _, want := range []string{"\nnginx_up 0\n", "\nnginxexporter_build_info{", "\nadapter_source_up{source=\"nginx\"} 0\n"} {
		if !strings.Contains(page, want) {
			t.Errorf("no %q in\n%s", want, page)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("the end: %v", err)
	}
}
