package mesh

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

var web = node{namespace: "shop", name: "web-1"}

// TestEndpointsMove edits an EndpointSlice: traffic of a client that stays
// connected moves to another server. A proxy of another namespace gets nothing.
func TestEndpointsMove(t *testing.T) {
	t.Parallel()
	dev, prod, other := world(t, "dev"), world(t, "prod"), world(t, "other")
	port := redistest.Port(t)
	stranger := node{namespace: "bank", name: "web-1"}
	p := startPlane(t, map[string]string{
		"cache.yaml": cache(port), "dev.yaml": service("shop", "redis-dev", dev), "prod.yaml": service("shop", "redis-prod", prod),
	}, web, stranger)
	proxy, nobody := p.proxy(web, t.TempDir()), p.proxy(stranger, t.TempDir())
	proxy.Ready("LIVE")
	client := redistest.Dial(t, local(port))
	asks(proxy, client, "dev")

	p.write("dev.yaml", service("shop", "redis-dev", other))
	asks(proxy, client, "other")
	proxy.Shows("/clusters", other.Addr())

	nobody.Ready("LIVE")
	for _, path := range []string{"/listeners", "/clusters"} {
		if _, body := nobody.Get(path); body != "" {
			t.Errorf("%s of another namespace's proxy: %s", path, body)
		}
	}
	p.Eventually("both proxies to be in sync", func() error {
		list := p.proxies()
		for _, id := range []string{"shop/web-1", "bank/web-1"} {
			if list[id].State != "synced" {
				return fmt.Errorf("%v", list)
			}
		}
		return nil
	})
}

// TestAway kills the control plane: nothing ends. A proxy that starts meanwhile
// runs from disk, and both catch up with what was missed.
func TestAway(t *testing.T) {
	t.Parallel()
	dev, other := world(t, "dev"), world(t, "other")
	port := redistest.Port(t)
	p := startPlane(t, map[string]string{
		"cache.yaml": cache(port), "dev.yaml": service("shop", "redis-dev", dev), "prod.yaml": service("shop", "redis-prod", dev),
	}, web)
	state := filepath.Join(t.TempDir(), "state")
	proxy := p.proxy(web, state)
	proxy.Ready("LIVE")
	client := redistest.Dial(t, local(port))
	asks(proxy, client, "dev")

	p.Kill()
	proxy.Ready("control plane unreachable since")
	asks(proxy, client, "dev")
	p.write("dev.yaml", service("shop", "redis-dev", other))
	p.start()
	asks(proxy, client, "other")
	proxy.Eventually("/ready to have nothing to say", func() error {
		if _, body := proxy.Get("/ready"); body != "LIVE\n" {
			return fmt.Errorf("%s", body)
		}
		return nil
	})

	p.Kill()
	client.Close()
	proxy.Stop()
	proxy = p.proxy(web, state)
	proxy.Ready("configuration from disk, control plane unreachable since")
	proxy.Shows("/metrics", "dragoman_xds_from_disk 1")
	client = redistest.Dial(t, local(port))
	asks(proxy, client, "other")
	if out := says(t, "proxy", "status", "--admin-address", proxy.Admin); !strings.Contains(out, "configuration from disk") {
		t.Errorf("status: %s", out)
	}
	p.write("dev.yaml", service("shop", "redis-dev", dev))
	p.start()
	asks(proxy, client, "dev")
	proxy.Shows("/metrics", "dragoman_xds_from_disk 0")
}

// TestRefused moves a listener to a port that somebody else has: it stays where
// it is, and the control plane knows why.
func TestRefused(t *testing.T) {
	t.Parallel()
	dev, other := world(t, "dev"), world(t, "other")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port, bad := redistest.Port(t), taken.Addr().(*net.TCPAddr).Port
	p := startPlane(t, map[string]string{
		"cache.yaml": cache(port), "dev.yaml": service("shop", "redis-dev", dev), "prod.yaml": service("shop", "redis-prod", dev),
	}, web)
	proxy := p.proxy(web, t.TempDir())
	proxy.Ready("LIVE")
	client := redistest.Dial(t, local(port))
	asks(proxy, client, "dev")

	p.write("cache.yaml", cache(bad))
	p.Eventually("the control plane to know of the refusal", func() error {
		s := p.proxies()["shop/web-1"]
		for _, want := range []string{"shop/cache", "address already in use"} {
			if !strings.Contains(s.raw, want) {
				return fmt.Errorf("no %q in %s", want, s.raw)
			}
		}
		return nil
	})
	if out := says(t, "controlplane", "proxies", "--admin-address", p.admin); !strings.Contains(out, "address already in use") {
		t.Errorf("the table does not say why:\n%s", out)
	}
	if out := says(t, "proxy", "status", "--admin-address", proxy.Admin); !strings.Contains(out, "Listener shop/cache: refused, version ") {
		t.Errorf("status:\n%s", out)
	}
	// What else changes is taken.
	p.write("dev.yaml", service("shop", "redis-dev", other))
	asks(proxy, client, "other")
	asks(proxy, redistest.Dial(t, local(port)), "other")

	_ = taken.Close()
	proxy.Shows("/listeners", "shop/cache::"+local(bad))
	asks(proxy, redistest.Dial(t, local(bad)), "other")
	p.Eventually("the refusal to be forgotten", func() error {
		if s := p.proxies()["shop/web-1"]; s.State != "synced" {
			return fmt.Errorf("%s", s.raw)
		}
		return nil
	})
}

