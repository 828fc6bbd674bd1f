package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestFace(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff([]string{"twemproxy", "-c", "x"}, face([]string{"/usr/sbin/nutcracker", "-c", "x"})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"run"}, face([]string{"proxy", "run"})); diff != "" {
		t.Error(diff)
	}
}

// TestOwnPort: what only the documents made of a pool can say names the file and the
// pool.
func TestOwnPort(t *testing.T) {
	t.Parallel()
	conf := write(t, "nutcracker.yml", "alpha:\n  listen: 127.0.0.1:22125\n  redis: true\n  servers:\n  - 127.0.0.1:22125:1\n")
	code, _, errs := finish(t, nil, "twemproxy", "-t", "-c", conf)
	if want := conf + ": pool alpha: "; code != 64 || !strings.Contains(errs, want) || !strings.Contains(errs, "127.0.0.1:22125 is this object's own spec.listen") {
		t.Errorf("exit code %d, want %q in\n%s", code, want, errs)
	}
}

func TestNutcrackerFlags(t *testing.T) {
	t.Parallel()
	good := write(t, "good.yml", "a:\n  listen: 127.0.0.1:1\n  redis: true\n  servers:\n  - 127.0.0.1:6379:1\n")
	bad := write(t, "bad.yml", "a:\n  listen: 127.0.0.1:1\n  redis: perhaps\n  colour: blue\n  servers:\n  - 127.0.0.1:6379\n")
	memcached := write(t, "memcached.yml", "a:\n  listen: 127.0.0.1:1\n  servers:\n  - 127.0.0.1:11211:1\n")
	cases := []struct {
		args []string
		code int
		want string
	}{
		{[]string{"-h"}, 0, "-c, --conf-file=S"},
		{[]string{"-?"}, 0, "-c, --conf-file=S"},
		{[]string{"-V"}, 0, "This is nutcracker-0.5.0"},
		{[]string{"-D"}, 0, "server_timedout"},
		{[]string{"-d"}, 64, "daemon"},
		{[]string{"-x"}, 64, "unknown shorthand flag"},
		{[]string{"-s", "0"}, 64, "not a valid port"},
		{[]string{"-s", "many"}, 64, "many"},
		{[]string{"-m", "1"}, 64, "mbuf chunk size must be between 512 and 16777216 bytes"},
		{[]string{"-t", "-c", good}, 0, "syntax is ok"},
		{[]string{"--test-conf", "--conf-file=" + good}, 0, "syntax is ok"},
		{[]string{"-t", "-c", bad}, 64, "bad.yml:3: a.redis: is not \"true\" or \"false\"\nproxy: " + bad + ":4: a.colour: is unknown\nproxy: " + bad + ":6: a.servers"},
		{[]string{"-t", "-c", memcached}, 64, "is a memcached pool"},
		{[]string{"-t", "-c", "/nonexistent.yml"}, 64, "/nonexistent.yml: no such file or directory: name another file with -c, or the servers in REDIS_SERVERS"},
		{[]string{"-c", bad}, 64, "a.colour: is unknown"},
	}
	for _, tc := range cases {
		t.Run(strings.Join(tc.args, " "), func(t *testing.T) {
			t.Parallel()
			code, out, errs := finish(t, []string{"DRAGOMAN_ADMIN_ADDRESS=off"}, append([]string{"twemproxy"}, tc.args...)...)
			if code != tc.code || !strings.Contains(out+errs, tc.want) {
				t.Errorf("exit code %d, want %d with %q in\n%s%s", code, tc.code, tc.want, out, errs)
			}
		})
	}
}

