package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// named renders a document of another name, for several in one proxy.
func (m mesh) named(name string) string {
	return strings.Replace(m.YAML(), "{name: cache}", "{name: "+name+"}", 1)
}

// configMap is a folder as Kubernetes mounts a ConfigMap: each file is a link into ..data, which is a link that is replaced.
type configMap struct {
	t    *testing.T
	dir  string
	next int
}

// put replaces the files as one change.
func (c *configMap) put(files map[string]string) {
	c.t.Helper()
	c.next++
	version := fmt.Sprintf("..%d", c.next)
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(c.dir, version), 0o700))
	for name, content := range files {
		must(os.WriteFile(filepath.Join(c.dir, version, name), []byte(content), 0o600))
		if _, err := os.Lstat(filepath.Join(c.dir, name)); err != nil {
			must(os.Symlink(filepath.Join("..data", name), filepath.Join(c.dir, name)))
		}
	}
	must(os.Symlink(version, filepath.Join(c.dir, "..data_tmp")))
	must(os.Rename(filepath.Join(c.dir, "..data_tmp"), filepath.Join(c.dir, "..data")))
	must(os.RemoveAll(filepath.Join(c.dir, fmt.Sprintf("..%d", c.next-1))))
}

// reloading is a proxy with a listener that changes, one that never does, and others that come and go, from a file, a folder, and a ConfigMap.
type reloading struct {
	t *testing.T
	*Proxy
	nodes                  [][]*redistest.Node
	changing, fixed, extra mesh
	file, dir              string
	config                 *configMap
	load                   []*pipeliner
}

func startReloading(t *testing.T) *reloading {
	t.Helper()
	nodes := startShards(t, 4, 0)
	r := &reloading{
		t: t, nodes: nodes,
		changing: mesh{port: redistest.Port(t), redis: "hash: md5", env: shards(nodes...)},
		fixed:    mesh{port: redistest.Port(t), redis: "hash: md5", env: shards(nodes[:2]...)},
		extra:    mesh{port: redistest.Port(t), env: shards(nodes[3])},
		dir:      t.TempDir(),
		config:   &configMap{t: t, dir: t.TempDir()},
	}
	r.file = filetest.Put(t, filepath.Join(t.TempDir(), "changing.yaml"), r.changing.named("changing"))
	filetest.Put(t, filepath.Join(r.dir, "fixed.yaml"), r.fixed.named("fixed"))
	filetest.Put(t, filepath.Join(r.dir, "notes.txt"), "no document")
	r.config.put(map[string]string{"extra.yaml": r.extra.named("extra")})
	r.Proxy = launch(t, nil, "run", "-f", r.file, "-f", r.dir, "-f", r.config.dir)
	r.awaitReady()
	r.load = append(startPipeliners(t, r.fixed.Addr(), 25, true), startPipeliners(t, r.changing.Addr(), 25, false)...)
	awaitBatches(t, r.load, 3)
	return r
}

// step checks the load before and after something has changed.
func (r *reloading) step(while string) {
	r.t.Helper()
	awaitBatches(r.t, r.load, 3)
	wantNothingWrong(r.t, r.load, while)
}

// TestReloadWholeProcess changes everything that can change in files, under load, and no request is lost.
func TestReloadWholeProcess(t *testing.T) {
	t.Parallel()
	r := startReloading(t)

	for _, nodes := range [][][]*redistest.Node{r.nodes[:3], r.nodes, {r.nodes[3], r.nodes[1]}, r.nodes} {
		before := r.version()
		r.changing.env = shards(nodes...)
		filetest.Put(t, r.file, r.changing.named("changing"))
		r.awaitChange(before)
		r.step("when the shards changed")
	}

	before := r.version()
	r.changing.redis = "hash: md5, readPolicy: PreferReplica, opTimeout: 7s"
	filetest.Put(t, r.file, r.changing.named("changing"))
	r.awaitChange(before)
	r.awaitShows("/config_dump", "PREFER_REPLICA")
	r.step("when the read policy changed")

	r.moveExtra()
	r.step("when another listener changed its port")
	r.refuse()
	r.addAndRemove()

	before = r.version()
	if err := r.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.step("after SIGHUP")
	if after := r.version(); after != before {
		t.Errorf("version after SIGHUP without a change: got %s, want %s", after, before)
	}
	for _, p := range r.load {
		p.end()
	}
	wantNothingWrong(t, r.load, "at the end")
}

