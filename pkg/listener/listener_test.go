package listener_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

func TestSwapBeneathSocket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "one"}))
	if got := hear(t, "tcp", addr); got != "one" {
		t.Fatalf("got %q", got)
	}
	f.mustApply(t, spec("a", addr, &greeting{text: "one"}))
	if f.all.built.Load() != 1 {
		t.Errorf("a filter that did not change was built again")
	}
	f.mustApply(t, spec("renamed", addr, &greeting{text: "two"}))
	if got := hear(t, "tcp", addr); got != "two" {
		t.Errorf("got %q", got)
	}
	if n := f.all.retired.Load(); n != 1 {
		t.Errorf("%d filters retired, want 1", n)
	}
	f.mustApply(t)
	if got := hear(t, "tcp", addr); !strings.Contains(got, "refused") {
		t.Errorf("a removed listener says %q", got)
	}
	if n := f.all.retired.Load(); n != 2 {
		t.Errorf("%d filters retired, want 2", n)
	}
}

// TestNoRefusalDuringReload connects without pause while filters are swapped.
func TestNoRefusalDuringReload(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "0"}))
	stop := make(chan struct{})
	var bad atomic.Value
	var count atomic.Int32
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if got := hear(t, "tcp", addr); len(got) != 1 {
					bad.Store(got)
				}
				count.Add(1)
			}
		})
	}
	for i := 0; i < 50 || count.Load() < 100; i++ {
		f.mustApply(t, spec("a", addr, &greeting{text: string(rune('0' + i%10))}))
	}
	close(stop)
	wg.Wait()
	if got := bad.Load(); got != nil {
		t.Errorf("a client heard %q", got)
	}
}

func TestClusterReplaced(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.deps.Clusters = clusters{"c": &cluster{"c"}}
	l := spec("a", freePort(t), &greeting{text: "x", cluster: "c"})
	f.mustApply(t, l)
	f.mustApply(t, l)
	f.deps.Clusters = clusters{"c": &cluster{"c"}}
	f.mustApply(t, l)
	if n := f.all.built.Load(); n != 2 {
		t.Errorf("built %d times, want once more for a new cluster of the same name", n)
	}
	f.deps.Clusters = clusters{}
	if err := f.apply(t, l); err == nil || !strings.Contains(err.Error(), `no cluster "c"`) {
		t.Errorf("a cluster is missing: %v", err)
	}
}

func TestErrorsKeepTheOld(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr, fresh := freePort(t), freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "old"}))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	cases := map[string][]*resource.Listener{
		"filter": {spec("a", addr, &greeting{text: "new"}), spec("b", fresh, &greeting{refuse: true})},
		"taken":  {spec("a", addr, &greeting{text: "new"}), spec("b", fresh, &greeting{text: "b"}), spec("c", taken.Addr().String(), &greeting{})},
		"twice":  {spec("a", addr, &greeting{text: "new"}), spec("b", addr, &greeting{text: "b"})},
	}
	for name, specs := range cases {
		err := f.apply(t, specs...)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		var bind *listener.BindError
		if errors.As(err, &bind) != (name == "taken") {
			t.Errorf("%s: %v", name, err)
		}
		if bind != nil && !bind.Taken() {
			t.Errorf("%s: not taken: %v", name, err)
		}
		if got := hear(t, "tcp", addr); got != "old" {
			t.Errorf("%s: the running listener says %q", name, got)
		}
		if got := hear(t, "tcp", fresh); !strings.Contains(got, "refused") {
			t.Errorf("%s: the discarded listener says %q", name, got)
		}
	}
	if built, retired := f.all.built.Load(), f.all.retired.Load(); built-retired != 1 {
		t.Errorf("%d filters built, %d retired", built, retired)
	}
}

func TestMoveToAllAddresses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	all := strings.Replace(addr, "127.0.0.1", "0.0.0.0", 1)
	f.mustApply(t, spec("a", addr, &greeting{text: "one"}))
	f.mustApply(t, spec("a", all, &greeting{text: "all"}))
	if got := hear(t, "tcp", addr); got != "all" {
		t.Errorf("got %q", got)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if err := f.apply(t, spec("a", addr, &greeting{text: "back"}), spec("b", taken.Addr().String(), &greeting{})); err == nil {
		t.Fatal("a taken port is accepted")
	}
	if got := hear(t, "tcp", addr); got != "all" {
		t.Errorf("after the refusal: %q", got)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	path := filepath.Join(t.TempDir(), "s")
	l := spec("a", path, &greeting{text: "unix"})
	l.Address.Mode = 0o600
	f.mustApply(t, l)
	if got := hear(t, "unix", path); got != "unix" {
		t.Errorf("got %q", got)
	}
	mode := func() os.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	if got := mode(); got != 0o600 {
		t.Errorf("mode %o", got)
	}
	changed := spec("a", path, &greeting{text: "unix"})
	changed.Address.Mode = 0o666
	f.mustApply(t, changed)
	if got := mode(); got != 0o666 {
		t.Errorf("mode %o after the change", got)
	}
	f.mustApply(t)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

func TestMaxConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	l := spec("a", addr, &greeting{text: "in"})
	l.MaxConnections = 1
	f.mustApply(t, l)
	first, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	b := make([]byte, 2)
	if _, err := io.ReadFull(first, b); err != nil {
		t.Fatal(err)
	}
	// The greeter closes its side; whether the first is gone already is a race
	// that both answers are right in.
	if got := hear(t, "tcp", addr); got != "full\n" && got != "in" {
		t.Errorf("got %q", got)
	}
}

func TestCutAndStatus(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	l := spec("a", addr, &greeting{text: "1"})
	l.Environment, l.EnvironmentSource = "prod", "--environment"
	f.mustApply(t, l)
	want := []listener.Status{{Name: "a", Address: addr, Network: "tcp", Environment: "prod", Source: "--environment"}}
	if diff := cmp.Diff(want, f.set.Status()); diff != "" {
		t.Error(diff)
	}
	for i, environment := range []string{"prod", "dev"} {
		next := spec("a", addr, &greeting{text: fmt.Sprint("next ", i)})
		next.Environment, next.Drain.Mode = environment, resource.DrainCut
		f.mustApply(t, next)
	}
	if diff := cmp.Diff([]bool{false, true}, f.all.cuts); diff != "" {
		t.Errorf("what the new listener says of old connections: %s", diff)
	}
}

func TestStopAccepting(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addr := freePort(t)
	f.mustApply(t, spec("a", addr, &greeting{text: "1"}))
	f.set.StopAccepting()
	if got := hear(t, "tcp", addr); !strings.Contains(got, "refused") {
		t.Errorf("got %q", got)
	}
	if err := f.apply(t, spec("a", addr, &greeting{text: "2"})); !errors.Is(err, listener.ErrDraining) {
		t.Errorf("a change during shutdown: %v", err)
	}
}
