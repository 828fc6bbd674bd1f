package tcp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/tcp"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestForward(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(nettest.Serve(t, echo)))
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
	c.set(1, endpoint(nettest.Serve(t, func(c net.Conn) {
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
	c.set(1, endpoint(nettest.Serve(t, func(c net.Conn) { _, _ = c.Write(big) })))
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
	c.set(1, endpoint(nettest.Serve(t, func(c net.Conn) {
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
	c.set(1, endpoint(nettest.Nobody(t)), endpoint(nettest.Nobody(t)), endpoint(nettest.Serve(t, echo)))
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
	c.set(1, endpoint(nettest.Nobody(t)), endpoint(nettest.Nobody(t)))
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

func TestTimeouts(t *testing.T) {
	t.Parallel()
	c := &cluster{}
	c.set(1, endpoint(nettest.Serve(t, echo)))
	idle := start(t, c, resource.TCPFilter{IdleTimeout: 5 * time.Second})
	conn := idle.dial(t)
	for range 4 { // longer than the timeout in all, and each pause much shorter, also on a busy machine
		roundTrip(t, conn, "still here")
		<-time.After(1500 * time.Millisecond)
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
	stays, goes := nettest.Serve(t, echo), nettest.Serve(t, echo)
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
	c.set(1, endpoint(nettest.Serve(t, echo)))
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
	c.set(1, endpoint(nettest.Serve(t, echo)))
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
