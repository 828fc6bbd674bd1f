package mesh

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// mostIdle is what an idle proxy may keep in memory, in bytes.
const mostIdle = 20 << 20

// TestLight looks at what a proxy, built as it is delivered, keeps in memory
// once it runs and nobody wants anything of it.
func TestLight(t *testing.T) {
	t.Parallel()
	dev := world(t, "dev")
	ports := []int{redistest.Port(t), redistest.Port(t)}
	p := startPlane(t, map[string]string{
		"cache.yaml": cache(ports[0]), "dev.yaml": service("shop", "redis-dev", dev), "prod.yaml": service("shop", "redis-prod", dev),
	}, web)
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	document := fmt.Sprintf("apiVersion: mesh.dragoman.io/v1alpha1\nkind: Ambassador\nmetadata: {name: cache}\nspec:\n"+
		"  protocol: redis\n  listen: {port: %d}\n  environments: {dev: {address: %q}}\n  defaultEnvironment: dev\n", ports[1], dev.Addr())
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	for i, args := range [][]string{p.args(web, t.TempDir()), {"run", "-f", file, "--drain-timeout", "1s"}} {
		proxy := run(t, meshtest.Delivered, "proxy", local(redistest.Port(t)), args...)
		proxy.Ready("LIVE")
		client := redistest.Dial(t, local(ports[i]))
		asks(proxy, client, "dev")
		client.Close()
		peak := resident(t, proxy)
		idles(t, proxy)
		proxy.Ready("LIVE") // as a probe
		client = redistest.Dial(t, local(ports[i]))
		asks(proxy, client, "dev")
		client.Close()
		idles(t, proxy)
		t.Logf("%v: %.1f MB when it had just begun, %.1f idle", args[1], float64(peak)/1e6, float64(resident(t, proxy))/1e6)
		proxy.Get("/config_dump")
		proxy.Get("/metrics")
		if now := resident(t, proxy); now > mostIdle*3/2 {
			t.Errorf("%d bytes after a look at everything", now)
		}
	}
}

// idles waits until a proxy that nobody wants anything of is small.
func idles(t *testing.T, p *program) {
	t.Helper()
	redistest.Eventually(t, 30*time.Second, "memory to be handed back", func() error {
		if now := resident(t, p); now > mostIdle*3/4 {
			return fmt.Errorf("%d bytes", now)
		}
		return nil
	})
}

var vmRSS = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)

// resident is the memory of a program, in bytes.
func resident(t *testing.T, p *program) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	found := vmRSS.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmRSS in\n%s", status)
	}
	kb, err := strconv.Atoi(string(found[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
