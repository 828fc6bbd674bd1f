package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

const limit = time.Minute

// running is a proxy in this process, with a file that it follows.
type running struct {
	*proxy.Proxy
	t      *testing.T
	file   string
	admin  string
	log    *lockedBuffer
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Run, once done is closed
}

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch runs a proxy on a document, with changes to its options.
func launch(t *testing.T, document string, change ...func(*proxy.Options)) *running {
	t.Helper()
	r := &running{
		t: t, file: filepath.Join(t.TempDir(), "mesh.yaml"), log: &lockedBuffer{}, done: make(chan struct{}),
		admin: "127.0.0.1:" + strconv.Itoa(redistest.Port(t)),
	}
	r.write(document)
	o := proxy.Options{
		Source:       proxy.NewFiles([]string{r.file}),
		AdminAddress: r.admin,
		DrainTimeout: 2 * time.Second,
		WarmTimeout:  2 * time.Second,
		Loops:        1,
		Log:          slog.New(slog.NewTextHandler(r.log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	var err error
	if r.Proxy, err = proxy.New(o); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		defer close(r.done)
		r.err = r.Run(ctx)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

func start(t *testing.T, document string, change ...func(*proxy.Options)) *running {
	t.Helper()
	r := launch(t, document, change...)
	r.eventually("the proxy to be ready", func() error {
		select {
		case <-r.done:
			t.Fatalf("the proxy has ended: %v\n%s", r.err, r.log)
		default:
		}
		if ok, reason := r.Ready(); !ok {
			return errors.New(reason)
		}
		return nil
	})
	return r
}

func (r *running) stop() error {
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(limit):
		r.t.Fatalf("the proxy does not end\n%s", r.log)
	}
	return r.err
}

func (r *running) eventually(what string, check func() error) {
	r.t.Helper()
	redistest.Eventually(r.t, limit, what, check)
}

// write replaces the document as an editor does.
func (r *running) write(document string) {
	r.t.Helper()
	if err := os.WriteFile(r.file+".new", []byte(document), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Rename(r.file+".new", r.file); err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) get(path string) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.admin+path, http.NoBody)
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// shows waits until a page has a text.
func (r *running) shows(path, want string) {
	r.t.Helper()
	r.eventually(path+" to show "+want, func() error {
		if page := r.get(path); !strings.Contains(page, want) {
			return fmt.Errorf("%s\n%s", page, r.log)
		}
		return nil
	})
}

// ambassador is a document for one Redis, or any fields of spec.
func ambassador(name string, port int, environments string, spec ...string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: %s}
spec:
  protocol: redis
  listen: {port: %d}
  environments: {%s}
  %s
---
`, name, port, environments, strings.Join(spec, "\n  "))
}

func one(addr string) string { return fmt.Sprintf("test: {address: %q}", addr) }

const byDefault = "defaultEnvironment: test"

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

func TestReload(t *testing.T) {
	t.Parallel()
	a, b := redistest.Server(t), redistest.Server(t)
	first, second := redistest.Port(t), redistest.Port(t)
	r := start(t, ambassador("cache", first, one(a.Addr()), byDefault))
	client := redistest.Dial(t, local(first))
	client.Do("SET", "k", "in a")
	if got := a.Do("GET", "k"); got != "$4\r\nin a\r\n" {
		t.Errorf("got %q", got)
	}
	before := r.get("/config_dump")

	r.write(ambassador("cache", first, one(b.Addr()), byDefault, "colour: blue"))
	r.shows("/config_dump", "mesh.yaml:9:3: spec.colour")
	r.shows("/metrics", "dragoman_config_last_reload_successful 0")
	r.shows("/metrics", "dragoman_config_reload_failures_total 1")
	r.shows("/ready", "LIVE")
	if got := client.Do("GET", "k"); got != "$4\r\nin a\r\n" {
		t.Errorf("after a refused change: %q", got)
	}
	if !strings.Contains(r.log.String(), "mesh.yaml:9:3: spec.colour") {
		t.Errorf("the log does not say why:\n%s", r.log)
	}

	r.write(ambassador("cache", first, one(b.Addr()), byDefault) + ambassador("more", second, one(a.Addr()), byDefault))
	r.shows("/metrics", "dragoman_config_last_reload_successful 1")
	if got := redistest.Dial(t, local(second)).Do("GET", "k"); got != "$4\r\nin a\r\n" {
		t.Errorf("the new listener: %q", got)
	}
	if got := redistest.Dial(t, local(first)).Do("GET", "k"); got != "$-1\r\n" && got != "_\r\n" {
		t.Errorf("the listener that leads elsewhere now: %q", got)
	}
	r.shows("/config_dump", b.Addr()[len("127.0.0.1:"):])
	if strings.Contains(r.get("/config_dump"), "refused") || r.get("/config_dump") == before {
		t.Error("the refusal is still shown, or nothing has changed")
	}
	r.shows("/listeners", "default/more::"+local(second))
	r.shows("/clusters", "default/more/test::"+a.Addr()+"::health_flags::healthy")
}

func TestRemovedListener(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	keep, drop := redistest.Port(t), redistest.Port(t)
	r := start(t, ambassador("keep", keep, one(node.Addr()), byDefault)+
		ambassador("drop", drop, one(node.Addr()), byDefault, "drainDeadline: 200ms"))
	idle := redistest.Dial(t, local(drop))
	idle.Do("PING")
	r.write(ambassador("keep", keep, one(node.Addr()), byDefault))
	r.eventually("the port to be closed", func() error {
		c, err := net.Dial("tcp", local(drop))
		if err == nil {
			_ = c.Close()
			return errors.New("still open")
		}
		return nil
	})
	if _, err := idle.TryReadFrame(); err == nil {
		t.Error("the connection of a removed listener lives on")
	}
}

func TestPortTaken(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port

	r := launch(t, ambassador("cache", port, one(node.Addr()), byDefault))
	<-r.done
	if code := exit.Code(r.err); code != exit.CodeTemporary {
		t.Errorf("at the start: exit code %d, %v", code, r.err)
	}

	free, fresh := redistest.Port(t), redistest.Port(t)
	r = start(t, ambassador("cache", free, one(node.Addr()), byDefault))
	client := redistest.Dial(t, local(free))
	client.Do("PING")
	r.write(ambassador("cache", free, one("127.0.0.1:1"), byDefault) +
		ambassador("b", fresh, one(node.Addr()), byDefault) + ambassador("c", port, one(node.Addr()), byDefault))
	r.shows("/config_dump", "address already in use")
	if got := client.Do("SET", "still", "here"); got != "+OK\r\n" {
		t.Errorf("a connection of before: %q", got)
	}
	if got := redistest.Dial(t, local(free)).Do("GET", "still"); got != "$4\r\nhere\r\n" {
		t.Errorf("a new connection: %q", got)
	}
	if c, err := net.Dial("tcp", local(fresh)); err == nil {
		_ = c.Close()
		t.Error("a listener of the refused change is open")
	}
}

// TestRollBack refuses a change late: its clusters run already when a socket
// cannot be bound.
func TestRollBack(t *testing.T) {
	t.Parallel()
	a, b := redistest.Server(t), redistest.Server(t)
	b.Do("SET", "k", "b")
	port := redistest.Port(t)
	path := filepath.Join(t.TempDir(), "s")
	taken, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, ambassador("cache", port, one(a.Addr()), byDefault))
	client := redistest.Dial(t, local(port))
	client.Do("SET", "k", "a")
	onSocket := strings.Replace(ambassador("more", 1, one(a.Addr()), byDefault), "port: 1", "path: "+path, 1)
	r.write(ambassador("cache", port, one(b.Addr()), byDefault) + onSocket)
	r.shows("/config_dump", "address already in use")
	r.shows("/clusters", "::"+a.Addr()+"::")
	for who, c := range map[string]*redistest.Client{"old": client, "new": redistest.Dial(t, local(port))} {
		if got := c.Do("GET", "k"); got != "$1\r\na\r\n" {
			t.Errorf("the %s connection: %q", who, got)
		}
	}
	_ = taken.Close()
	r.Reload()
	r.shows("/listeners", "default/more::"+path)
	if got := redistest.Dial(t, local(port)).Do("GET", "k"); got != "$1\r\nb\r\n" {
		t.Errorf("once it can be bound: %q", got)
	}
}

func TestDrainListeners(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	r := start(t, ambassador("cache", port, one(node.Addr()), byDefault))
	client := redistest.Dial(t, local(port))
	client.Do("PING")
	post := func(path string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+r.admin+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, resp, err)
		}
		_ = resp.Body.Close()
	}
	post("/drain_listeners")
	r.shows("/ready", "DRAINING")
	if c, err := net.Dial("tcp", local(port)); err == nil {
		_ = c.Close()
		t.Error("the port is still open")
	}
	if got := client.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("an open connection: %q", got)
	}
	post("/quitquitquit")
	select {
	case <-r.done:
	case <-time.After(limit):
		t.Fatal("the proxy does not end")
	}
	if r.err != nil {
		t.Error(r.err)
	}
}

func TestBadStart(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"syntax":         "apiVersion: [",
		"unknown key":    ambassador("a", 1, one("127.0.0.1:1"), byDefault, "x: y"),
		"no environment": ambassador("a", redistest.Port(t), one("127.0.0.1:1")),
		"no password file": ambassador("a", redistest.Port(t),
			`test: {address: "127.0.0.1:1", credentials: {passwordFile: /nonexistent/password}}`, byDefault),
	}
	for name, document := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := launch(t, document)
			<-r.done
			if code := exit.Code(r.err); code != exit.CodeUsage {
				t.Errorf("exit code %d, %v", code, r.err)
			}
		})
	}
}

func TestAdminTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	use := func(o *proxy.Options) { o.AdminAddress = taken.Addr().String() }
	doc := ambassador("a", redistest.Port(t), one("127.0.0.1:1"), byDefault)
	r := launch(t, doc, use)
	<-r.done
	if code := exit.Code(r.err); code != exit.CodeTemporary {
		t.Errorf("exit code %d, %v", code, r.err)
	}
	r = start(t, doc, use, func(o *proxy.Options) { o.AdminOptional = true })
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// TestEnvironmentChange changes a pod's label: the connection of a client moves
// or ends, as the document says, and new ones go to the new environment.
func TestEnvironmentChange(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"Drain", "Cut"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			dev, prod := redistest.Server(t), redistest.Server(t)
			dev.Do("SET", "where", "dev")
			prod.Do("SET", "where", "prod")
			labels := filepath.Join(t.TempDir(), "labels")
			label := func(env string) {
				if err := os.WriteFile(labels, []byte("mesh.dragoman.io/environment=\""+env+"\"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			label("dev")
			port := redistest.Port(t)
			r := start(t, ambassador("cache", port,
				fmt.Sprintf("dev: {address: %q}, prod: {address: %q}", dev.Addr(), prod.Addr()),
				"onEnvironmentChange: "+mode, "drainDeadline: 500ms"),
				func(o *proxy.Options) { o.Detector = environment.Detector{LabelsFile: labels} })
			client := redistest.Dial(t, local(port))
			if got := client.Do("GET", "where"); got != "$3\r\ndev\r\n" {
				t.Fatalf("got %q", got)
			}
			r.shows("/config_dump", `"environment": "dev"`)

			label("nowhere")
			r.shows("/config_dump", `there is no environment`)
			if got := client.Do("GET", "where"); got != "$3\r\ndev\r\n" {
				t.Fatalf("after an environment that is not there: %q", got)
			}

			label("prod")
			r.eventually("new connections to go to prod", func() error {
				if got := redistest.Dial(t, local(port)).Do("GET", "where"); got != "$4\r\nprod\r\n" {
					return errors.New(got)
				}
				return nil
			})
			r.shows("/listeners?format=json", `"environment": "prod"`)
			r.eventually("the old connection to move or end", func() error {
				if got, err := client.TryDo("GET", "where"); err == nil && got != "$4\r\nprod\r\n" {
					return errors.New(got)
				}
				return nil
			})
		})
	}
}

// TestReloadUnderLoad loses no request while the configuration changes.
func TestReloadUnderLoad(t *testing.T) {
	t.Parallel()
	a, b := redistest.Server(t), redistest.Server(t)
	port := redistest.Port(t)
	shards := func(name string) string {
		return fmt.Sprintf("test: {shards: [{name: %s, primary: {address: %q}}, {name: y, primary: {address: %q}}]}",
			name, a.Addr(), b.Addr())
	}
	r := start(t, ambassador("cache", port, shards("x0"), byDefault))
	stop := make(chan struct{})
	var failed atomic.Value
	var count atomic.Int64
	var load sync.WaitGroup
	for i := range 4 {
		load.Go(func() {
			client := redistest.Dial(t, local(port))
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				key := fmt.Sprintf("k%d-%d", i, n)
				if got, err := client.TryDo("SET", key, "v"); got != "+OK\r\n" {
					failed.Store(fmt.Sprintf("%q, %v", got, err))
					return
				}
				count.Add(1)
			}
		})
	}
	for i := range 10 {
		name := fmt.Sprintf("x%d", i+1)
		r.write(ambassador("cache", port, shards(name), byDefault))
		r.shows("/clusters", "::shard::"+name)
	}
	close(stop)
	load.Wait()
	if got := failed.Load(); got != nil {
		t.Errorf("a request failed: %v\n%s", got, r.log)
	}
	if count.Load() < 100 {
		t.Errorf("only %d requests", count.Load())
	}
}

func TestDrainAtTheEnd(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	r := start(t, ambassador("cache", port, one(node.Addr()), byDefault))
	busy, idle := redistest.Dial(t, local(port)), redistest.Dial(t, local(port))
	idle.Do("PING")
	busy.Send(redistest.Command("EVAL", "local t = redis.call('TIME') local stop = t[1] * 1000000 + t[2] + 300000 "+
		"repeat t = redis.call('TIME') until t[1] * 1000000 + t[2] >= stop return 'done'", "0"))
	r.eventually("the script to run", func() error {
		if n := node.Calls("eval"); n == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 1500*time.Millisecond {
		t.Errorf("draining took %v although all was answered", took)
	}
	if got, err := busy.TryReadFrame(); got != "$4\r\ndone\r\n" {
		t.Errorf("the request in flight: %q, %v", got, err)
	}
	if c, err := net.Dial("tcp", local(port)); err == nil {
		_ = c.Close()
		t.Error("the port is still open")
	}
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("first"))
	password := filepath.Join(t.TempDir(), "password")
	put := func(text string) {
		if err := os.WriteFile(password, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("first")
	port := redistest.Port(t)
	r := start(t, ambassador("cache", port,
		fmt.Sprintf("test: {address: %q, credentials: {passwordFile: %s}}", node.Addr(), password), byDefault))
	if got := redistest.Dial(t, local(port)).Do("SET", "k", "v"); got != "+OK\r\n" {
		t.Fatalf("got %q", got)
	}
	for _, page := range []string{"/config_dump", "/clusters", "/metrics", "/stats"} {
		if text := r.get(page); strings.Contains(text, `"first"`) {
			t.Errorf("%s shows the password:\n%s", page, text)
		}
	}
	if strings.Contains(r.log.String(), "first") {
		t.Errorf("the log shows the password:\n%s", r.log)
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	r := start(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: raw}
spec:
  protocol: tcp
  listen: {port: %d}
  environments: {test: {address: %q}}
  defaultEnvironment: test
`, port, node.Addr()))
	if got := redistest.Dial(t, local(port)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	r.shows("/metrics", `dragoman_tcp_upstream_connects_total{listener="default/raw"} 1`)
}

// TestLateName starts although a name does not resolve, and serves the rest.
func TestLateName(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	good, bad := redistest.Port(t), redistest.Port(t)
	start(t, ambassador("good", good, one(node.Addr()), byDefault)+
		ambassador("bad", bad, one("redis.invalid:6379"), byDefault, "redis: {opTimeout: 500ms}"))
	if got := redistest.Dial(t, local(good)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
	if got := redistest.Dial(t, local(bad)).Do("GET", "k"); !strings.HasPrefix(got, "-") {
		t.Errorf("a cluster without endpoints: %q", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	if err := os.WriteFile(file, []byte(ambassador("a", 6380, one("127.0.0.1:1")+`, prod: {address: "127.0.0.1:2"}`)), 0o600); err != nil {
		t.Fatal(err)
	}
	source := proxy.NewFiles([]string{dir})
	if n, err := proxy.Check(source, mesh.NodeFacts{}); n != 1 || err != nil {
		t.Errorf("every environment: %d, %v", n, err)
	}
	if _, err := proxy.Check(source, mesh.NodeFacts{Flag: "prod"}); err != nil {
		t.Errorf("one environment: %v", err)
	}
	if _, err := proxy.Check(source, mesh.NodeFacts{Flag: "none"}); err == nil {
		t.Error("an environment that is not there is accepted")
	}
}

func TestExitCode(t *testing.T) {
	t.Parallel()
	cases := map[int]error{
		0: nil, 64: fmt.Errorf("wrapped: %w", exit.Usage(errors.New("x"))), 75: exit.Temporary(errors.New("x")), 70: errors.New("x"),
	}
	for want, err := range cases {
		if got := exit.Code(err); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
}
