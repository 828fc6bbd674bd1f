package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// wantNoSecret looks for words in everything that the proxy shows.
func wantNoSecret(t *testing.T, p *Proxy, secrets ...string) {
	t.Helper()
	pages := map[string]string{"log": string(p.Output())}
	for _, path := range []string{"/config_dump", "/clusters", "/clusters?format=json", "/listeners?format=json", "/metrics", "/stats", "/slowlog", "/hotkeys"} {
		pages[path] = p.Get(path)
	}
	for where, page := range pages {
		for _, secret := range secrets {
			if strings.Contains(page, secret) {
				t.Errorf("%s shows a secret:\n%s", where, page)
			}
		}
	}
}

// TestSecurityRotation: the servers' password is in a file, the user's name in a variable. Both passwords are good for a while, then only the
// new one is; no app notices.
func TestSecurityRotation(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithUser("admin", "admin-secret", "~* &* +@all"),
		redistest.WithUser("app", "first-secret", "~* &* +@all"), redistest.WithoutDefaultUser())
	secret := &configMap{t: t, dir: t.TempDir()}
	secret.put(map[string]string{"password": "first-secret\n"})
	m := mesh{port: redistest.Port(t), env: fmt.Sprintf("address: %q, credentials: {usernameEnv: APP_USER, passwordFile: %q}",
		node.Addr(), filepath.Join(secret.dir, "password"))}
	p := launch(t, []string{"APP_USER=app"}, "run", "-f", filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), m.YAML()), "--log-level=debug")
	p.awaitReady()
	load := startPipeliners(t, m.Addr(), 3, true)
	awaitBatches(t, load, 3)

	wantOK(t, node, "ACL", "SETUSER", "app", ">second-secret")
	secret.put(map[string]string{"password": "second-secret\n"})
	awaitBatches(t, load, 5)
	wantOK(t, node, "ACL", "SETUSER", "app", "<first-secret")
	awaitBatches(t, load, 3)
	for _, l := range load {
		l.end() // the connections that are killed now may have requests on them
	}
	wantNothingWrong(t, load, "while the password changed")
	node.Do("CLIENT", "KILL", "USER", "app")
	client := redistest.Dial(t, m.Addr())
	awaitReply(t, client, "+OK\r\n", "SET", "k", "v")
	wantReply(t, client, bulkOf("app"), "ACL", "WHOAMI")

	secret.put(map[string]string{"password": "wrong-secret\n"})
	redistest.Eventually(t, readyLimit, "the wrong password to be used", func() error {
		node.Do("CLIENT", "KILL", "USER", "app")
		if got := client.Do("GET", "k"); !strings.Contains(got, "WRONGPASS") {
			return fmt.Errorf("GET: %q", got)
		}
		return nil
	})
	wantNoSecret(t, p, "first-secret", "second-secret", "wrong-secret")
}

// TestSecurityUpstreamTLS goes through what can be demanded of a server's certificate, and how it is said that it will not do.
func TestSecurityUpstreamTLS(t *testing.T) {
	t.Parallel()
	pki, others := redistest.NewPKI(t), redistest.NewPKI(t)
	node := redistest.Server(t, redistest.WithTLS(pki))
	elsewhereCert, elsewhereKey := pki.Issue("elsewhere", "elsewhere.example.com")
	elsewhere := redistest.Server(t, redistest.WithTLS(pki))
	wantOK(t, elsewhere, "CONFIG", "SET", "tls-cert-file", elsewhereCert, "tls-key-file", elsewhereKey)
	byName := fmt.Sprintf("localhost:%d", node.Port())
	for _, tt := range []struct{ name, address, tls, want string }{
		{"verify-full by address", node.Addr(), fmt.Sprintf("mode: verify-full, caFile: %q", pki.CAFile), ""},
		{"verify-full by name", byName, fmt.Sprintf("mode: verify-full, caFile: %q", pki.CAFile), ""},
		{"verify-full of another name", elsewhere.Addr(), fmt.Sprintf("mode: verify-full, caFile: %q", pki.CAFile), "x509: "},
		{
			"verify-full of a given name", elsewhere.Addr(),
			fmt.Sprintf("mode: verify-full, caFile: %q, serverName: elsewhere.example.com", pki.CAFile), "",
		},
		{"verify-ca of another name", elsewhere.Addr(), fmt.Sprintf("mode: verify-ca, caFile: %q", pki.CAFile), ""},
		{"verify-ca of another authority", node.Addr(), fmt.Sprintf("mode: verify-ca, caFile: %q", others.CAFile), "x509: certificate signed by unknown authority"},
		{"require", node.Addr(), "mode: require", ""},
		{"default is verify-full", node.Addr(), fmt.Sprintf("caFile: %q", others.CAFile), "x509: certificate signed by unknown authority"},
		{"plain text to a TLS server", node.Addr(), "mode: disable", " "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := mesh{port: redistest.Port(t), env: fmt.Sprintf("address: %q, tls: {%s}", tt.address, tt.tls)}
			startProxy(t, m.YAML())
			got := redistest.Dial(t, m.Addr()).Do("SET", "k", "v")
			switch {
			case tt.want == "" && got != "+OK\r\n":
				t.Errorf("SET: got %q", got)
			case tt.want != "" && (got[0] != '-' || !strings.Contains(got, tt.want)):
				t.Errorf("SET: got %q, want an error with %q", got, tt.want)
			}
		})
	}
}

