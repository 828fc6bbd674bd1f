package tcp_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/tcp"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// cluster is a set of endpoints that the test decides on.
type cluster struct {
	table atomic.Pointer[filters.Table]
	lb    resource.LoadBalancing

	mu       sync.Mutex
	outcomes []filters.Outcome
}

func (c *cluster) Name() string                          { return "c" }
func (c *cluster) Table() *filters.Table                 { return c.table.Load() }
func (c *cluster) Refresh(string)                        {}
func (c *cluster) LoadBalancing() resource.LoadBalancing { return c.lb }

func (c *cluster) Report(_ *filters.Endpoint, o filters.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcomes = append(c.outcomes, o)
}

func (c *cluster) Cluster(name string) (filters.Cluster, bool) { return c, name == "c" }

func (c *cluster) set(version uint64, eps ...*filters.Endpoint) {
	t := &filters.Table{Version: version, Options: &filters.UpstreamOptions{ConnectTimeout: time.Second}}
	for _, e := range eps {
		t.Shards = append(t.Shards, filters.Shard{Primary: e})
	}
	c.table.Store(t)
}

func endpoint(addr string) *filters.Endpoint {
	e := &filters.Endpoint{Network: "tcp", Address: addr, Weight: 1}
	e.SetHealthy(true)
	return e
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// proxy is a listener with a tcp filter that can be replaced.
type proxy struct {
	builder *tcp.Builder
	cluster *cluster
	filter  atomic.Pointer[tcp.Filter]
	addr    string
}

func start(t *testing.T, c *cluster, conf resource.TCPFilter) *proxy {
	t.Helper()
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	group.Start()
	p := &proxy{builder: tcp.NewBuilder(), cluster: c}
	p.filter.Store(p.build(t, conf))
	ln, err := netloop.Listen(group, "tcp", "127.0.0.1:0", netloop.ListenOptions{},
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return p.filter.Load().Accept(c) })
	if err != nil {
		t.Fatal(err)
	}
	p.addr = ln.Addr()
	t.Cleanup(func() {
		ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := group.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *proxy) build(t *testing.T, conf resource.TCPFilter) *tcp.Filter {
	t.Helper()
	conf.Cluster = "c"
	n, err := p.builder.Build(&conf, filters.Context{
		Listener: "l", Clusters: p.cluster, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return n.(*tcp.Filter)
}

func (p *proxy) dial(t *testing.T) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c.(*net.TCPConn)
}

func roundTrip(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v", got, err)
	}
}

func (p *proxy) metric(t *testing.T, want string) {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(p.builder)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	deadline := time.Now().Add(5 * time.Second)
	var got string
	for time.Now().Before(deadline) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/", nil))
		if got = w.Body.String(); strings.Contains(got, want) {
			return
		}
		<-time.After(5 * time.Millisecond)
	}
	t.Errorf("%q is missing in\n%s", want, got)
}
