package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/exit"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
)

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

func TestBadStart(t *testing.T) {
	t.Parallel()
	cases := map[string]string{
		"syntax":                 "apiVersion: [",
		"unknown key":            ambassador("a", 1, one("127.0.0.1:1"), byDefault, "x: y"),
		"no environment":         ambassador("a", redistest.Port(t), one("127.0.0.1:1")),
		"no file of authorities": ambassador("a", redistest.Port(t), `test: {address: "127.0.0.1:1", tls: {caFile: /nonexistent/ca}}`, byDefault),
		"no variable":            ambassador("a", redistest.Port(t), `test: {address: "127.0.0.1:1", credentials: {passwordEnv: NONEXISTENT_PASSWORD}}`, byDefault),
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

func TestDrainAtTheEnd(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	port := redistest.Port(t)
	r := start(t, ambassador("cache", port, one(node.Addr()), byDefault), func(o *proxy.Options) { o.DrainTimeout = limit })
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
	if took := time.Since(begun); took >= limit/2 {
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
	if r, err := proxy.Check(source, mesh.NodeFacts{}); r.Objects != 1 || len(r.Warnings) > 0 || err != nil {
		t.Errorf("every environment: %+v, %v", r, err)
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
