package tcp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"slices"
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

// server answers every connection with handle.
func server(t *testing.T, handle func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

func echo(c net.Conn) { _, _ = io.Copy(c, c) }

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	_ = ln.Close()
	return addr
}

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
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
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

func TestForward(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(server(t, echo)))
	p := start(t, c, resource.TCPFilter{})
	conn := p.dial(t)
	roundTrip(t, conn, "hello")
	roundTrip(t, conn, strings.Repeat("x", 200_000))
	p.metric(t, `dragoman_tcp_downstream_received_bytes_total{listener="l"} 200005`)
	p.metric(t, `dragoman_tcp_downstream_sent_bytes_total{listener="l"} 200005`)
	_ = conn.Close()
	p.metric(t, `dragoman_tcp_downstream_connections{listener="l"} 0`)
}

// TestHalfClose sends all, closes the sending side, and still gets the answer.
func TestHalfClose(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(server(t, func(c net.Conn) {
		all, _ := io.ReadAll(c)
		_, _ = c.Write(append(all, " back"...))
	})))
	p := start(t, c, resource.TCPFilter{})
	conn := p.dial(t)
	_, _ = io.WriteString(conn, "there and")
	_ = conn.CloseWrite()
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "there and back" {
		t.Errorf("got %q, %v", got, err)
	}
	p.metric(t, `dragoman_tcp_downstream_connections{listener="l"} 0`)
}

// TestServerFirst has the endpoint speak and close; the client gets all of it.
func TestServerFirst(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("0123456789"), 1<<20)
	c := &cluster{}
	c.set(1, endpoint(server(t, func(c net.Conn) { _, _ = c.Write(big) })))
	p := start(t, c, resource.TCPFilter{})
	got, err := io.ReadAll(p.dial(t))
	if err != nil || !bytes.Equal(got, big) {
		t.Errorf("got %d bytes of %d, %v", len(got), len(big), err)
	}
}

// TestBackpressure has a client that never reads: the endpoint must be stopped
// long before the proxy has buffered everything.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	stop := make(chan struct{})
	c := &cluster{}
	c.set(1, endpoint(server(t, func(c net.Conn) {
		go func() { <-stop; _ = c.Close() }()
		chunk := make([]byte, 64<<10)
		for {
			n, err := c.Write(chunk)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})))
	p := start(t, c, resource.TCPFilter{})
	conn := p.dial(t)
	defer close(stop)
	last, same := int64(-1), 0
	for deadline := time.Now().Add(20 * time.Second); same < 20; {
		if time.Now().After(deadline) {
			t.Fatalf("the endpoint is never stopped: %d bytes", sent.Load())
		}
		<-time.After(10 * time.Millisecond)
		if n := sent.Load(); n == last && n > 0 {
			same++
		} else {
			last, same = n, 0
		}
	}
	// Kernel buffers of four sockets and the high-water mark.
	if last > 64<<20 {
		t.Errorf("%d bytes are on the way to a client that does not read", last)
	}
	buf := make([]byte, 1<<20)
	if _, err := io.ReadFull(conn, buf); err != nil {
		t.Errorf("reading again: %v", err)
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(closedPort(t)), endpoint(closedPort(t)), endpoint(server(t, echo)))
	p := start(t, c, resource.TCPFilter{MaxConnectAttempts: 3})
	for range 6 {
		roundTrip(t, p.dial(t), "hello")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.outcomes) == 0 || c.outcomes[0] != filters.ConnectFailure {
		t.Errorf("outcomes %v", c.outcomes)
	}
}

func TestNothingThere(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(closedPort(t)), endpoint(closedPort(t)))
	p := start(t, c, resource.TCPFilter{MaxConnectAttempts: 5})
	if _, err := p.dial(t).Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("got %v", err)
	}
	p.metric(t, `dragoman_tcp_closed_total{listener="l",reason="connect_failure"} 1`)
	c.set(2)
	if _, err := p.dial(t).Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !isReset(err) {
		t.Errorf("got %v", err)
	}
	p.metric(t, `dragoman_tcp_closed_total{listener="l",reason="no_endpoint"} 1`)
}

func isReset(err error) bool { return err != nil && strings.Contains(err.Error(), "reset") }

func TestUnhealthyAvoided(t *testing.T) {
	t.Parallel()
	sick := endpoint(server(t, func(c net.Conn) { _, _ = io.WriteString(c, "sick") }))
	sick.SetHealthy(false)
	c := &cluster{}
	c.set(1, sick, endpoint(server(t, func(c net.Conn) { _, _ = io.WriteString(c, "well") })))
	p := start(t, c, resource.TCPFilter{})
	for range 5 {
		if got, _ := io.ReadAll(p.dial(t)); string(got) != "well" {
			t.Errorf("got %q", got)
		}
	}
	c.set(2, sick) // better than nothing
	if got, _ := io.ReadAll(p.dial(t)); string(got) != "sick" {
		t.Errorf("got %q", got)
	}
}

