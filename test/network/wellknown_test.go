package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// TestWellKnownPod is the container of the pattern's example as a cluster runs it: a variable, no arguments, port 6380, and the name of a
// StatefulSet's Pod that is not there yet, that comes, and that comes back elsewhere.
func TestWellKnownPod(t *testing.T) {
	t.Parallel()
	const name = "redis-st-0.redis-svc.default.svc.cluster.local."
	cluster := serveNames(t)
	config := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(config, []byte("nameserver 127.0.0.1\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := redistest.Run(t, "unshare", "--mount", "env", "REDIS_SERVERS=redis-st-0.redis-svc:6379:1",
		"sh", "-ec", `mount --bind "$0" /etc/resolv.conf; exec "$1"`, config, meshtest.Checked.Binary(t, "proxy"))
	var app *redistest.Client
	redistest.Eventually(t, limit, "port 6380", func() error {
		select {
		case <-pod.Done():
			t.Fatalf("the proxy ended with exit code %d:\n%s", pod.ExitCode(), pod.Output())
		default:
		}
		conn, err := net.Dial("tcp", "127.0.0.1:6380")
		if err == nil {
			app = redistest.NewClient(t, conn)
		}
		return err
	})
	if got := app.Do("GET", "k"); !strings.HasPrefix(got, "-") {
		t.Errorf("before the name resolves: %q", got)
	}

	at := suite.Addresses(t, 2)
	before := redistest.Server(t, redistest.WithAddress(at[0].String(), 6379))
	cluster.set(name, at[0])
	works := func(what string) {
		t.Helper()
		redistest.Eventually(t, limit, what, func() error {
			if got := app.Do("SET", "k", what); got != "+OK\r\n" {
				return errors.New(got)
			}
			return nil
		})
		if got, want := app.Do("GET", "k"), fmt.Sprintf("$%d\r\n%s\r\n", len(what), what); got != want {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	works("the Pod is there")

	before.Kill()
	redistest.Server(t, redistest.WithAddress(at[1].String(), 6379))
	cluster.set(name, at[1])
	works("the Pod has come back with another address")

	if err := pod.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := pod.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// names answers for a cluster's DNS.
type names struct {
	mu   sync.Mutex
	addr map[string]netip.Addr // guarded by mu
}

func (n *names) set(name string, addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.addr[name] = addr
}

// serveNames answers at port 53 of loopback.
func serveNames(t *testing.T) *names {
	t.Helper()
	n := &names{addr: map[string]netip.Addr{}}
	socket, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() {
		_ = socket.Close()
		<-served
	})
	go func() {
		defer close(served)
		question := make([]byte, 512)
		for {
			size, from, err := socket.ReadFrom(question)
			if err != nil {
				return
			}
			if answer, err := n.answer(question[:size]); err != nil {
				t.Errorf("a question of DNS: %v", err)
			} else if _, err := socket.WriteTo(answer, from); err != nil {
				t.Logf("answering: %v", err)
			}
		}
	}()
	return n
}

// answer has an address for the names that are there, for a second, and NXDOMAIN for others.
func (n *names) answer(question []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	if len(m.Questions) != 1 {
		return nil, fmt.Errorf("%d questions", len(m.Questions))
	}
	q := m.Questions[0]
	n.mu.Lock()
	addr, ok := n.addr[q.Name.String()]
	n.mu.Unlock()
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	switch {
	case !ok:
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	return m.Pack()
}
