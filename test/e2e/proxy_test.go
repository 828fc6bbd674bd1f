package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Limits that are generous on purpose: the tests run beside every other package's on few cores, and under -race.
const (
	readyLimit = 30 * time.Second
	stopLimit  = 20 * time.Second
)

// Proxy is a running proxy. Kill, Freeze, Pid and Output are those of redistest.Process.
type Proxy struct {
	*redistest.Process
	t     *testing.T
	admin string
	file  string
}

// startProxy runs `proxy run -f` with one document, or several, and returns when /ready says so. When the test ends the proxy gets SIGINT
// and must exit with 0, without a data race found on the way.
func startProxy(t *testing.T, meshYAML string, args ...string) *Proxy {
	t.Helper()
	p := launchProxy(t, meshYAML, args...)
	redistest.Eventually(t, readyLimit, "the proxy to be ready", func() error {
		select {
		case <-p.Done():
			t.Fatalf("the proxy ended with exit code %d:\n%s", p.ExitCode(), p.Output())
		default:
		}
		status, body, err := p.fetch("/ready")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/ready: %d %s", status, body)
		}
		return err
	})
	return p
}

// launchProxy is startProxy that does not wait: for a proxy that is not expected to become ready.
func launchProxy(t *testing.T, meshYAML string, args ...string) *Proxy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(file, []byte(meshYAML), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := "127.0.0.1:" + strconv.Itoa(redistest.Port(t))
	all := append([]string{"run", "-f", file, "--admin-address", admin}, args...)
	p := &Proxy{Process: redistest.Run(t, proxyBinary(t), all...), t: t, admin: admin, file: file}
	t.Cleanup(func() { p.Stop() })
	return p
}

// Stop sends SIGINT and fails the test unless the proxy ends in time, with exit code 0. A proxy that has ended is left alone, unless it
// found a data race.
func (p *Proxy) Stop() {
	p.t.Helper()
	select {
	case <-p.Done():
	default:
		if err := p.Signal(syscall.SIGINT); err != nil {
			p.t.Errorf("stopping the proxy: %v", err)
		}
		timeout := time.NewTimer(stopLimit)
		defer timeout.Stop()
		select {
		case <-p.Done():
			if code := p.ExitCode(); code != 0 {
				p.t.Errorf("exit code on SIGINT: got %d, want 0", code)
			}
		case <-timeout.C:
			p.t.Errorf("the proxy still runs %v after SIGINT", stopLimit)
		}
	}
	if bytes.Contains(p.Output(), []byte("WARNING: DATA RACE")) {
		p.t.Errorf("data race in the proxy:\n%s", p.Output())
	}
	for line := range bytes.Lines(p.Output()) {
		if key := doubled(line); key != "" {
			p.t.Errorf("the log has %q twice, which no reader of JSON keeps: %s", key, line)
		}
	}
}

// doubled gives a key that a line of the log has more than once, if it is an object.
func doubled(line []byte) string {
	if line[0] != '{' {
		return ""
	}
	d, seen := json.NewDecoder(bytes.NewReader(line)), map[string]bool{}
	_, _ = d.Token() // the bracket
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		var value json.RawMessage
		if err != nil || !ok || d.Decode(&value) != nil {
			return ""
		}
		if seen[name] {
			return name
		}
		seen[name] = true
	}
	return ""
}

// Rewrite replaces the document.
func (p *Proxy) Rewrite(meshYAML string) {
	p.t.Helper()
	filetest.Put(p.t, p.file, meshYAML)
}

// Get returns an admin page, which must be answered with 200.
func (p *Proxy) Get(path string) string {
	p.t.Helper()
	status, body, err := p.fetch(path)
	if err != nil || status != http.StatusOK {
		p.t.Fatalf("GET %s: %d %v\n%s", path, status, err, body)
	}
	return body
}

func (p *Proxy) fetch(path string) (int, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := nettest.Client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

// proxyBinary builds cmd/proxy with the race detector, the first time, and returns its path.
func proxyBinary(t *testing.T) string {
	t.Helper()
	return meshtest.Checked.Binary(t, "proxy")
}

func TestMain(m *testing.M) {
	code := m.Run()
	meshtest.Cleanup()
	if nodeModules.dir != "" {
		_ = os.RemoveAll(nodeModules.dir)
	}
	os.Exit(code)
}

// mesh is the document that most tests need: one Redis port, one environment.
type mesh struct {
	port  int
	spec  string // further fields of spec, in flow style without braces
	redis string // fields of spec.redis, in flow style without braces
	env   string // the environment's fields, in flow style without braces
}

// YAML renders the document.
func (m mesh) YAML() string {
	spec := ""
	if m.spec != "" {
		spec = m.spec + ", "
	}
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache}
spec: {%sprotocol: redis, listen: {port: %d}, redis: {%s}, environments: {test: {%s}}, defaultEnvironment: test}
`, spec, m.port, m.redis, m.env)
}

// Addr is where the app connects.
func (m mesh) Addr() string { return "127.0.0.1:" + strconv.Itoa(m.port) }

// shards renders the environment's shards, named s1, s2...; each is its primary, then its replicas.
func shards(groups ...[]*redistest.Node) string {
	var all []string
	for i, group := range groups {
		var replicas []string
		for _, r := range group[1:] {
			replicas = append(replicas, fmt.Sprintf("{address: %q}", r.Addr()))
		}
		all = append(all, fmt.Sprintf("{name: s%d, primary: {address: %q}, replicas: [%s]}", i+1, group[0].Addr(), strings.Join(replicas, ", ")))
	}
	return "shards: [" + strings.Join(all, ", ") + "]"
}

// startShards starts n primaries with r replicas each.
func startShards(t *testing.T, n, r int, opts ...redistest.Option) [][]*redistest.Node {
	t.Helper()
	groups := make([][]*redistest.Node, n)
	for i := range groups {
		groups[i] = []*redistest.Node{redistest.Server(t, opts...)}
		for range r {
			groups[i] = append(groups[i], redistest.Server(t, append([]redistest.Option{redistest.WithReplicaOf(groups[i][0])}, opts...)...))
		}
	}
	return groups
}

// quoted renders addresses as a flow sequence.
func quoted(addrs []string) string {
	var all []string
	for _, a := range addrs {
		all = append(all, strconv.Quote(a))
	}
	return "[" + strings.Join(all, ", ") + "]"
}
