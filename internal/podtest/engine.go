package podtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// commandLimit bounds one call of podman, on a loaded machine.
const commandLimit = 2 * time.Minute

// Node is where pods run: podman with a storage of its own.
type Node struct {
	// Read-only after construction.
	tb  kubetest.TB
	api *kubetest.Server
	dir string
	env []string

	mu   sync.Mutex // guards pods
	pods int        // how many there were: each has an address of its own
}

// Start makes a node, which is gone when the test ends.
func Start(tb kubetest.TB, api *kubetest.Server) *Node {
	tb.Helper()
	for _, program := range []string{"podman", "runc", "catatonit", "ip", "nsenter", "ldd"} {
		redistest.Binary(tb, program)
	}
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		tb.Fatalf("making a directory for a node: %v", err)
	}
	n := &Node{tb: tb, api: api, dir: dir}
	tb.Cleanup(n.end)
	// A user that is not root has to get at volumes, as below the kubelet's directory.
	if err := os.Chmod(dir, 0o755); err != nil {
		tb.Fatalf("opening the directory of a node: %v", err)
	}
	n.configure()
	if _, err := ipCommand("link", "show", bridge); err != nil {
		// With an address of its own: else it has that of a port, and loses it with the pod.
		n.ip("link", "add", bridge, "address", "02:00:0a:c9:00:01", "type", "bridge")
		n.ip("addr", "add", gateway+"/16", "dev", bridge)
		n.ip("link", "set", bridge, "up")
	}
	return n
}

// configure writes podman's configuration, and chooses a storage driver that works here.
func (n *Node) configure() {
	n.tb.Helper()
	var processes syscall.Rlimit
	const most = 4096 // of processes and files: where raising a limit is forbidden, podman's defaults cannot be set
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &processes); err != nil {
		n.tb.Fatalf("reading limits: %v", err)
	}
	limit := min(processes.Max, most)
	in := func(name string) string { return filepath.Join(n.dir, name) }
	n.write("containers.conf", fmt.Sprintf(`[containers]
default_ulimits = ["nofile=%d:%d", "nproc=%d:%d"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
tmp_dir = %q
`, limit, limit, most, most, in("tmp")))
	n.write("policy.json", `{"default": [{"type": "insecureAcceptAnything"}]}`)
	n.write("registries.conf", "unqualified-search-registries = []\n")
	n.env = append(os.Environ(), "CONTAINERS_CONF="+in("containers.conf"), "CONTAINERS_STORAGE_CONF="+in("storage.conf"),
		"CONTAINERS_REGISTRIES_CONF="+in("registries.conf"))
	var refused error
	for _, driver := range []string{"overlay", "vfs"} {
		n.write("storage.conf", fmt.Sprintf("[storage]\ndriver = %q\ngraphroot = %q\nrunroot = %q\n", driver, in("root"), in("run")))
		if _, refused = n.podman("info"); refused == nil {
			return
		}
	}
	n.tb.Fatalf("podman does not run here: %v", refused)
}

func (n *Node) write(name, text string) {
	n.tb.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.tb.Fatalf("configuring podman: %v", err)
	}
}

// end removes what is left.
func (n *Node) end() {
	if _, err := n.podman("pod", "rm", "--all", "--force", "--time", "0"); err != nil {
		n.tb.Logf("removing pods: %v", err)
	}
	if _, err := n.podman("system", "reset", "--force"); err != nil {
		n.tb.Logf("removing images: %v", err)
	}
	_ = os.RemoveAll(n.dir)
}

// podman runs a command of podman and returns what it prints; the error has what it complains of.
func (n *Node) podman(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	return n.podmanIn(ctx, args...)
}

func (n *Node) podmanIn(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "podman", args...)
	cmd.Env, cmd.Dir = n.env, n.dir
	cmd.WaitDelay = time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), fmt.Errorf("podman %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

// must is podman for what has to succeed.
func (n *Node) must(tb kubetest.TB, args ...string) string {
	tb.Helper()
	out, err := n.podman(args...)
	if err != nil {
		tb.Fatalf("%v", err)
	}
	return strings.TrimSpace(out)
}

// ip runs a command of iproute2, which has to succeed.
func (n *Node) ip(args ...string) {
	n.tb.Helper()
	if out, err := ipCommand(args...); err != nil {
		n.tb.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

func ipCommand(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	return string(out), err
}