// TestSecretRotates gives a server another password, then the mesh: the next
// connection uses it, and the client notices nothing.
func TestSecretRotates(t *testing.T) {
	t.Parallel()
	dev := world(t, "dev", redistest.WithPassword("first-password"))
	port := redistest.Port(t)
	secret := func(password string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: redis, namespace: shop}\nstringData: {password: %q}\n", password)
	}
	document := strings.ReplaceAll(cache(port), "port: 6379}}", "port: 6379}, credentials: {secret: {name: redis}}}")
	p := startPlane(t, map[string]string{
		"cache.yaml": document, "secret.yaml": secret("first-password"),
		"dev.yaml": service("shop", "redis-dev", dev), "prod.yaml": service("shop", "redis-prod", dev),
	}, web)
	state := t.TempDir()
	proxy := p.proxy(web, state)
	proxy.Ready("LIVE")
	client := redistest.Dial(t, local(port))
	asks(proxy, client, "dev")

	admin := dev.Client()
	admin.Do("CONFIG", "SET", "requirepass", "second-password")
	p.write("secret.yaml", secret("second-password"))
	proxy.Eventually("the new secret to arrive", func() error {
		admin.Do("CLIENT", "KILL", "TYPE", "normal")
		got, err := client.TryDo("GET", "where")
		if err != nil {
			t.Fatalf("the client was dropped: %v", err)
		}
		if got != bulk("dev") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	for _, what := range []*program{proxy, p.program} {
		_, dump := what.Get("/config_dump")
		if text := dump + string(what.Output()); strings.Contains(text, "first-password") || strings.Contains(text, "second-password") {
			t.Errorf("the %s shows a password", what.Name)
		}
	}
}

// TestEnvironment: the namespace becomes prod, and a client that stays connected
// finds itself there.
func TestEnvironment(t *testing.T) {
	t.Parallel()
	dev, prod := world(t, "dev"), world(t, "prod")
	port := redistest.Port(t)
	namespace := func(environment string) string {
		return fmt.Sprintf("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {mesh.dragoman.io/environment: %s}}\n", environment)
	}
	p := startPlane(t, map[string]string{
		"cache.yaml": cache(port), "namespace.yaml": namespace("dev"),
		"dev.yaml": service("shop", "redis-dev", dev), "prod.yaml": service("shop", "redis-prod", prod),
	}, web)
	proxy := p.proxy(web, t.TempDir())
	proxy.Ready("LIVE")
	client := redistest.Dial(t, local(port))
	asks(proxy, client, "dev")
	p.write("namespace.yaml", namespace("prod"))
	asks(proxy, client, "prod")
	proxy.Shows("/listeners?format=json", `"environment": "prod"`)
	if out := says(t, "controlplane", "proxies", "--admin-address", p.admin); !strings.Contains(out, "prod") {
		t.Errorf("the control plane does not show the environment:\n%s", out)
	}
}

// TestClientCertificate: a proxy may show a certificate instead of a token; with
// neither, or another one, it gets nothing.
func TestClientCertificate(t *testing.T) {
	t.Parallel()
	dev := world(t, "dev")
	port := redistest.Port(t)
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	p := newPlane(t)
	p.flags = []string{"--client-ca-file", pki.CAFile}
	p.write("cache.yaml", cache(port))
	p.write("dev.yaml", service("shop", "redis-dev", dev)+"---\n"+service("shop", "redis-prod", dev))
	p.put("nodes.yaml", "nodes: [{name: web-1, namespace: shop, commonName: web-1.example, labels: {app: web}}]\n")
	p.start()
	proxy := func(args ...string) *program {
		all := append([]string{
			"run", "--control-plane", p.address, "--control-plane-ca", filepath.Join(p.dir, "trust", "ca.crt"), "--drain-timeout", "1s",
		}, args...)
		return run(t, meshtest.Checked, "proxy", local(redistest.Port(t)), all...)
	}
	show := func(cert, key string) []string {
		return []string{"--control-plane-cert", cert, "--control-plane-key", key}
	}
	for name, args := range map[string][]string{
		"nothing":                 nil,
		"another name":            show(pki.Issue("web-2.example")),
		"of an unknown authority": show(other.Issue("web-1.example")),
	} {
		refused := proxy(args...)
		refused.Eventually(name+" to be refused", func() error {
			if code, body := refused.Get("/ready"); code != 503 || !strings.Contains(body, "no control plane has answered: ") {
				return fmt.Errorf("%d %s", code, body)
			}
			return nil
		})
		if strings.Contains(string(refused.Output()), "configuration accepted") {
			t.Errorf("%s: the proxy has a configuration", name)
		}
	}
	proxy(show(pki.Issue("web-1.example"))...).Ready("LIVE")
	if got := redistest.Dial(t, local(port)).Do("GET", "where"); got != bulk("dev") {
		t.Errorf("got %q", got)
	}
}
