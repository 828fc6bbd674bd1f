package netloop

import (
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{MaxConnections: 1, OnRefuse: []byte("-ERR max\r\n")}, func(*Conn) Driver { return echo() })
	first := dial(t, n.Addr())
	roundTrip(t, first, "x")
	second := dial(t, n.Addr())
	if got, err := io.ReadAll(second); err != nil || string(got) != "-ERR max\r\n" {
		t.Errorf("got %q, %v", got, err)
	}
	n.SetMaxConnections(2)
	roundTrip(t, dial(t, n.Addr()), "y")
	n.SetMaxConnections(1)
	roundTrip(t, first, "x") // lives on
	first.Close()
}

func TestListenerClose(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 2})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	c := dial(t, n.Addr())
	roundTrip(t, c, "x")
	n.Close()
	n.Close()
	if _, err := net.Dial("tcp", n.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("still listens: %v", err)
	}
	roundTrip(t, c, "y")
	again, err := Listen(g, "tcp", n.Addr(), ListenOptions{}, func(*Loop, *Conn) Driver { return echo() })
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, dial(t, again.Addr()), "z")
}

// A client that comes while an address is only looked at is refused: it must not
// be taken, and then dropped.
func TestCheckListen(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{ReusePort: true}, func(*Conn) Driver { return echo() })
	if err := CheckListen(n.Addr()); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("an address that is listened on: %v", err)
	}
	free := net.JoinHostPort("127.0.0.1", strconv.Itoa(redistest.Port(t)))
	var dialled sync.WaitGroup
	for range 4 {
		dialled.Go(func() {
			for range 500 {
				if _, err := net.Dial("tcp", free); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("a client is taken: %v", err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { dialled.Wait(); close(done) }()
	for looking := true; looking; {
		select {
		case <-done:
			looking = false
		default:
		}
		if err := CheckListen(free); err != nil {
			t.Fatal(err)
		}
	}
}

func TestListenFailures(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		network, addr string
		want          error
	}{
		{"tcp", n.Addr(), syscall.EADDRINUSE},
		{"tcp", "192.0.2.1:0", syscall.EADDRNOTAVAIL},
		{"tcp", "nowhere:80", ErrAddress},
		{"unix", file, syscall.EADDRINUSE},
		{"unix", filepath.Join(dir, "no", "such"), syscall.ENOENT},
	} {
		if _, err := Listen(g, tc.network, tc.addr, ListenOptions{}, nil); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.addr, err, tc.want)
		}
	}
}

func TestStaleUnixSocket(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	path := filepath.Join(t.TempDir(), "s")
	old, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	accept := func(*Loop, *Conn) Driver { return echo() }
	if _, err := Listen(g, "unix", path, ListenOptions{}, accept); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("took over a live socket: %v", err)
	}
	old.SetUnlinkOnClose(false)
	old.Close()
	if _, err := Listen(g, "unix", path, ListenOptions{}, accept); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	roundTrip(t, c, "x")
	if _, err := Listen(g, "unix", "@"+path, ListenOptions{}, accept); err != nil {
		t.Errorf("abstract name: %v", err)
	}
}

func TestConnectionsAreSpread(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 2})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	for range 10 {
		roundTrip(t, dial(t, n.Addr()), "x")
	}
	for _, l := range g.Loops() {
		if s := readStats(t, l); s.Downstream != 5 {
			t.Errorf("%s has %d of 10", l.Name(), s.Downstream)
		}
	}
}

// When descriptors run out clients are turned away, the loop does not spin, and
// it recovers. Runs in a process of its own, whose limit is low.
func TestDescriptorsRunOut(t *testing.T) {
	const child = "NETLOOP_TEST_CHILD"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestDescriptorsRunOut$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	g := startGroup(t, GroupOptions{Loops: 1})
	var told atomic.Int32
	n := serve(t, g, ListenOptions{OnExhausted: func() { told.Add(1) }}, func(*Conn) Driver { return echo() })
	first := dial(t, n.Addr())
	roundTrip(t, first, "x")
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var fill []int
	for {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY, 0)
		if err != nil {
			break
		}
		fill = append(fill, fd)
	}
	last := len(fill) - 1 // our end takes the last descriptor
	syscall.Close(fill[last])
	c := dial(t, n.Addr())
	before := readStats(t, g.Loops()[0]).Iterations
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("not turned away: %v", err)
	}
	if n := readStats(t, g.Loops()[0]).Iterations - before; n > 1000 {
		t.Errorf("%d iterations: it spins", n)
	}
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times", n)
	}
	c.Close()
	for _, fd := range fill[:last] {
		syscall.Close(fd)
	}
	roundTrip(t, first, "y")
	await(t, "recovery", func() bool { return n.Connections() <= 1 })
	roundTrip(t, dial(t, n.Addr()), "z")
}

func TestQuota(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{
		"max 100000\n": 0, "100000 100000\n": 1, "50000 100000": 1, "250000 100000": 2, "": 0, "x y": 0, "1 0": 0,
	} {
		if got := quotaCPUs(s); got != want {
			t.Errorf("%q: got %d, want %d", s, got, want)
		}
	}
	got := groupDirs("1:cpu:/x\n0::/a/b\n")
	if len(got) != 3 || got[0] != "/sys/fs/cgroup/a/b" || got[2] != "/sys/fs/cgroup" {
		t.Errorf("got %q", got)
	}
	if n := usableCPUs(); n < 1 {
		t.Errorf("%d CPUs", n)
	}
}
