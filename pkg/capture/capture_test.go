package capture

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/mesh"
)

// The tests run in a network namespace of their own, beside one with the foreign server.
func TestMain(m *testing.M) {
	var suite kubetest.Suite
	os.Exit(suite.Main(m))
}

const proxyUser = 65532

// TestCapture has a client connect to a foreign Redis: it comes to the one of the pod, the proxy's user does not, and localhost stays localhost.
func TestCapture(t *testing.T) { //nolint:paralleltest // the network is this test's
	foreign := redistest.Run(t, "unshare", "--net", redistest.Binary(t, "redis-server"), "--port", "6379", "--protected-mode", "no", "--save", "", "--bind", "*", "-::*")
	address := connect(t, foreign.Pid())
	here := redistest.Server(t, redistest.WithAddress("127.0.0.1", 6400))
	here6 := redistest.Server(t, redistest.WithAddress("::1", 6400))
	direct := redistest.Server(t, redistest.WithAddress("127.0.0.1", 6379))
	direct.Do("SET", "where", "localhost")
	here.Do("SET", "where", "captured")
	here6.Do("SET", "where", "captured")
	for _, host := range address {
		redistest.Eventually(t, limit, "the foreign Redis at "+host, func() error {
			_, err := client(0, host, "SET", "where", "foreign")
			return err
		})
	}
	check := func(what, captured string) {
		t.Helper()
		for _, host := range address {
			is(t, what, 0, host, captured)
			is(t, what, proxyUser, host, "foreign")
		}
		is(t, what, 0, "127.0.0.1", "localhost")
	}

	check("before", "foreign")
	ports := []mesh.CapturePort{{From: 5432, To: 5432}, {From: 6379, To: 6400}}
	for _, what := range []string{"installed", "installed again"} {
		if err := Install(ports, proxyUser); err != nil {
			t.Fatal(err)
		}
		check(what, "captured")
	}
	if err := Install(ports[:1], proxyUser); err != nil {
		t.Fatal(err)
	}
	check("with other ports", "foreign")
	if err := Install(ports, proxyUser); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := Remove(); err != nil {
			t.Fatal(err)
		}
		check("removed", "foreign")
	}
}

const limit = 60 * 1e9

// connect gives the network namespace of a process a cable to this one, and its addresses.
func connect(t *testing.T, pid int) []string {
	t.Helper()
	id := strconv.Itoa(pid)
	redistest.Eventually(t, limit, "a network of its own", func() error {
		mine, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			return err
		}
		if its, err := os.Readlink("/proc/" + id + "/ns/net"); err != nil || its == mine {
			return fmt.Errorf("it has %s, %w", its, err)
		}
		return nil
	})
	for _, command := range []string{
		"ip link add cable0 type veth peer name cable1 netns " + id,
		"ip addr add 203.0.113.1/24 dev cable0", "ip addr add 2001:db8::1/64 dev cable0 nodad", "ip link set cable0 up",
		"nsenter --net=/proc/" + id + "/ns/net ip addr add 203.0.113.2/24 dev cable1",
		"nsenter --net=/proc/" + id + "/ns/net ip addr add 2001:db8::2/64 dev cable1 nodad",
		"nsenter --net=/proc/" + id + "/ns/net ip link set cable1 up",
	} {
		words := strings.Fields(command)
		if out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
	}
	return []string{"203.0.113.2", "2001:db8::2"}
}

// is asks a host where it is, as a user.
func is(t *testing.T, what string, user uint32, host, want string) {
	t.Helper()
	if got, err := client(user, host, "GET", "where"); err != nil || got != want {
		t.Errorf("%s: user %d finds %q at %s, %v; want %q", what, user, got, host, err, want)
	}
}

func client(user uint32, host string, args ...string) (string, error) {
	cmd := exec.Command("redis-cli", append([]string{"-e", "-h", host, "-p", "6379"}, args...)...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestNotAllowed: without the capability it says which one is missing.
func TestNotAllowed(t *testing.T) {
	t.Parallel()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends without its capability
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			return
		}
		result <- Install([]mesh.CapturePort{{From: 1, To: 1}}, proxyUser)
	}()
	if err := <-result; !errors.Is(err, ErrNotAllowed) || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Errorf("got %v", err)
	}
}
