package redistest

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestServerAnswers(t *testing.T) {
	t.Parallel()
	n := Server(t, WithUnixSocket())
	for _, addr := range []string{n.Addr(), n.SocketPath()} {
		c := Dial(t, addr)
		if got, want := c.Do("SET", "k", "v\r\n"), "+OK\r\n"; got != want {
			t.Errorf("SET at %s: got %q, want %q", addr, got, want)
		}
		if got, want := c.Do("GET", "k"), "$3\r\nv\r\n\r\n"; got != want {
			t.Errorf("GET at %s: got %q, want %q", addr, got, want)
		}
		c.Send("PING\r\n")
		if got, want := c.ReadFrame(), "+PONG\r\n"; got != want {
			t.Errorf("inline PING at %s: got %q, want %q", addr, got, want)
		}
		c.Silent(20 * time.Millisecond)
	}
	if got := n.Calls("get"); got != 2 {
		t.Errorf("calls of get: got %d, want 2", got)
	}
	if got := n.Info("role"); got != "master" {
		t.Errorf("role: got %q, want master", got)
	}
}

func TestServerOptions(t *testing.T) {
	t.Parallel()
	pki := NewPKI(t)
	tests := []struct {
		name string
		opts []Option
	}{
		{"password", []Option{WithPassword("secret")}},
		{"user", []Option{WithUser("app", "secret", "~* &* +@all"), WithoutDefaultUser()}},
		{"tls", []Option{WithTLS(pki)}},
		{"tls and user", []Option{WithTLS(pki), WithUser("app", "secret", "~* &* +@all"), WithoutDefaultUser()}},
		{"extra", []Option{WithConfig("maxmemory 100mb", "databases 3")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			primary := Server(t, tt.opts...)
			replica := Server(t, append([]Option{WithReplicaOf(primary)}, tt.opts...)...)
			c := primary.Client()
			if got := c.Do("SET", "k", "v"); got != "+OK\r\n" {
				t.Fatalf("SET: got %q", got)
			}
			c.Do("WAIT", "1", "5000")
			if got, want := replica.Do("GET", "k"), "$1\r\nv\r\n"; got != want {
				t.Errorf("GET at the replica: got %q, want %q", got, want)
			}
		})
	}
}

func TestServerRefusesWithoutPassword(t *testing.T) {
	t.Parallel()
	n := Server(t, WithPassword("secret"))
	if got := Dial(t, n.Addr()).Do("GET", "k"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("GET without AUTH: got %q, want -NOAUTH", got)
	}
}

func TestFreezeThawKillRestart(t *testing.T) {
	t.Parallel()
	n := Server(t)
	c := n.Client()
	n.Freeze()
	c.Send(Command("PING"))
	c.Silent(50 * time.Millisecond)
	n.Thaw()
	if got := c.ReadFrame(); got != "+PONG\r\n" {
		t.Errorf("PING after thawing: got %q", got)
	}
	addr, pid := n.Addr(), n.Pid()
	n.Kill()
	n.Kill()
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d still there after Kill", pid)
	}
	if _, err := n.TryDo("PING"); err == nil {
		t.Error("PING is answered after Kill")
	}
	n.Restart()
	if n.Addr() != addr {
		t.Errorf("address after Restart: got %s, want %s", n.Addr(), addr)
	}
	n.Freeze()
	n.Restart()
	if got := n.Do("PING"); got != "+PONG\r\n" {
		t.Errorf("PING after Restart: got %q", got)
	}
}

// TestPortIsHeld pins what Port promises: nobody else can be given the port, and a server can still listen on it.
func TestPortIsHeld(t *testing.T) {
	t.Parallel()
	port := Port(t)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err == nil {
		t.Error("a second reservation of the port succeeded")
	}
	for range 3 {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatalf("listening on a reserved port: %v", err)
		}
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadFrame(t *testing.T) {
	t.Parallel()
	frames := []string{
		"+OK\r\n", "-ERR x\r\n", ":1\r\n", "$-1\r\n", "*-1\r\n", "$0\r\n\r\n", "$4\r\n\r\n\r\n\r\n", "*0\r\n", "_\r\n", "#t\r\n", ",1.5\r\n", "(12\r\n",
		"=5\r\ntxt:a\r\n", "!3\r\nERR\r\n", "~2\r\n:1\r\n:2\r\n", ">2\r\n+a\r\n*1\r\n:1\r\n", "%2\r\n+a\r\n:1\r\n+b\r\n*2\r\n:1\r\n:2\r\n",
		"|1\r\n+ttl\r\n:5\r\n$1\r\nv\r\n", "*2\r\n*2\r\n:1\r\n*0\r\n$1\r\na\r\n",
	}
	r := bufio.NewReader(iotest.OneByteReader(strings.NewReader(strings.Join(frames, ""))))
	var got []string
	for range frames {
		frame, err := readFrame(r)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got = append(got, string(frame))
	}
	if diff := cmp.Diff(frames, got); diff != "" {
		t.Errorf("frames (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"", "+OK", "+OK\n", "$x\r\n", "?1\r\n", "$3\r\nab", "*2\r\n:1\r\n"} {
		if frame, err := readFrame(bufio.NewReader(strings.NewReader(bad))); err == nil {
			t.Errorf("%q: got frame %q, want an error", bad, frame)
		}
	}
}

func TestNutcracker(t *testing.T) {
	t.Parallel()
	shards := []*Node{Server(t), Server(t)}
	proxy := Nutcracker(t, fmt.Sprintf(`
a:
  listen: 127.0.0.1:%d
  redis: true
  distribution: modula
  hash: md5
  servers:
  - %s:1 s1
  - %s:1 s2
`, Port(t), shards[0].Addr(), shards[1].Addr()), "-m", "512", "-v", "4")
	c := Dial(t, proxy.Addr())
	for i := range 64 {
		if got := c.Do("SET", fmt.Sprintf("key%d", i), "v"); got != "+OK\r\n" {
			t.Fatalf("SET: got %q", got)
		}
	}
	for _, s := range shards {
		if got := s.Calls("set"); got == 0 {
			t.Errorf("shard %s got no key", s.Addr())
		}
	}
}

// recorder is a TB that notes a failure instead of ending the test.
type recorder struct {
	*testing.T
	failure string
}

func (r *recorder) Fatalf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

func TestMissingProgramTellsWhatToInstall(t *testing.T) {
	t.Parallel()
	r := &recorder{T: t}
	Binary(r, "/nowhere/redis-server")
	if !strings.Contains(r.failure, "apt-get install redis-server") {
		t.Errorf("got %q, want the package to install", r.failure)
	}
}

func TestBrokenServerSaysWhy(t *testing.T) {
	t.Parallel()
	r := &recorder{T: t}
	n := newNode(r, WithConfig("no-such-directive yes"))
	if err := n.start(); err != nil {
		t.Fatal(err)
	}
	n.awaitReady()
	if !strings.Contains(r.failure, "no-such-directive") {
		t.Errorf("got %q, want the server's own message", r.failure)
	}
}

func TestCleanupRemovesEverything(t *testing.T) {
	t.Parallel()
	var pid int
	var dir string
	t.Run("inner", func(t *testing.T) {
		n := Server(t)
		pid, dir = n.Pid(), n.Dir()
	})
	if err := syscall.Kill(pid, 0); err == nil {
		t.Errorf("process %d outlived its test", pid)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("directory %s outlived its test: %v", dir, err)
	}
}
