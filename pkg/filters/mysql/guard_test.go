package mysql

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestConnectStorm: of many clients that come at once only so many are shown to the server at a time, and all get in.
func TestConnectStorm(t *testing.T) {
	t.Parallel()
	const clients, limit = 30, 3
	var busy, most atomic.Int64
	release := make(chan struct{})
	addr := fake(t, func(c net.Conn) {
		n := busy.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() { //nolint:revive // until it is in
		}
		<-release
		busy.Add(-1) // before the proxy can know
		_, _ = c.Write(hello(t, 0))
		if _, err := readPacket(c); err != nil {
			return
		}
		_, _ = c.Write(okPacket(2, mysqlproto.StatusAutocommit))
		_, _ = readPacket(c)
	})
	cfg := config()
	cfg.Limits.MaxConnecting, cfg.Limits.MaxWait = limit, time.Minute
	f := start(t, cfg, addr)
	var wg sync.WaitGroup
	for range clients {
		c := f.dial()
		wg.Go(func() {
			c.greet()
			c.respond(nil)
			if b := c.read(); b[0] != 0 {
				t.Errorf("a client gets %q", b)
			}
		})
	}
	for name, want := range map[string]float64{
		"upstream_connecting": limit, "upstream_connect_queue": clients - limit, "upstream_connect_queued_total": clients - limit, "upstream_connect_queue_left_total": 0,
	} {
		eventually(t, name, func() bool { return f.metric(name) == want })
	}
	eventually(t, "the server to have as many as may be", func() bool { return busy.Load() == limit })
	close(release)
	wg.Wait()
	if got := most.Load(); got != limit {
		t.Errorf("%d connects at once, want %d", got, limit)
	}
}

// TestConnectStormEnds: who waits for its turn longer than limits.maxWait is told so.
func TestConnectStormEnds(t *testing.T) {
	t.Parallel()
	stop := make(chan struct{})
	addr := fake(t, func(net.Conn) { <-stop })
	cfg := config()
	cfg.Limits.MaxConnecting, cfg.Limits.MaxWait = 1, 300*time.Millisecond
	f := start(t, cfg, addr)
	t.Cleanup(func() { close(stop) })
	f.dial()
	eventually(t, "the first client's turn", func() bool { return f.builder.Dials.Open() == 1 })
	if _, err := f.client("select 1"); err == nil || !strings.Contains(err.Error(), "too many sessions begin") {
		t.Errorf("got %v", err)
	}
	if got := f.metric("upstream_connect_queue_left_total"); got != 1 {
		t.Errorf("%v have left the queue, want 1", got)
	}
}
