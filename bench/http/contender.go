package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/internal/grpctest"
)

// Names of the contenders.
const (
	dragoman = "dragoman"
	haproxy  = "haproxy" // mode http, one thread
	nginx    = "nginx"   // proxy_pass, one worker
	direct   = "direct"  // nothing in between
	program  = "program" // written by hand for one conversion, in Go
)

func contenderNames() []string { return []string{dragoman, haproxy, nginx, direct, program} }

// contender is something that answers HTTP on a port.
type contender struct {
	name string
	port int
	proc *gauge.Process // whose CPU and memory count; nil for direct
	// answer is the body that a conversion gives.
	answer []byte
}

// Name is the contender's.
func (c *contender) Name() string { return c.name }

// cpu is the CPU time that the contender has used; 0 without a process.
func (c *contender) cpu() (time.Duration, error) {
	if c.proc == nil {
		return 0, nil
	}
	return gauge.CPUTime(c.proc.PID())
}

// testbed is what runs: the origin and the contenders.
type testbed struct {
	dir       string
	proxy     string
	args      []string
	profiles  string // folder; "": none
	origin    int    // port
	calls     int    // port of the gRPC server; 0: it does not run yet
	running   map[string]*contender
	skipped   []string // what was not measured, and why
	processes []*gauge.Process
}

func (tb *testbed) close() {
	for _, p := range tb.processes {
		p.Stop()
	}
}

