package mesh

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Generous on purpose: the tests run beside every other package's on few cores,
// and the programs under the race detector.
const limit = 60 * time.Second

// builds are the programs under test, built once for the whole test binary: with
// the race detector, and as they are delivered.
var (
	checked   = builds{args: []string{"-race", "./cmd/proxy", "./cmd/controlplane"}}
	delivered = builds{env: []string{"CGO_ENABLED=0"}, args: []string{"-trimpath", "-tags", "grpcnotrace", "./cmd/proxy"}}
)

type builds struct {
	env, args []string

	once sync.Once
	dir  string
	err  error
}

func binary(t *testing.T, name string) string {
	t.Helper()
	return checked.binary(t, name)
}

func (b *builds) binary(t *testing.T, name string) string {
	t.Helper()
	b.once.Do(func() { b.dir, b.err = b.build() })
	if b.err != nil {
		t.Fatal(b.err)
	}
	return filepath.Join(b.dir, name)
}

func (b *builds) build() (dir string, err error) {
	if dir, err = os.MkdirTemp("", "mesh"); err != nil {
		return "", err
	}
	cmd := exec.Command("go", append([]string{"build", "-o", dir}, b.args...)...)
	cmd.Dir, cmd.Env = filepath.Join("..", ".."), append(os.Environ(), b.env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%v: %w\n%s", cmd, err, out)
	}
	return dir, nil
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, b := range []*builds{&checked, &delivered} {
		if b.dir != "" {
			_ = os.RemoveAll(b.dir)
		}
	}
	os.Exit(code)
}

// program is a running proxy or control plane.
type program struct {
	*redistest.Process
	t     *testing.T
	name  string
	admin string
}

func run(t *testing.T, b *builds, name, admin string, args ...string) *program {
	t.Helper()
	args = append(args, "--admin-address", admin)
	p := &program{Process: redistest.Run(t, b.binary(t, name), args...), t: t, name: name, admin: admin}
	t.Cleanup(p.stop)
	return p
}

// stop tells the program to end, which it has to do well, unless it is gone.
func (p *program) stop() {
	p.t.Helper()
	select {
	case <-p.Done():
	default:
		if err := p.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			p.t.Errorf("stopping the %s: %v", p.name, err)
		}
		select {
		case <-p.Done():
			if code := p.ExitCode(); code != 0 {
				p.t.Errorf("exit code of the %s: %d", p.name, code)
			}
		case <-time.After(limit):
			p.t.Errorf("the %s does not end", p.name)
		}
	}
	if bytes.Contains(p.Output(), []byte("WARNING: DATA RACE")) {
		p.t.Errorf("data race in the %s:\n%s", p.name, p.Output())
	}
}

