package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	cachev3 "github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
	"github.com/dragoman-mesh/dragoman/pkg/translate"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const planeToken = "correct-horse-battery-staple"

// startPlane runs a control plane that speaks TLS, if there is a PKI, wants a
// token, and has one document for one node.
func startPlane(t *testing.T, pki *redistest.PKI, port int, node, document string) (address string, stop func()) {
	t.Helper()
	objs, wrong := mesh.Decode("test", []byte(document))
	if err := wrong.Err(); err != nil {
		t.Fatal(err)
	}
	set, _ := translate.Translate(objs, translate.Node{Facts: mesh.NodeFacts{Flag: "dev"}}, nil)
	snap, err := cachev3.NewSnapshot("1", map[string][]types.Resource{
		resource.ListenerType: generic(set.Listeners), resource.ClusterType: generic(set.Clusters),
	})
	if err != nil {
		t.Fatal(err)
	}
	cache := cachev3.NewSnapshotCache(false, cachev3.IDHash{}, nil)
	if err := cache.SetSnapshot(t.Context(), node, snap); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", local(port))
	if err != nil {
		t.Fatal(err)
	}
	options := []grpc.ServerOption{grpc.StreamInterceptor(wantToken)}
	if pki != nil {
		cfg := &tls.Config{Certificates: pki.ServerConfig().Certificates, MinVersion: tls.VersionTLS12}
		options = append(options, grpc.Creds(credentials.NewTLS(cfg)))
	}
	s := grpc.NewServer(options...)
	ctx, cancel := context.WithCancel(context.Background())
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s, serverv3.NewServer(ctx, cache, nil))
	go func() { _ = s.Serve(ln) }() // until stop
	stop = func() {
		cancel()
		s.Stop()
	}
	t.Cleanup(stop)
	return ln.Addr().String(), stop
}

func generic[P proto.Message](list []P) []types.Resource {
	out := make([]types.Resource, len(list))
	for i, p := range list {
		out[i] = p
	}
	return out
}

func wantToken(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	md, _ := metadata.FromIncomingContext(stream.Context())
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+planeToken {
		return status.Error(codes.Unauthenticated, "no or another token")
	}
	return next(srv, stream)
}

// documentedBootstrap is the example of the README.
func documentedBootstrap(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range fence.FindAllStringSubmatch(string(text), -1) {
		if block[1] == "yaml" && strings.Contains(block[2], "control-plane:") {
			return block[2]
		}
	}
	t.Fatal("there is no bootstrap in the README")
	return ""
}

