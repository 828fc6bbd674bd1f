package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Generous on purpose: the tests run beside every other package's on few cores,
// and the programs under the race detector.
const limit = 60 * time.Second

func binary(t *testing.T, name string) string {
	t.Helper()
	return meshtest.Checked.Binary(t, name)
}

func TestMain(m *testing.M) {
	code := m.Run()
	meshtest.Cleanup()
	os.Exit(code)
}

// program is a running proxy or control plane.
type program struct {
	*meshtest.Program
	t *testing.T
}

func run(t *testing.T, b *meshtest.Build, name, admin string, args ...string) *program {
	t.Helper()
	command := append([]string{b.Binary(t, name)}, args...)
	return &program{meshtest.Run(t, limit, name, admin, append(command, "--admin-address", admin)...), t}
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
	p.program = run(p.t, meshtest.Checked, "controlplane", p.admin, args...)
	p.Ready("")
}

// write puts a file as editors do.
func (p *plane) write(name, text string) { p.put(filepath.Join("files", name), text) }

func (p *plane) put(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	filetest.Put(p.t, path, text)
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
func (p *plane) proxy(n node, state string, more ...string) *program {
	p.t.Helper()
	return run(p.t, meshtest.Checked, "proxy", local(redistest.Port(p.t)), append(p.args(n, state), more...)...)
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
	p.Eventually("the client to be in "+want, func() error {
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