// inTurn picks shards in turn.
type inTurn struct {
	n    int
	next atomic.Int64
}

func (p *inTurn) Pick([]byte) int { return int(p.next.Add(1)-1) % p.n }

// spread counts how 60 connections are spread over three endpoints.
func spread(t *testing.T, policy resource.LBPolicy, picker filters.Picker) (hits [3]int32) {
	t.Helper()
	c := &cluster{lb: resource.LoadBalancing{Policy: policy, ChoiceCount: 3}}
	var counts [3]atomic.Int32
	eps := make([]*filters.Endpoint, 3)
	for i := range eps {
		eps[i] = endpoint(server(t, func(c net.Conn) { counts[i].Add(1); echo(c) }))
	}
	c.set(1, eps...)
	c.table.Load().Picker = picker
	p := start(t, c, resource.TCPFilter{})
	for range 60 {
		roundTrip(t, p.dial(t), "x") // stays open until the test ends
	}
	for i := range hits {
		hits[i] = counts[i].Load()
	}
	return hits
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	if hits := spread(t, resource.LBRoundRobin, &inTurn{n: 3}); hits != [3]int32{20, 20, 20} {
		t.Errorf("round robin: %v", hits)
	}
	if hits := spread(t, resource.LBLeastRequest, &inTurn{n: 1}); slices.Min(hits[:]) < 15 {
		t.Errorf("least request: %v", hits)
	}
	if hits := spread(t, resource.LBRandom, nil); slices.Min(hits[:]) == 0 {
		t.Errorf("random: %v", hits)
	}
}

func TestTimeouts(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(server(t, echo)))
	idle := start(t, c, resource.TCPFilter{IdleTimeout: 2 * time.Second})
	conn := idle.dial(t)
	for range 4 { // longer than the timeout in all, and each pause much shorter, also on a busy machine
		roundTrip(t, conn, "still here")
		<-time.After(600 * time.Millisecond)
	}
	_, _ = io.ReadAll(conn)
	idle.metric(t, `dragoman_tcp_closed_total{listener="l",reason="idle_timeout"} 1`)

	aged := start(t, c, resource.TCPFilter{MaxDuration: 50 * time.Millisecond})
	_, _ = io.ReadAll(aged.dial(t))
	aged.metric(t, `dragoman_tcp_closed_total{listener="l",reason="max_duration"} 1`)
}

func TestRetire(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	stays, goes := server(t, echo), server(t, echo)
	c.set(1, endpoint(stays))
	p := start(t, c, resource.TCPFilter{})
	conns := []*net.TCPConn{p.dial(t)}
	roundTrip(t, conns[0], "x")
	c.set(2, endpoint(goes))
	conns = append(conns, p.dial(t))
	roundTrip(t, conns[1], "x")
	old := p.filter.Load()
	c.set(3, endpoint(stays))
	next := p.build(t, resource.TCPFilter{})
	p.filter.Store(next)
	done := make(chan struct{})
	old.Retire(filters.Retirement{Next: next, Deadline: 50 * time.Millisecond, Done: func() { close(done) }})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Done is not called")
	}
	alive := 0
	for _, conn := range conns {
		_, _ = io.WriteString(conn, "y")
		if n, _ := conn.Read(make([]byte, 1)); n == 1 {
			alive++
		}
	}
	if alive != 1 {
		t.Errorf("%d connections live on, want the one whose endpoint stays", alive)
	}
	p.metric(t, `dragoman_tcp_closed_total{listener="l",reason="retired"} 1`)
}

func TestRetireCut(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(server(t, echo)))
	p := start(t, c, resource.TCPFilter{})
	conn := p.dial(t)
	roundTrip(t, conn, "x")
	done := make(chan struct{})
	p.filter.Load().Retire(filters.Retirement{Cut: true, Deadline: time.Hour, Done: func() { close(done) }})
	<-done
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(server(t, echo)))
	p := start(t, c, resource.TCPFilter{})
	conn := p.dial(t)
	roundTrip(t, conn, "x")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.builder.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an open connection: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection lives on")
	}
	if err := p.builder.Drain(t.Context()); err != nil {
		t.Errorf("nothing left: %v", err)
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	b := tcp.NewBuilder()
	if _, err := b.Build("text", filters.Context{Clusters: &cluster{}}); err == nil {
		t.Error("a configuration of another kind is accepted")
	}
	if _, err := b.Build(&resource.TCPFilter{Cluster: "none"}, filters.Context{Clusters: &cluster{}}); err == nil {
		t.Error("an unknown cluster is accepted")
	}
}
