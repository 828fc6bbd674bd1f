package controlplane_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/dragoman-mesh/dragoman/internal/adstest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/controlplane/engine"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestMain(m *testing.M) {
	code := m.Run()
	meshtest.Cleanup()
	os.Exit(code)
}

const limit = 60 * time.Second

const cache = `
apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: cache, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  protocol: redis
  listen: {port: 6380}
  environments:
    dev:  {service: {name: redis, port: 6379}}
    prod: {service: {name: redis, port: 6379}, credentials: {secret: {name: redis}}}
  defaultEnvironment: dev
---
apiVersion: v1
kind: Secret
metadata: {name: redis, namespace: shop}
stringData: {password: "open sesame, please"}
---
apiVersion: v1
kind: Service
metadata: {name: redis, namespace: shop}
spec: {clusterIP: None, ports: [{port: 6379}]}
`

// endpoints is a document with an endpoint for each port.
func endpoints(ports ...int) string {
	var b strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&b, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: redis-%d, namespace: shop, labels: {kubernetes.io/service-name: redis}}
addressType: IPv4
ports: [{port: %d}]
endpoints: [{addresses: [127.0.0.1]}]
`, port, port)
	}
	return b.String()
}

const (
	webToken  = "the-token-of-web-0"
	bankToken = "the-token-of-teller-0"
	oldToken  = "the-token-of-yesterday"
)

const nodes = `
nodes:
- {name: web-0, namespace: shop, token: ` + webToken + `, labels: {app: web}}
- {name: web-1, namespace: shop, token: the-token-of-web-1, labels: {app: web}, environment: prod}
- {name: teller-0, namespace: bank, token: ` + bankToken + `, labels: {app: web}}
- {name: old-0, namespace: shop, token: ` + oldToken + `, labels: {app: web}, expires: 2020-01-01T00:00:00Z}
- {name: vm-0, namespace: shop, commonName: vm-0, labels: {app: web}}
`

// setup is a running control plane of files that a test may change.
type setup struct {
	*meshtest.ControlPlane
	t         *testing.T
	documents string // file
	nodes     string // file
	trust     string // folder
}

func start(t *testing.T, args ...string) *setup {
	t.Helper()
	dir := t.TempDir()
	s := &setup{
		t: t, documents: filepath.Join(dir, "documents", "shop.yaml"), nodes: filepath.Join(dir, "nodes.yaml"),
		trust: filepath.Join(dir, "trust"),
	}
	if err := os.Mkdir(filepath.Dir(s.documents), 0o700); err != nil {
		t.Fatal(err)
	}
	filetest.Put(s.t, s.documents, cache+endpoints(7001))
	filetest.Put(s.t, s.nodes, nodes)
	all := append([]string{"-f", filepath.Dir(s.documents), "--nodes-file", s.nodes, "--drain-timeout", "1s"}, args...)
	s.ControlPlane = meshtest.StartControlPlane(t, s.trust, all...)
	return s
}

func (s *setup) options(token string) adstest.Options {
	return adstest.Options{CA: s.CA, Token: token, Node: "web-0.shop"}
}

func (s *setup) dial(token string) *adstest.Client {
	return adstest.Dial(s.t, s.XDS, s.options(token))
}

// ends opens a stream, and gives what it ends with.
func (s *setup) ends(o adstest.Options) error {
	s.t.Helper()
	conn, err := adstest.Connect(s.XDS, o)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	c, err := adstest.Open(s.t, conn, o)
	if err != nil {
		return err
	}
	c.Subscribe(resource.ListenerType)
	return c.AwaitEnd()
}

func (s *setup) shows(path, text string) {
	s.t.Helper()
	redistest.Eventually(s.t, limit, path+" to show it", func() error {
		_, body, err := s.Get(path)
		if err == nil && !strings.Contains(body, text) {
			err = fmt.Errorf("%s has no %q:\n%s", path, text, body)
		}
		return err
	})
}

func ports(a *endpointv3.ClusterLoadAssignment) string {
	var out []string
	for _, l := range a.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			out = append(out, fmt.Sprint(e.GetEndpoint().GetAddress().GetSocketAddress().GetPortValue()))
		}
	}
	return strings.Join(out, ",")
}

// TestDocumentsReachAStream: a change of a document does, one that is refused
// leaves all as it was and is shown, and a token's labels count anew when they
// change.
func TestDocumentsReachAStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.dial(webToken)
	c.Subscribe(resource.ListenerType)
	c.Subscribe(resource.EndpointType, "shop/cache/dev")
	var a endpointv3.ClusterLoadAssignment
	var l listenerv3.Listener
	is := func(want string) func() bool { return func() bool { return ports(&a) == want } }
	c.Await(resource.ListenerType, "shop/cache", &l)
	c.AwaitWhen(resource.EndpointType, "shop/cache/dev", &a, is("7001"))

	filetest.Put(s.t, s.documents, cache+endpoints(7002))
	c.AwaitWhen(resource.EndpointType, "shop/cache/dev", &a, is("7002"))

	filetest.Put(s.t, s.documents, cache+endpoints(7003)+"\n---\nkind: Nonsense\napiVersion: v1\n")
	s.shows("/config_dump", "shop.yaml:")
	s.shows("/config_dump", `unknown kind \"Nonsense\"`)
	filetest.Put(s.t, s.documents, cache+endpoints(7004))
	c.AwaitWhen(resource.EndpointType, "shop/cache/dev", &a, func() bool {
		if ports(&a) == "7003" {
			t.Error("a change that was refused is served")
		}
		return ports(&a) == "7004"
	})

	filetest.Put(s.t, s.nodes, strings.Replace(nodes, "labels: {app: web}}", "labels: {app: web}, environment: prod}", 1))
	c.Subscribe(resource.SecretType, "shop/redis")
	var secret tlsv3.Secret
	c.Await(resource.SecretType, "shop/redis", &secret)
	if _, body, err := s.Get("/config_dump"); err != nil || strings.Contains(body, "sesame") || !strings.Contains(body, "[redacted]") {
		t.Errorf("/config_dump: %v, or it shows a password, or no secret at all", err)
	}
	if log := string(s.Output()); strings.Contains(log, "sesame") || strings.Contains(log, webToken) {
		t.Error("the log holds a secret")
	}
	s.shows("/metrics", "dragoman_xds_server_convergence_seconds_count")
}