// TestBootstrap runs a proxy from the documented bootstrap, with this test's
// places in it; then again with nothing but what is left on disk.
func TestBootstrap(t *testing.T) {
	t.Parallel()
	node, pki := redistest.Server(t), redistest.NewPKI(t)
	port, admin := redistest.Port(t), redistest.Port(t)
	dir := t.TempDir()
	address, stop := startPlane(t, pki, redistest.Port(t), "vm-1.shop", document(port, node.Addr()))
	boot := strings.NewReplacer(
		"controlplane-a.example:15010", local(redistest.Port(t)), // nobody is there
		"controlplane-b.example:15010", address,
		"/etc/dragoman/ca.crt", pki.CAFile,
		"/etc/dragoman/token", write(t, "token", planeToken+"\n"),
		"/var/lib/dragoman", filepath.Join(dir, "state"),
	).Replace(documentedBootstrap(t))
	file := write(t, "boot.yaml", boot)
	args := []string{"run", "--config", file, "--admin-address", local(admin), "--config-wait", "200ms"}
	for _, again := range []bool{false, true} {
		p := begin(t, nil, args...)
		if code, out, errs := finish(t, nil, "wait", "--admin-address", local(admin)); code != 0 {
			t.Fatalf("wait: %d %s%s", code, out, errs)
		}
		app := redistest.Dial(t, local(port))
		if got := app.Do("PING"); got != "+PONG\r\n" {
			t.Errorf("got %q", got)
		}
		app.Close()
		code, out, _ := finish(t, nil, "status", "--admin-address", local(admin))
		want := []string{"ready, configuration ", "control plane " + address + ": connected for ", "Listener default/cache: running, version ", "1 of 1 endpoints healthy"}
		if again {
			want = []string{"ready, configuration ", "control plane: unreachable for ", "configuration from disk", "connection refused"}
		}
		for _, text := range want {
			if code != 0 || !strings.Contains(out, text) {
				t.Errorf("status: %d, %q is missing in\n%s", code, text, out)
			}
		}
		if strings.Contains(p.text(), planeToken) {
			t.Error("the token is in the log")
		}
		stop()
		p.signal(syscall.SIGTERM)
		if code := p.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}

// TestWrongToken: who is not let in goes on asking, and says why it is not ready.
func TestWrongToken(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	port, admin := redistest.Port(t), redistest.Port(t)
	address, _ := startPlane(t, pki, redistest.Port(t), "vm-1", document(port, "127.0.0.1:1"))
	token := write(t, "token", "another")
	p := begin(t, nil, "run", "--control-plane", address, "--control-plane-ca", pki.CAFile, "--token-file", token,
		"--node-id", "vm-1", "--admin-address", local(admin))
	p.prints("no or another token")
	code, _, errs := finish(t, nil, "wait", "--admin-address", local(admin), "--timeout", "2s")
	if code != 75 || !strings.Contains(errs, "no or another token") {
		t.Errorf("wait: %d %s", code, errs)
	}
	code, out, _ := finish(t, nil, "status", "--admin-address", local(admin))
	if code != 75 || !strings.Contains(out, "control plane: unreachable for ") {
		t.Errorf("status: %d %s", code, out)
	}
	// The file is read for the next stream.
	if err := os.WriteFile(token, []byte(planeToken), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := finish(t, nil, "wait", "--admin-address", local(admin)); code != 0 {
		t.Errorf("wait with the right token: %d %s", code, errs)
	}
}

// TestPlainText is for a control plane on this host.
func TestPlainText(t *testing.T) {
	t.Parallel()
	port, admin := redistest.Port(t), redistest.Port(t)
	address, _ := startPlane(t, nil, redistest.Port(t), "vm-1", document(port, "127.0.0.1:1"))
	_, number, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	begin(t, []string{"DRAGOMAN_CONTROL_PLANE=" + address + ",localhost:" + number}, "run", "--control-plane-tls", "off",
		"--token-file", write(t, "token", planeToken), "--node-id", "vm-1", "--admin-address", local(admin))
	if code, _, errs := finish(t, nil, "wait", "--admin-address", local(admin)); code != 0 {
		t.Errorf("wait: %d %s", code, errs)
	}
}

// TestNothingForIt: a proxy that gets nothing is ready, and says so.
func TestNothingForIt(t *testing.T) {
	t.Parallel()
	admin := redistest.Port(t)
	address, _ := startPlane(t, nil, redistest.Port(t), "vm-1", "# no document\n")
	begin(t, nil, "run", "--control-plane", address, "--control-plane-tls", "off",
		"--token-file", write(t, "token", planeToken), "--node-id", "vm-1", "--admin-address", local(admin))
	if code, _, errs := finish(t, nil, "wait", "--admin-address", local(admin)); code != 0 {
		t.Errorf("wait: %d %s", code, errs)
	}
	if code, out, _ := finish(t, nil, "status", "--admin-address", local(admin)); code != 0 || !strings.Contains(out, "no listener: the control plane has nothing for this proxy") {
		t.Errorf("status: %d %s", code, out)
	}
}

func TestControlPlaneUsage(t *testing.T) {
	t.Parallel()
	good := write(t, "mesh.yaml", document(redistest.Port(t), "127.0.0.1:1"))
	notDir := write(t, "file", "")
	const addr = "127.0.0.1:1"
	cases := []struct {
		name string
		env  []string
		args []string
		want string
	}{
		{"documents too", nil, []string{"--control-plane", addr, "-f", good}, "--file and --control-plane exclude each other"},
		{"documents by variable", []string{"DRAGOMAN_FILE=" + good}, []string{"--control-plane", addr}, "--file and --control-plane exclude each other"},
		{"environment", nil, []string{"--control-plane", addr, "--environment", "dev"}, "--environment and --control-plane exclude each other"},
		{"variables", []string{"DRAGOMAN_ENVIRONMENT=dev", "DRAGOMAN_CONTROL_PLANE=" + addr}, nil, "--environment and --control-plane exclude each other"},
		{"no port", nil, []string{"--control-plane", "controlplane"}, `--control-plane "controlplane": want host:port`},
		{"one of two", nil, []string{"--control-plane", addr + ",b"}, `--control-plane "b": want host:port`},
		{"plain text elsewhere", nil, []string{"--control-plane", "10.0.0.1:15010", "--control-plane-tls", "off"}, "is not on this host"},
		{"plain text by name", nil, []string{"--control-plane", "example:15010", "--control-plane-tls", "off"}, "is not on this host"},
		{"tls", nil, []string{"--control-plane", addr, "--control-plane-tls", "maybe"}, "--control-plane-tls"},
		{"certificate without key", nil, []string{"--control-plane", addr, "--control-plane-cert", "x"}, "give both or none"},
		{"protocol", nil, []string{"--control-plane", addr, "--control-plane-protocol", "rest"}, "--control-plane-protocol"},
		{"wait", nil, []string{"--control-plane", addr, "--config-wait", "3"}, "--config-wait"},
		{"state", nil, []string{"--control-plane", addr, "--state-dir", filepath.Join(notDir, "x")}, "--state-dir"},
		{"nothing", nil, nil, "or a control plane with --control-plane"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"run", "--admin-address", "off"}, tc.args...)
			code, _, errs := finish(t, tc.env, args...)
			if code != 64 || !strings.Contains(errs, tc.want) {
				t.Errorf("exit code %d, want 64, with %q in\n%s", code, tc.want, errs)
			}
		})
	}
}

// TestNodeID: a pod is called by its name and namespace.
func TestNodeID(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		want string
		env  []string
		args []string
	}{
		{"web-1.shop", []string{"POD_NAME=web-1", "POD_NAMESPACE=shop"}, nil},
		{"mine", []string{"POD_NAME=web-1", "POD_NAMESPACE=shop"}, []string{"--node-id", "mine"}},
		{"theirs", []string{"POD_NAME=web-1", "POD_NAMESPACE=shop", "DRAGOMAN_NODE_ID=theirs"}, nil},
		{host, nil, nil},
	} {
		t.Run(fmt.Sprint(tc.want, len(tc.args)), func(t *testing.T) {
			t.Parallel()
			port, admin := redistest.Port(t), redistest.Port(t)
			address, _ := startPlane(t, pki, redistest.Port(t), tc.want, document(port, "127.0.0.1:1"))
			args := append([]string{
				"run", "--control-plane", address, "--control-plane-ca", pki.CAFile,
				"--control-plane-name", "localhost", "--admin-address", local(admin),
			}, tc.args...)
			begin(t, append(tc.env, "DRAGOMAN_TOKEN_FILE="+write(t, "token", planeToken)), args...)
			if code, _, errs := finish(t, nil, "wait", "--admin-address", local(admin)); code != 0 {
				t.Errorf("the node did not get its configuration: %d %s", code, errs)
			}
		})
	}
}