// TestSecurityUsers: the listener has accounts of its own, which the server knows nothing of.
func TestSecurityUsers(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	passwords := t.TempDir()
	file := filetest.Put(t, filepath.Join(passwords, "default"), "default-secret\n")
	m := mesh{port: redistest.Port(t), env: shards([]*redistest.Node{node}), redis: fmt.Sprintf(
		`users: [{name: default, passwordFile: %q}, {name: reports, passwordEnv: REPORTS, readOnly: true, commands: {deny: [keys, "config|get"]}}]`, file)}
	p := launch(t, []string{"REPORTS=reports-secret"}, "run", "-f", filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), m.YAML()))
	p.awaitReady()

	c := redistest.Dial(t, m.Addr())
	wantPrefix(t, c, "-NOAUTH ", "GET", "k")
	wantPrefix(t, c, "-NOAUTH ", "HELLO", "3")
	wantPrefix(t, c, "-WRONGPASS ", "AUTH", "guess")
	wantPrefix(t, c, "-WRONGPASS ", "AUTH", "nobody", "guess")
	wantPrefix(t, c, "-WRONGPASS ", "AUTH", "reports", "default-secret")
	wantReply(t, c, "+OK\r\n", "AUTH", "default-secret")
	wantReply(t, c, "+OK\r\n", "SET", "k", "v")
	wantReply(t, c, "+OK\r\n", "AUTH", "reports", "reports-secret")
	wantReply(t, c, bulkOf("v"), "GET", "k")
	wantPrefix(t, c, "-NOPERM ", "SET", "k", "other")
	wantPrefix(t, c, "-NOPERM ", "KEYS", "*")
	wantPrefix(t, c, "-NOPERM ", "CONFIG", "GET", "maxmemory")
	wantPrefix(t, c, "+RESET", "RESET")
	wantPrefix(t, c, "-NOAUTH ", "GET", "k")
	wantPrefix(t, c, "%", "HELLO", "3", "AUTH", "reports", "reports-secret")
	wantReply(t, c, bulkOf("v"), "GET", "k")

	for _, protocol := range []int{2, 3} {
		client := redis.NewClient(&redis.Options{Addr: m.Addr(), Username: "default", Password: "default-secret", Protocol: protocol})
		if got, err := client.Get(t.Context(), "k").Result(); got != "v" || err != nil {
			t.Errorf("go-redis with RESP%d: %q, %v", protocol, got, err)
		}
		_ = client.Close()
	}
	if got := redisCLI(t, m.Addr(), "", "--user", "reports", "--pass", "reports-secret", "--no-auth-warning", "get", "k"); got != "v\n" {
		t.Errorf("redis-cli: %q", got)
	}
	filetest.Put(t, file, "rotated-secret\n")
	fresh := redistest.Dial(t, m.Addr())
	awaitReply(t, fresh, "+OK\r\n", "AUTH", "rotated-secret")
	wantPrefix(t, fresh, "-WRONGPASS ", "AUTH", "default-secret")
	wantNoSecret(t, p, "default-secret", "reports-secret", "rotated-secret", "guess")
}

func wantPrefix(t *testing.T, c *redistest.Client, want string, command ...string) {
	t.Helper()
	if got := c.Do(command...); !strings.HasPrefix(got, want) {
		t.Errorf("%q: got %q, want %q...", command, got, want)
	}
}

