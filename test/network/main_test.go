package network

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/kubetest"
	"github.com/dragoman-mesh/dragoman/internal/meshtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// limit is generous on purpose: the tests run beside every other package's on few cores, and the program under the race detector.
const limit = 90 * time.Second

var suite kubetest.Suite

func TestMain(m *testing.M) {
	os.Exit(suite.Main(tests(func() int {
		defer meshtest.Cleanup()
		return m.Run()
	})))
}

type tests func() int

func (t tests) Run() int { return t() }

// proxy is a running one.
type proxy struct {
	*meshtest.Program
	t *testing.T
}

// run starts a proxy with one document, and waits until it is ready.
func run(t *testing.T, document string) *proxy {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	admin := fmt.Sprintf("127.0.0.1:%d", redistest.Port(t))
	p := &proxy{meshtest.Run(t, limit, "proxy", admin, meshtest.Checked.Binary(t, "proxy"), "run", "-f", file, "--admin-address", admin), t}
	p.Ready("LIVE")
	return p
}

// shows waits until the metrics have all of some series.
func (p *proxy) shows(series ...string) {
	p.t.Helper()
	for i := range series {
		series[i] = "\n" + series[i] + "\n"
	}
	p.Shows("/metrics", series...)
}

// host is one that has an address, from which it can connect and be cut off.
type host struct {
	t    *testing.T
	addr netip.Addr
}

func newHost(t *testing.T) *host {
	t.Helper()
	return &host{t, suite.Addresses(t, 1)[0]}
}

// dialer connects from the host.
func (h *host) dialer() *net.Dialer {
	return &net.Dialer{Timeout: limit, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(h.addr, 0))}
}

func (h *host) dial(addr string) net.Conn {
	h.t.Helper()
	conn, err := h.dialer().DialContext(h.t.Context(), "tcp", addr)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// redis connects a client of Redis.
func (h *host) redis(addr string) *redistest.Client {
	h.t.Helper()
	return redistest.NewClient(h.t, h.dial(addr))
}