// TestStrangersAreRefused: nobody gets in by a wrong, an expired or no token, nor
// over plain text; what a node says of itself does not matter.
func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	for name, token := range map[string]string{"unknown_token": "a-token-that-nobody-has", "expired_token": oldToken, "no_credentials": ""} {
		c := s.dial(token)
		c.Subscribe(resource.ListenerType)
		if err := c.AwaitEnd(); status.Code(err) != codes.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
		s.shows("/metrics", fmt.Sprintf(`dragoman_controlplane_refused_credentials_total{reason=%q} 1`, name))
	}
	if err := s.ends(adstest.Options{Token: webToken}); status.Code(err) != codes.Unavailable {
		t.Errorf("in plain text: %v", err)
	}

	liar := s.dial(bankToken) // it says that it is web-0.shop
	liar.Subscribe(resource.ListenerType)
	liar.Subscribe(resource.SecretType, "shop/redis")
	liar.Subscribe(resource.ListenerType, "shop/cache")
	liar.AwaitGone(resource.SecretType, "shop/redis")
	liar.AwaitGone(resource.ListenerType, "shop/cache")
	s.shows("/metrics", `dragoman_xds_server_refused_total{reason="not_granted"} 2`)
	s.shows("/proxies", `"identity": "bank/teller-0"`)
}

// TestExpiryEndsTheStream: a token's end ends what it opened, and it opens
// nothing more.
func TestExpiryEndsTheStream(t *testing.T) {
	t.Parallel()
	s := start(t)
	soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
	filetest.Put(s.t, s.nodes, strings.Replace(nodes, "2020-01-01T00:00:00Z", soon, 1))
	conn, err := adstest.Connect(s.XDS, s.options(oldToken))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	var c *adstest.Client
	redistest.Eventually(t, limit, "the new expiry to count", func() error {
		if c, err = adstest.Open(t, conn, s.options(oldToken)); err != nil {
			return err
		}
		c.Subscribe(resource.ListenerType)
		if _, body, err := s.Get("/proxies"); err != nil || !strings.Contains(body, "shop/old-0") {
			return fmt.Errorf("not connected: %w", err)
		}
		return nil
	})
	if err := c.AwaitEnd(); status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "expired") {
		t.Errorf("the stream ended with %v", err)
	}
	replay, err := adstest.Open(t, conn, s.options(oldToken))
	if err != nil {
		t.Fatal(err)
	}
	replay.Subscribe(resource.ListenerType)
	if err := replay.AwaitEnd(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("the replay ended with %v", err)
	}
}