// TestTwemproxy has nutcracker itself write, and the proxy read from the same
// file: every key must be where twemproxy puts it.
func TestTwemproxy(t *testing.T) {
	t.Parallel()
	var servers strings.Builder
	for i := range 3 {
		node := redistest.Server(t, redistest.WithPassword("pw"))
		fmt.Fprintf(&servers, "  - %s:%d server%d\n", node.Addr(), i+1, i)
	}
	pool := func(listen string) string {
		return fmt.Sprintf(`alpha:
  listen: %s
  hash: fnv1a_64
  hash_tag: "{}"
  distribution: ketama
  auto_eject_hosts: true
  timeout: 5000
  redis: true
  redis_auth: pw
  preconnect: true
  server_retry_timeout: 2000
  server_failure_limit: 1
  servers:
%s`, listen, servers.String())
	}
	theirs := redistest.Port(t)
	redistest.Nutcracker(t, pool(local(theirs)))
	socket := filepath.Join(t.TempDir(), "s")
	conf := write(t, "nutcracker.yml", pool(socket+" 0600"))
	stats, pid := redistest.Port(t), filepath.Join(t.TempDir(), "pid")
	log := filepath.Join(t.TempDir(), "log")
	p := begin(t, []string{"DRAGOMAN_ADMIN_ADDRESS=off"}, "twemproxy",
		"-c", conf, "-a", "127.0.0.1", "-s", strconv.Itoa(stats), "-p", pid, "-o", log, "-v", "6", "-m", "512", "-i", "1000")

	writer := redistest.Dial(t, local(theirs))
	writer.Do("AUTH", "pw")
	for i := range 100 {
		writer.Do("SET", fmt.Sprintf("{%d}key", i), strconv.Itoa(i))
	}
	var reader *redistest.Client
	redistest.Eventually(t, limit, "the socket to be there", func() error {
		c, err := net.Dial("unix", socket)
		if err != nil {
			return err
		}
		reader = redistest.NewClient(t, c)
		return nil
	})
	if got := reader.Do("GET", "x"); !strings.HasPrefix(got, "-NOAUTH") {
		t.Errorf("without AUTH: %q", got)
	}
	reader.Do("AUTH", "pw")
	for i := range 100 {
		want := fmt.Sprintf("$%d\r\n%d\r\n", len(strconv.Itoa(i)), i)
		if got := reader.Do("GET", fmt.Sprintf("{%d}key", i)); got != want {
			t.Errorf("key %d: got %q, want %q", i, got, want)
		}
	}
	checkStats(t, local(stats))
	if b, err := os.ReadFile(pid); err != nil || string(b) != strconv.Itoa(p.cmd.Process.Pid) {
		t.Errorf("pid file: %q, %v", b, err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, gone := range []string{pid, socket} {
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s is left behind", gone)
		}
	}
	if b, err := os.ReadFile(log); err != nil || !strings.Contains(string(b), "configuration accepted") || strings.Contains(string(b), `"pw"`) {
		t.Errorf("log: %s, %v", b, err)
	}
}

func checkStats(t *testing.T, addr string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	type server struct{ Requests, Responses float64 }
	var got struct {
		Service string
		Alpha   struct {
			ClientConnections         float64 `json:"client_connections"`
			Server0, Server1, Server2 server
		}
	}
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	sum := got.Alpha.Server0.Responses + got.Alpha.Server1.Responses + got.Alpha.Server2.Responses
	if got.Service != "nutcracker" || got.Alpha.ClientConnections != 1 || sum < 100 {
		t.Errorf("statistics: %s", b)
	}
}

// TestTwemproxyFollowsItsFile is what nutcracker cannot do.
func TestTwemproxyFollowsItsFile(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	first, second := redistest.Port(t), redistest.Port(t)
	pool := func(port int) string {
		return fmt.Sprintf("a:\n  listen: localhost:%d\n  redis: true\n  servers:\n  - %s:1\n", port, node.Addr())
	}
	conf := write(t, "nutcracker.yml", pool(first))
	p := begin(t, []string{"DRAGOMAN_ADMIN_ADDRESS=off"}, "twemproxy",
		"-c", conf, "-a", "127.0.0.1", "-s", strconv.Itoa(redistest.Port(t)))
	p.prints(local(first))
	filetest.Put(t, conf, pool(second))
	p.prints(local(second))
	if got := redistest.Dial(t, local(second)).Do("PING"); got != "+PONG\r\n" {
		t.Errorf("got %q", got)
	}
}

// TestTwemproxyTwins has a server in the file under several names, each with keys of
// its own: keys are where nutcracker has them, and what concerns all is asked once.
func TestTwemproxyTwins(t *testing.T) {
	t.Parallel()
	first, second := redistest.Server(t), redistest.Server(t)
	servers := fmt.Sprintf("  - %[1]s:1 a\n  - %[2]s:1 b\n  - %[1]s:2 c\n  - %[1]s:1\n", first.Addr(), second.Addr())
	pool := func(listen string) string {
		return "alpha:\n  listen: " + listen + "\n  redis: true\n  distribution: ketama\n  servers:\n" + servers
	}
	theirs, ours := redistest.Port(t), redistest.Port(t)
	redistest.Nutcracker(t, pool(local(theirs)))
	begin(t, []string{"DRAGOMAN_ADMIN_ADDRESS=off"}, "twemproxy", "-c", write(t, "nutcracker.yml", pool(local(ours))),
		"-a", "127.0.0.1", "-s", strconv.Itoa(redistest.Port(t)))
	redistest.Eventually(t, limit, "the port to be open", func() error {
		c, err := net.Dial("tcp", local(ours))
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	writer, reader := redistest.Dial(t, local(theirs)), redistest.Dial(t, local(ours))
	mget, want := []string{"MGET"}, "*200\r\n"
	for i := range 200 {
		key := fmt.Sprint(i, "key")
		writer.Do("SET", key, key)
		mget, want = append(mget, key), want+fmt.Sprintf("$%d\r\n%s\r\n", len(key), key)
	}
	if got := reader.Do(mget...); got != want {
		t.Errorf("MGET: %q", got)
	}
	for i, n := range []*redistest.Node{first, second} {
		if got := n.Do("DBSIZE"); got == ":0\r\n" || got == ":200\r\n" {
			t.Errorf("server %d has %s keys", i, got)
		}
	}
	if got := reader.Do("DBSIZE"); got != ":200\r\n" {
		t.Errorf("DBSIZE: %q", got)
	}
	if got := reader.Do("KEYS", "*"); !strings.HasPrefix(got, "*200\r\n") {
		t.Errorf("KEYS: %.20q", got)
	}
	subscriber := redistest.Dial(t, local(ours))
	subscriber.Do("PSUBSCRIBE", "*")
	for i := range 20 {
		channel := fmt.Sprint(i, "channel")
		if got := reader.Do("PUBLISH", channel, "x"); got != ":1\r\n" {
			t.Errorf("PUBLISH: %q", got)
		}
		if got := subscriber.ReadFrame(); !strings.Contains(got, channel) {
			t.Errorf("message %d is %q", i, got)
		}
	}
}
