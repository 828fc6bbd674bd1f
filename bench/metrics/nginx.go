package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
)

const (
	nginxExporter = "prometheus-nginx-exporter"
	nginxGoal     = 0.5
	// nginxScrapes is how many scrapes a round has for each of the others' ones,
	// which take longer.
	nginxScrapes = 10
)

// nginxConfig has the page of stub_status at a port, and is for a folder.
const nginxConfig = `daemon off;
worker_processes 1;
pid %[1]s/nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  server {
    listen 127.0.0.1:%[2]d;
    location = /stub_status { stub_status; }
  }
}
`

// startNginx starts nginx and returns where its page is.
func startNginx(ctx context.Context, dir string) (*gauge.Process, string, error) {
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, "", err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, port), 0o600); err != nil {
		return nil, "", err
	}
	p, err := gauge.Start("nginx", filepath.Join(dir, "nginx.log"), "nginx", "-c", config)
	if err != nil {
		return nil, "", err
	}
	address := "127.0.0.1:" + strconv.Itoa(port)
	err = p.Await(ctx, func(ctx context.Context) error {
		_, err := get(ctx, address, "/stub_status", nil)
		return err
	})
	if err != nil {
		p.Stop()
		return nil, "", err
	}
	return p, "http://" + address + "/stub_status", nil
}

func startNginxExporter(ctx context.Context, name, dir, program, uri string, args ...string) (*exporter, error) {
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	s := &exporter{name: name, http: "127.0.0.1:" + strconv.Itoa(port)}
	args = append(args, "-nginx.scrape-uri="+uri, "-web.listen-address="+s.http)
	if s.process, err = gauge.Start(name, filepath.Join(dir, name+"-nginx.log"), program, args...); err != nil {
		return nil, err
	}
	err = s.process.Await(ctx, func(ctx context.Context) error {
		_, err := get(ctx, s.http, "/metrics", nil)
		return err
	})
	if err != nil {
		s.process.Stop()
	}
	return s, err
}

// benchNginx measures scrapes of two exporters of one nginx.
func benchNginx(ctx context.Context, o *options, dir string, r *results) error {
	shapes := slices.DeleteFunc(nginxShapes(), func(s nginxShape) bool { return !o.Shapes.MatchString(s.name) })
	if len(shapes) == 0 {
		return nil
	}
	theirs, err := exec.LookPath(nginxExporter)
	if err != nil {
		return fmt.Errorf("%w: it is Debian's package of this name", err)
	}
	r.Versions = append(r.Versions, nginxExporter+" "+debianVersion(ctx, nginxExporter))
	nginx, uri, err := startNginx(ctx, dir)
	if err != nil {
		return err
	}
	defer nginx.Stop()
	ours, err := startNginxExporter(ctx, dragoman, dir, o.Proxy, uri, "nginx-exporter")
	if err != nil {
		return err
	}
	defer ours.process.Stop()
	peer, err := startNginxExporter(ctx, nginxExporter, dir, theirs, uri)
	if err != nil {
		return err
	}
	defer peer.process.Stop()
	servers := []*exporter{ours, peer}
	if err := sameNginx(ctx, servers); err != nil {
		return err
	}
	for _, shape := range shapes {
		res := shapeResults{Shape: shape.name, Unit: "scrape", Peer: nginxExporter, goal: nginxGoal}
		if err := res.run(ctx, o.Rounds, servers, "/metrics", shape.headers, o.scrapes*nginxScrapes); err != nil {
			return err
		}
		r.Shapes = append(r.Shapes, res)
	}
	return nil
}

type nginxShape struct {
	name    string
	headers map[string]string
}

func nginxShapes() []nginxShape {
	return []nginxShape{{"nginx scrape, text", plainText()}, {"nginx scrape, as Prometheus asks", asPrometheus()}}
}

// sameNginx compares what both tell of nginx: all lines, and all values but those
// of the numbers that the questions themselves change.
func sameNginx(ctx context.Context, servers []*exporter) error {
	var shown []string
	for _, s := range servers {
		page, err := get(ctx, s.http, "/metrics", plainText())
		if err != nil {
			return err
		}
		var own strings.Builder
		for line := range strings.Lines(page) {
			name, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE "), " ")
			switch {
			case !strings.HasPrefix(name, "nginx_") || strings.HasPrefix(name, "nginx_exporter_"):
			case !strings.HasPrefix(line, "#") && name != "nginx_up" && name != "nginx_connections_active" && name != "nginx_connections_reading" && name != "nginx_connections_writing":
				own.WriteString(name + " ?\n") // it counts the questions
			default:
				own.WriteString(line)
			}
		}
		shown = append(shown, own.String())
	}
	if shown[0] != shown[1] || !strings.Contains(shown[0], "\nnginx_up 1\n") {
		return errors.New("the two do not tell the same of nginx:\n" + shown[0] + "and\n" + shown[1])
	}
	return nil
}

// debianVersion is that of an installed package.
func debianVersion(ctx context.Context, name string) string {
	out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		return "of unknown version"
	}
	return string(out)
}