// moveExtra has the ConfigMap give its listener another port. A client of the old one is seen off once it has its replies.
func (r *reloading) moveExtra() {
	r.t.Helper()
	client := redistest.Dial(r.t, r.extra.Addr())
	if got := client.Do("SET", "k", "v"); got != "+OK\r\n" {
		r.t.Fatalf("SET at the extra listener: %q", got)
	}
	old := r.extra
	r.extra.port = redistest.Port(r.t)
	r.config.put(map[string]string{"extra.yaml": r.extra.named("extra")})
	redistest.Eventually(r.t, readyLimit, "the new port", func() error { return answers(r.extra.Addr()) })
	r.wantGone(old.Addr(), client)
}

// wantGone waits until nobody listens at an address, and until its client has been seen off.
func (r *reloading) wantGone(addr string, client *redistest.Client) {
	r.t.Helper()
	redistest.Eventually(r.t, readyLimit, "the old port to close", func() error {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return fmt.Errorf("%s still accepts", addr)
		}
		return nil // refused
	})
	if got, err := client.TryReadFrame(); !errors.Is(err, io.EOF) {
		r.t.Errorf("the client of %s: got %q, %v, want the end of the connection", addr, got, err)
	}
}

// refuse breaks files in several ways. Each is reported with its place, and what runs goes on.
func (r *reloading) refuse() {
	r.t.Helper()
	fixed := filepath.Join(r.dir, "fixed.yaml")
	good, before := r.fixed.named("fixed"), r.version()
	for _, tt := range []struct{ name, content, want string }{
		{"broken YAML", strings.Replace(good, "spec: {", "spec: {{", 1), fixed + ":4"},
		{"unknown key", strings.Replace(good, "protocol:", "protokoll: redis, protocol:", 1), fixed + ":4:8: "},
		{"unknown value", strings.Replace(good, "hash: md5", "hash: md6", 1), fixed + ":4:"},
		{"taken name", good + "---\n" + r.extra.named("fixed"), fixed + ":"},
		{"taken port", good + "---\n" + r.changing.named("another"), "binds to the same place as default/changing"},
		{"no such environment", strings.Replace(good, "defaultEnvironment: test", "defaultEnvironment: toast", 1), "toast"},
	} {
		filetest.Put(r.t, fixed, tt.content)
		r.awaitShows("/config_dump", `"refused"`)
		r.awaitShows("/config_dump", tt.want)
		r.awaitLog(tt.want)
		r.step("after a refused change: " + tt.name)
		if after := r.version(); after != before {
			r.t.Errorf("%s: version %s, want %s", tt.name, after, before)
		}
		filetest.Put(r.t, fixed, good)
		redistest.Eventually(r.t, readyLimit, "the good file to be accepted", func() error {
			if page := r.Get("/config_dump"); strings.Contains(page, `"refused"`) {
				return errors.New(page)
			}
			return nil
		})
	}
	if page := r.Get("/metrics"); strings.Contains(page, "dragoman_config_reload_failures_total 0\n") {
		r.t.Error("no refused change was counted")
	}
}

// addAndRemove adds a file to the folder and removes it again.
func (r *reloading) addAndRemove() {
	r.t.Helper()
	added := mesh{port: redistest.Port(r.t), env: shards(r.nodes[2])}
	file := filetest.Put(r.t, filepath.Join(r.dir, "added.yaml"), added.named("added"))
	redistest.Eventually(r.t, readyLimit, "the added listener", func() error { return answers(added.Addr()) })
	r.step("when a listener was added")
	client := redistest.Dial(r.t, added.Addr())
	client.Do("PING")
	if err := os.Remove(file); err != nil {
		r.t.Fatal(err)
	}
	r.wantGone(added.Addr(), client)
	r.step("when a listener was removed")
}

// version is that of the accepted configuration.
func (p *Proxy) version() string {
	p.t.Helper()
	_, after, _ := strings.Cut(p.Get("/config_dump"), `"version": "`)
	version, _, _ := strings.Cut(after, `"`)
	return version
}

func (p *Proxy) awaitChange(before string) {
	p.t.Helper()
	redistest.Eventually(p.t, readyLimit, "another configuration", func() error {
		if p.version() == before {
			return fmt.Errorf("it is still %s\n%s", before, p.Output())
		}
		return nil
	})
}

// answers tells whether a Redis answers at an address.
func answers(addr string) error {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return err
	}
	reply := make([]byte, len("+PONG\r\n"))
	if _, err := io.ReadFull(conn, reply); err != nil || !slices.Equal(reply, []byte("+PONG\r\n")) {
		return fmt.Errorf("PING: %q, %w", reply, err)
	}
	return nil
}