// TestSecurityDownstreamTLS: the app speaks TLS and shows a certificate. New files are used for new connections.
func TestSecurityDownstreamTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	cert, key := filepath.Join(t.TempDir(), "tls.crt"), filepath.Join(t.TempDir(), "tls.key")
	install := func(certFile, keyFile string) {
		t.Helper()
		for from, to := range map[string]string{certFile: cert, keyFile: key} {
			content, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			filetest.Put(t, to, string(content))
		}
	}
	install(pki.ServerCertFile, pki.ServerKeyFile)
	port := redistest.Port(t)
	document := strings.Replace(mesh{port: port, env: shards([]*redistest.Node{redistest.Server(t)})}.YAML(), fmt.Sprintf("listen: {port: %d}", port),
		fmt.Sprintf("listen: {port: %d, tls: {certFile: %q, keyFile: %q, clientCAFile: %q, requireClientCert: true}}", port, cert, key, pki.CAFile), 1)
	startProxy(t, document)
	addr := mesh{port: port}.Addr()

	client := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: pki.ClientConfig()})
	defer client.Close()
	big := strings.Repeat("x", 1<<20)
	if err := client.Set(t.Context(), "k", big, 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := client.Get(t.Context(), "k").Result(); got != big || err != nil {
		t.Errorf("GET: %d bytes, %v", len(got), err)
	}
	got := redisCLI(t, addr, "", "--tls", "--cacert", pki.CAFile, "--cert", pki.ClientCertFile, "--key", pki.ClientKeyFile, "strlen", "k")
	if got != fmt.Sprintln(len(big)) {
		t.Errorf("redis-cli: %q", got)
	}
	stranger := pki.ClientConfig()
	stranger.Certificates = nil
	if err := tryTLS(addr, stranger); err == nil {
		t.Error("a client without a certificate got in")
	}
	plain := redistest.Dial(t, addr)
	if got, err := plain.TryDo("PING"); err == nil && got == "+PONG\r\n" {
		t.Errorf("PING in plain text: %q, %v", got, err)
	}

	install(pki.Issue("renewed", "127.0.0.1", "renewed.example.com"))
	renewed := pki.ClientConfig()
	renewed.ServerName = "renewed.example.com"
	redistest.Eventually(t, readyLimit, "the new certificate", func() error { return tryTLS(addr, renewed) })
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the old connection: %v", err)
	}
}

// tryTLS makes one request on a connection of its own.
func tryTLS(addr string, config *tls.Config) error {
	client := redis.NewClient(&redis.Options{Addr: addr, TLSConfig: config, MaxRetries: -1})
	defer client.Close()
	return client.Ping(context.Background()).Err()
}

// TestSecurityUnixSocket: its mode says who may connect; the file goes with the proxy, and one that a killed proxy left behind is in nobody's way.
func TestSecurityUnixSocket(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	dir, err := os.MkdirTemp("", "sock") //nolint:usetesting // t.TempDir may be longer than a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "cache.sock")
	document := strings.Replace(mesh{env: shards([]*redistest.Node{node})}.YAML(), "listen: {port: 0}", fmt.Sprintf("listen: {path: %q, mode: \"0640\"}", path), 1)
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), document)
	for range 2 {
		p := launch(t, nil, "run", "-f", file)
		p.awaitReady()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o640 || info.Mode().Type() != os.ModeSocket {
			t.Errorf("%s: %v, %v", path, info, err)
		}
		wantReply(t, redistest.Dial(t, path), "+OK\r\n", "SET", "k", "v")
		p.Kill()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("a killed proxy can't have removed it: %v", err)
		}
	}
	p := launch(t, nil, "run", "-f", file)
	p.awaitReady()
	if got, _ := runClient(t, "", "redis-cli", "-s", path, "get", "k"); got != "v\n" {
		t.Errorf("redis-cli -s: %q", got)
	}
	p.Stop()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket after the proxy: %v", err)
	}
}

// TestSecurityConnectionLimit: who is one too many is told so, and has a place when another leaves.
func TestSecurityConnectionLimit(t *testing.T) {
	t.Parallel()
	m := mesh{port: redistest.Port(t), spec: "limits: {maxConnections: 2}", env: shards([]*redistest.Node{redistest.Server(t)})}
	startProxy(t, m.YAML())
	first, second := redistest.Dial(t, m.Addr()), redistest.Dial(t, m.Addr())
	wantReply(t, first, "+PONG\r\n", "PING")
	wantReply(t, second, "+PONG\r\n", "PING")
	third := redistest.Dial(t, m.Addr())
	got, err := third.TryReadFrame()
	var system *net.OpError
	if !errors.Is(err, io.EOF) && !errors.As(err, &system) && !strings.HasPrefix(got, "-ERR max number of clients") {
		t.Errorf("the third client: got %q, %v", got, err)
	}
	t.Logf("the third client: got %q, %v", got, err)
	first.Close()
	redistest.Eventually(t, readyLimit, "a place", func() error { return answers(m.Addr()) })
	wantReply(t, second, "+PONG\r\n", "PING")
}