// start runs a program on a port, and waits until it takes connections.
func (tb *testbed) start(ctx context.Context, name string, port int, program string, args ...string) (*gauge.Process, error) {
	p, err := gauge.Start(name, filepath.Join(tb.dir, name+".log"), program, args...)
	if err != nil {
		return nil, err
	}
	tb.processes = append(tb.processes, p)
	return p, p.Await(ctx, func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (tb *testbed) write(name, text string) (string, error) {
	path := filepath.Join(tb.dir, name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// startOrigin starts the server that answers in the end.
func (tb *testbed) startOrigin(ctx context.Context) error {
	var err error
	if tb.origin, err = gauge.FreePort(ctx); err != nil {
		return err
	}
	if _, err := tb.write("large", strings.Repeat("x", large)); err != nil {
		return err
	}
	_, err = tb.startNginx(ctx, "origin", tb.origin, fmt.Sprintf(`
    root %s;
    open_file_cache max=10;
    location /small { return 200 "%s"; }
    location /orders { default_type application/json; return 200 '%s'; }`, tb.dir, strings.Repeat("x", small), accepted), "")
	return err
}

// startNginx runs nginx with a server on a port. Its worker is the process' only
// child: what counts is its own CPU time, so that it runs without a master.
func (tb *testbed) startNginx(ctx context.Context, name string, port int, server, more string) (*gauge.Process, error) {
	path, err := tb.write(name+".conf", fmt.Sprintf(`daemon off;
master_process off;
worker_processes 1;
pid %s/%s.pid;
error_log stderr error;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 1h;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  %[4]s
  server {
    listen 127.0.0.1:%[3]d;
    %[5]s
  }
}
`, tb.dir, name, port, more, server))
	if err != nil {
		return nil, err
	}
	return tb.start(ctx, name, port, "nginx", "-p", tb.dir, "-c", path)
}

// contender returns the running one of a name, started if need be; nil if there is
// none for that kind of shape.
func (tb *testbed) contender(ctx context.Context, name string, k kind) (*contender, error) {
	key := fmt.Sprint(name, k)
	if c, ok := tb.running[key]; ok {
		return c, nil
	}
	c, err := tb.launch(ctx, name, k)
	if errors.Is(err, gauge.ErrEnded) && k != plain {
		tb.skipped = append(tb.skipped, fmt.Sprintf("%v: %s does not take the document", k, name))
		c, err = nil, nil
	}
	tb.running[key] = c
	return c, err
}

// launch starts a contender.
func (tb *testbed) launch(ctx context.Context, name string, k kind) (*contender, error) {
	if name == direct {
		return &contender{name: name, port: tb.origin}, nil
	}
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, port: port}
	switch name {
	case haproxy:
		c.proc, err = tb.startHAProxy(ctx, port)
	case nginx:
		c.proc, err = tb.startNginx(ctx, name, port, `location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }`, fmt.Sprintf("upstream origin { server 127.0.0.1:%d; keepalive 128; keepalive_requests 1000000000; }", tb.origin))
	case program:
		c.proc, err = tb.startProgram(ctx, port, k)
	default:
		c.proc, err = tb.startDragoman(ctx, port, k)
	}
	if err == nil && k != plain {
		c.answer, err = askOnce(ctx, port, k)
	}
	return c, err
}

// startProgram runs this program as the one that converts orders.
func (tb *testbed) startProgram(ctx context.Context, port int, k kind) (*gauge.Process, error) {
	origin, err := tb.originOf(ctx, k)
	if err != nil {
		return nil, err
	}
	return tb.startSelf(ctx, fmt.Sprint(program, "-", uint8(k)), port, k.terms().convert, fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", port, origin))
}

// startSelf runs this program in another role.
func (tb *testbed) startSelf(ctx context.Context, name string, port int, role, where string) (*gauge.Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return tb.start(ctx, name, port, self, "-"+role, where)
}

// originOf is the port of what answers requests of a kind in the end.
func (tb *testbed) originOf(ctx context.Context, k kind) (int, error) {
	if k != jsonToGRPC {
		return tb.origin, nil
	}
	if tb.calls != 0 {
		return tb.calls, nil
	}
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return 0, err
	}
	tb.calls = port
	_, err = tb.startSelf(ctx, "origin-grpc", port, flagOrigin, fmt.Sprintf("127.0.0.1:%d", port))
	return port, err
}

func (tb *testbed) startHAProxy(ctx context.Context, port int) (*gauge.Process, error) {
	path, err := tb.write("haproxy.cfg", fmt.Sprintf(`global
  maxconn 4000
  nbthread 1
defaults
  mode http
  option http-keep-alive
  http-reuse always
  timeout client 1h
  timeout server 1h
  timeout connect 5s
frontend in
  bind 127.0.0.1:%d
  default_backend origin
backend origin
  server origin 127.0.0.1:%d
`, port, tb.origin))
	if err != nil {
		return nil, err
	}
	return tb.start(ctx, haproxy, port, "haproxy", "-db", "-f", path)
}

func (tb *testbed) startDragoman(ctx context.Context, port int, k kind) (*gauge.Process, error) {
	document, err := tb.document(ctx, port, k)
	if err != nil {
		return nil, err
	}
	path, err := tb.write(fmt.Sprintf("mesh-%d.yaml", uint8(k)), document)
	if err != nil {
		return nil, err
	}
	admin, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(admin))
	args := append([]string{"run", "-f", path, "--loops", "1", "--admin-address", address}, tb.args...)
	p, err := tb.start(ctx, fmt.Sprint(dragoman, "-", uint8(k)), port, tb.proxy, args...)
	if err != nil {
		return nil, err
	}
	gauge.Note("%s: admin on %s", dragoman, address)
	return p, gauge.Serving(ctx, p, address, tb.profiles)
}

// document is what the proxy is told for a kind.
func (tb *testbed) document(ctx context.Context, port int, k kind) (string, error) {
	origin, err := tb.originOf(ctx, k)
	switch {
	case err != nil:
		return "", err
	case k == jsonToJSON:
		return fmt.Sprintf(orderDocument, port, origin), nil
	case k == jsonToGRPC:
		descriptors, err := tb.write("descriptors.pb", string(grpctest.Descriptors()))
		return fmt.Sprintf(creationDocument, port, origin, descriptors, grpctest.Orders), err
	}
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: bench}
spec:
  protocol: http
  listen: {port: %d}
  environments:
    dev: {address: "127.0.0.1:%d"}
  defaultEnvironment: dev
`, port, origin), nil
}
