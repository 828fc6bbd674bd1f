package proxy_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/proxy"
	"github.com/dragoman-mesh/dragoman/pkg/proxy/environment"
)

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
	r.closes(drop)
	if _, err := idle.TryReadFrame(); err == nil {
		t.Error("the connection of a removed listener lives on")
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
		resp, err := nettest.Client.Do(req)
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
			label := func(env string) { put(t, labels, "mesh.dragoman.io/environment=\""+env+"\"\n") }
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
				// one that comes just before the change may be cut
				if got, err := redistest.Dial(t, local(port)).TryDo("GET", "where"); err != nil || got != "$4\r\nprod\r\n" {
					return fmt.Errorf("%q, %w", got, err)
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
	l := r.load(port)
	for i := range 10 {
		name := fmt.Sprintf("x%d", i+1)
		r.write(ambassador("cache", port, shards(name), byDefault))
		r.shows("/clusters", "::shard::"+name)
		l.goesOn()
	}
	l.end()
}