// get asks the admin server.
func (p *program) get(path string) (int, string) {
	ctx, cancel := context.WithTimeout(p.t.Context(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// shows waits until an admin page has a text.
func (p *program) shows(path, text string) {
	p.t.Helper()
	p.eventually(path+" to show "+text, func() error {
		if _, body := p.get(path); !strings.Contains(body, text) {
			return fmt.Errorf("%s", body)
		}
		return nil
	})
}

// eventually is redistest's, for as long as the program runs.
func (p *program) eventually(what string, check func() error) {
	p.t.Helper()
	redistest.Eventually(p.t, limit, what, func() error {
		select {
		case <-p.Done():
			p.t.Fatalf("the %s ended with exit code %d:\n%s", p.name, p.ExitCode(), p.Output())
		default:
		}
		return check()
	})
}

// ready waits for /ready, whose body has to have a text.
func (p *program) ready(text string) {
	p.t.Helper()
	p.eventually("the "+p.name+" to be ready", func() error {
		if code, body := p.get("/ready"); code != http.StatusOK || !strings.Contains(body, text) {
			return fmt.Errorf("%d %s", code, body)
		}
		return nil
	})
}

// says runs a command of a program to its end.
func says(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, binary(t, name), args...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

// plane is a control plane and what it reads. It keeps its address and its
// authority when it is started again.
type plane struct {
	*program
	t              *testing.T
	dir            string
	address, admin string
	flags          []string // beside the usual ones
}

func local(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// startPlane runs a control plane on a folder of files. Every proxy has a token
// that is made of its name.
func startPlane(t *testing.T, files map[string]string, nodes ...node) *plane {
	t.Helper()
	p := newPlane(t)
	for name, text := range files {
		p.write(name, text)
	}
	p.nodes(nodes...)
	p.start()
	return p
}

func newPlane(t *testing.T) *plane {
	t.Helper()
	return &plane{t: t, dir: t.TempDir(), address: local(redistest.Port(t)), admin: local(redistest.Port(t))}
}

func (p *plane) start() {
	p.t.Helper()
	args := append([]string{
		"run", "-f", filepath.Join(p.dir, "files"),
		"--nodes-file", filepath.Join(p.dir, "nodes.yaml"), "--trust-dir", filepath.Join(p.dir, "trust"),
		"--xds-address", p.address, "--drain-timeout", "1s",
	}, p.flags...)
	p.program = run(p.t, &checked, "controlplane", p.admin, args...)
	p.ready("")
}

// write puts a file as editors do.
func (p *plane) write(name, text string) { p.put(filepath.Join("files", name), text) }

func (p *plane) put(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	next := filepath.Join(p.dir, "next")
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		p.t.Fatal(err)
	}
}

// node is a proxy outside Kubernetes.
type node struct{ namespace, name, environment string }

func (n node) token() string { return "the token of " + n.namespace + "/" + n.name }

func (p *plane) nodes(list ...node) {
	text := "nodes:\n"
	for _, n := range list {
		text += fmt.Sprintf("- {name: %s, namespace: %s, token: %q, labels: {app: web}", n.name, n.namespace, n.token())
		if n.environment != "" {
			text += ", environment: " + n.environment
		}
		text += "}\n"
	}
	p.put("nodes.yaml", text)
}

// proxy runs a proxy of the plane, with its state in a folder.
func (p *plane) proxy(n node, state string) *program {
	p.t.Helper()
	return run(p.t, &checked, "proxy", local(redistest.Port(p.t)), p.args(n, state)...)
}

func (p *plane) args(n node, state string) []string {
	p.t.Helper()
	token := "token-" + n.namespace + "-" + n.name
	p.put(token, n.token()+"\n")
	return []string{
		"run", "--control-plane", p.address, "--control-plane-ca", filepath.Join(p.dir, "trust", "ca.crt"),
		"--token-file", filepath.Join(p.dir, token), "--node-id", n.name + "." + n.namespace,
		"--state-dir", state, "--config-wait", "1s", "--drain-timeout", "1s",
	}
}

// seen is what `controlplane proxies` says of one proxy.
type seen struct {
	Identity, State string
	raw             string
}

func (p *plane) proxies() map[string]seen {
	p.t.Helper()
	var list []json.RawMessage
	out := says(p.t, "controlplane", "proxies", "--admin-address", p.admin, "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		p.t.Fatalf("%v:\n%s", err, out)
	}
	found := map[string]seen{}
	for _, raw := range list {
		s := seen{raw: string(raw)}
		if err := json.Unmarshal(raw, &s); err != nil {
			p.t.Fatal(err)
		}
		found[s.Identity] = s
	}
	return found
}

// bulk is a Redis reply.
func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// world is a Redis with a key that says which one it is.
func world(t *testing.T, name string, o ...redistest.Option) *redistest.Node {
	t.Helper()
	n := redistest.Server(t, o...)
	n.Do("SET", "where", name)
	return n
}

// asks waits until a client is told where it is. The client must stay
// connected all the time.
func asks(p *program, c *redistest.Client, want string) {
	p.t.Helper()
	p.eventually("the client to be in "+want, func() error {
		got, err := c.TryDo("GET", "where")
		if err != nil {
			p.t.Fatalf("the client was dropped: %v", err)
		}
		if got != bulk(want) {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

// cache is an Ambassador for one Service in each environment.
func cache(port int, rest ...string) string {
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  protocol: redis
  listen: {port: %d}
  environments:
    dev: {service: {name: redis-dev, port: 6379}}
    prod: {service: {name: redis-prod, port: 6379}}
  defaultEnvironment: dev
  %s
`, port, strings.Join(rest, "\n  "))
}

// service is a Service with one Redis.
func service(namespace, name string, node *redistest.Node) string {
	return serviceOf(namespace, name, 6379, node.Port())
}

// serviceOf is a Service with one endpoint, which listens on a port of this
// machine.
func serviceOf(namespace, name string, port, target int) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec: {ports: [{name: main, port: %[3]d}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s-1, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: main, port: %[4]d}]
endpoints: [{addresses: ["127.0.0.1"], conditions: {ready: true}}]
`, namespace, name, port, target)
}
