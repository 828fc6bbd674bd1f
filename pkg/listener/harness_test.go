package listener_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/listener"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/secrets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// greeting is a filter configuration: what every client is told.
type greeting struct {
	text    string
	cluster string
	refuse  bool // building fails
}

func (g *greeting) ClusterNames() []string {
	if g.cluster == "" {
		return nil
	}
	return []string{g.cluster}
}

func (g *greeting) SecretNames() []string { return nil }

var errRefused = errors.New("refused by the test")

// greeters builds filters that greet, and keeps account of them.
type greeters struct {
	built, retired atomic.Int32

	mu   sync.Mutex
	cuts []bool
}

func (g *greeters) Build(cfg any, _ filters.Context) (filters.Network, error) {
	conf := cfg.(*greeting)
	if conf.refuse {
		return nil, errRefused
	}
	g.built.Add(1)
	return &greeter{all: g, text: conf.text}, nil
}

type greeter struct {
	all  *greeters
	text string
}

func (g *greeter) Accept(c *netloop.Conn) netloop.Driver {
	c.WriteString(g.text)
	c.CloseAfterFlush()
	return silent{}
}

func (g *greeter) Retire(r filters.Retirement) {
	g.all.retired.Add(1)
	g.all.mu.Lock()
	g.all.cuts = append(g.all.cuts, r.Cut)
	g.all.mu.Unlock()
	r.Done()
}

func (g *greeter) Refusal() []byte { return []byte("full\n") }

type silent struct{}

func (silent) Data(_ *netloop.Conn, b []byte) int { return len(b) }
func (silent) Drained(*netloop.Conn)              {}
func (silent) EOF(*netloop.Conn)                  {}
func (silent) Closed(*netloop.Conn, error)        {}

type clusters map[string]filters.Cluster

func (c clusters) Cluster(name string) (filters.Cluster, bool) {
	found, ok := c[name]
	return found, ok
}

type cluster struct{ name string }

func (c *cluster) Name() string                              { return c.name }
func (c *cluster) Table() *filters.Table                     { return &filters.Table{} }
func (c *cluster) Refresh(string)                            {}
func (c *cluster) Report(*filters.Endpoint, filters.Outcome) {}

type fixture struct {
	set  *listener.Set
	all  *greeters
	deps listener.Deps
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	group.Start()
	f := &fixture{all: &greeters{}, deps: listener.Deps{Clusters: clusters{}, Secrets: secrets.NewStore(nil)}}
	f.set = listener.NewSet(group, f.all, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		f.set.StopAccepting()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := group.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return f
}

// apply takes a change through all its steps and waits for the retirement.
func (f *fixture) apply(t *testing.T, specs ...*resource.Listener) error {
	t.Helper()
	c, err := f.set.Build(specs, f.deps)
	if err != nil {
		return err
	}
	if err := c.Bind(); err != nil {
		return err
	}
	done := make(chan struct{})
	c.Commit(func() { close(done) })
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the old filters are not retired")
	}
	return nil
}

func (f *fixture) mustApply(t *testing.T, specs ...*resource.Listener) {
	t.Helper()
	if err := f.apply(t, specs...); err != nil {
		t.Fatal(err)
	}
}

func spec(name, addr string, cfg *greeting) *resource.Listener {
	l := &resource.Listener{
		Name:    name,
		Address: resource.ListenAddress{Network: resource.NetworkTCP, Addr: addr},
		Filter:  resource.Filter{Name: "greeting", Config: cfg},
		Drain:   resource.DrainPolicy{Deadline: time.Second},
	}
	if strings.HasPrefix(addr, "/") {
		l.Address.Network = resource.NetworkUnix
	}
	return l
}

// freePort is an address that nobody has, and nobody else gets.
func freePort(t *testing.T) string {
	t.Helper()
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(redistest.Port(t)))
}

func hear(t *testing.T, network, addr string) string {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		return "error: " + err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}
