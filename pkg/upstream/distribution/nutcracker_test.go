package distribution_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/distribution"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/keyhash"
)

// pool is one of nutcracker's, with servers that say their number.
type pool struct {
	port               int
	distribution, hash string
	servers            []int // their numbers
	members            []distribution.Member
	config             string
}

// TestAgainstNutcracker puts random keys through pools of a real nutcracker and
// compares which server gets each with our pick.
func TestAgainstNutcracker(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("nutcracker"); err != nil {
		t.Fatal("nutcracker is not installed: run make test-servers")
	}
	r := rand.New(rand.NewPCG(7, 11))
	var servers []int
	for i := range 6 {
		servers = append(servers, numberServer(t, i))
	}
	var pools []*pool
	for _, hash := range keyhash.Names() {
		if hash == keyhash.Murmur2x64A || hash == keyhash.XXHash64 {
			continue
		}
		pools = append(pools, newPool(t, r, "ketama", hash, servers), newPool(t, r, "modula", hash, servers))
	}
	startNutcracker(t, pools)
	for _, p := range pools {
		comparePool(t, r, p)
	}
}

func newPool(t *testing.T, r *rand.Rand, dist, hash string, servers []int) *pool {
	p := &pool{port: redistest.Port(t), distribution: dist, hash: hash}
	var b strings.Builder
	fmt.Fprintf(&b, "p%d:\n  listen: 127.0.0.1:%d\n  redis: true\n  hash: %s\n  distribution: %s\n  servers:\n",
		p.port, p.port, hash, dist)
	for i, n := range r.Perm(len(servers))[:2+r.IntN(len(servers)-1)] {
		weight, name := uint32(1+r.IntN(1<<r.IntN(8))), ""
		if r.IntN(2) == 0 {
			name = strings.Repeat("x", r.IntN(12)) + strconv.Itoa(i)
		}
		p.servers = append(p.servers, n)
		p.members = append(p.members, distribution.Member{
			Name: distribution.MemberName(name, "127.0.0.1", uint16(servers[n])), Weight: weight,
		})
		fmt.Fprintf(&b, "   - 127.0.0.1:%d:%d %s\n", servers[n], weight, name)
	}
	p.config = b.String()
	return p
}

func comparePool(t *testing.T, r *rand.Rand, p *pool) {
	t.Helper()
	d := distribution.NewKetama(p.members)
	if p.distribution == "modula" {
		d = distribution.NewModula(p.members)
	}
	hash := mustHash(t, p.hash)
	keys := make([][]byte, 200)
	for i := range keys {
		keys[i] = make([]byte, 1+r.IntN(40))
		for j := range keys[i] {
			keys[i][j] = byte(r.Uint32())
		}
	}
	got := askAll(t, p.port, keys)
	for i, key := range keys {
		if want := p.servers[d.Pick(hash(key))]; got[i] != want {
			t.Fatalf("%s, %s: nutcracker sends %x to server %d, we to %d; pool:\n%s",
				p.distribution, p.hash, key, got[i], want, p.config)
		}
	}
}

// askAll pipelines a GET per key and returns the numbers that answer.
func askAll(t *testing.T, port int, keys [][]byte) []int {
	t.Helper()
	conn := dial(t, port)
	defer conn.Close()
	var req []byte
	for _, key := range keys {
		req = fmt.Appendf(req, "*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n", len(key), key)
	}
	if _, err := conn.Write(req); err != nil {
		t.Fatal(err)
	}
	numbers := make([]int, len(keys))
	in := bufio.NewReader(conn)
	for i := range numbers {
		if _, err := fmt.Fscanf(in, ":%d\r\n", &numbers[i]); err != nil {
			t.Fatalf("reading answer %d on port %d: %v", i, port, err)
		}
	}
	return numbers
}

func startNutcracker(t *testing.T, pools []*pool) {
	t.Helper()
	dir := t.TempDir()
	var conf strings.Builder
	for _, p := range pools {
		conf.WriteString(p.config)
	}
	file := filepath.Join(dir, "nutcracker.yml")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "nutcracker", "-c", file, "-a", "127.0.0.1",
		"-s", strconv.Itoa(redistest.Port(t)), "-o", filepath.Join(dir, "log"), "-p", filepath.Join(dir, "pid"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait()
	})
	for _, p := range pools {
		dial(t, p.port).Close()
	}
}

// dial retries until somebody listens.
func dial(t *testing.T, port int) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
			return conn
		}
		select {
		case <-ctx.Done():
			t.Fatalf("nobody listens on port %d: %v", port, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// numberServer answers every GET with its number, and returns its port.
func numberServer(t *testing.T, number int) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn, number)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func answer(conn net.Conn, number int) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		var n int
		if _, err := fmt.Fscanf(in, "*2\r\n$3\r\nGET\r\n$%d\r\n", &n); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, in, int64(n)+2); err != nil {
			return
		}
		if _, err := fmt.Fprintf(conn, ":%d\r\n", number); err != nil {
			return
		}
	}
}