// TestProxiesCommand: what people see of a proxy that is in step, and of one that
// refuses.
func TestProxiesCommand(t *testing.T) {
	t.Parallel()
	s := start(t)
	good := s.dial(webToken)
	good.Subscribe(resource.ListenerType)
	var l listenerv3.Listener
	good.Await(resource.ListenerType, "shop/cache", &l)
	o := s.options("the-token-of-web-1")
	o.Refuse = func(*discoveryv3.DeltaDiscoveryResponse) string {
		return `Listener "shop/cache": address: port 6380 is taken`
	}
	adstest.Dial(t, s.XDS, o).Subscribe(resource.ListenerType)
	s.shows("/proxies", `"state": "nacked"`)

	table, err := exec.Command(meshtest.Binary(t, "controlplane"), "proxies", "--admin-address", s.Admin).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, table)
	}
	lines := strings.Split(string(table), "\n")
	for i, want := range [][]string{
		{"PROXY", "STATE", "ENVIRONMENT", "VERSION", "LAST", "CONTACT", "CONNECTED", "ADDRESS"},
		{"shop/web-0", "synced", "dev"},
		{"shop/web-1", "nacked", "prod"},
	} {
		got := strings.Fields(lines[i])
		if len(got) < len(want) || strings.Join(got[:len(want)], " ") != strings.Join(want, " ") {
			t.Errorf("line %d is %q", i, lines[i])
		}
	}
	if want := `shop/web-1: refused Listener shop/cache: Listener "shop/cache": address: port 6380 is taken`; lines[3] != want {
		t.Errorf("got  %s\nwant %s", lines[3], want)
	}
	text, err := exec.Command(meshtest.Binary(t, "controlplane"), "proxies", "-o", "json", "--admin-address", s.Admin).Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []engine.Proxy
	if err := json.Unmarshal(text, &list); err != nil || len(list) != 2 || list[0].State != engine.Synced || list[0].Version == list[1].Version {
		t.Errorf("%v: %s", err, text)
	}
	s.shows("/config_dump", "1 of 2 proxies refused it")
}

// TestTermination: the streams are sent elsewhere, and the process ends with 0.
func TestTermination(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.dial(webToken)
	c.Subscribe(resource.ListenerType)
	var l listenerv3.Listener
	c.Await(resource.ListenerType, "shop/cache", &l)
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := c.AwaitEnd(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ended with %v", err)
	}
	select {
	case <-s.Done():
	case <-time.After(limit):
		t.Fatal("it does not end")
	}
	if s.ExitCode() != 0 {
		t.Errorf("exit code %d:\n%s", s.ExitCode(), s.Output())
	}

	// Another process with the same folder is trusted by the same proxies.
	again := meshtest.StartControlPlane(t, s.trust, "-f", filepath.Dir(s.documents), "--nodes-file", s.nodes)
	s.XDS = again.XDS
	next := s.dial(webToken)
	next.Subscribe(resource.ListenerType)
	next.Await(resource.ListenerType, "shop/cache", &l)
}

// TestExitCodes: what cannot work is told from what may work later.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	s := start(t)
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	filetest.Put(s.t, bad, "kind: Nonsense\n")
	docs := filepath.Dir(s.documents)
	tests := []struct {
		name string
		args []string
		code int
		say  string
	}{
		{"unknown flag", []string{"run", "--nonsense"}, 64, "unknown flag"},
		{"bad documents", []string{"run", "-f", bad, "--trust-dir", t.TempDir(), "--xds-address", "127.0.0.1:0", "--admin-address", "off"}, 64, "bad.yaml:1:1: kind: unknown kind"},
		{"no trust folder", []string{"run", "-f", docs}, 64, "--trust-dir"},
		{"no cluster", []string{"run"}, 64, "kubeconfig"},
		{"port taken", []string{"run", "-f", docs, "--trust-dir", t.TempDir(), "--xds-address", s.XDS}, 75, "address already in use"},
		{"no control plane to ask", []string{"proxies", "--admin-address", "127.0.0.1:1"}, 75, "connection refused"},
		{"no documents", []string{"validate"}, 64, "-f"},
		{"unknown command", []string{"rnu"}, 64, "unknown command"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(meshtest.Binary(t, "controlplane"), tt.args...)
			cmd.Env = append(os.Environ(), "KUBERNETES_SERVICE_HOST=")
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.say) {
				t.Errorf("exit code %d, want %d:\n%s", code, tt.code, out)
			}
		})
	}
}
