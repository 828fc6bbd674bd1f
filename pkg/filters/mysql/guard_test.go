package mysql

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestConnectStorm: of many clients that come at once only so many log in at the server at a time, and all get in.
func TestConnectStorm(t *testing.T) {
	t.Parallel()
	storm := filtertest.NewStorm(30, 3)
	addr := fake(t, func(c net.Conn) {
		end := storm.Begin()
		_, _ = c.Write(hello(t, 0))
		if _, err := readPacket(c); err != nil {
			return
		}
		end()
		_, _ = c.Write(okPacket(2, mysqlproto.StatusAutocommit))
		_, _ = readPacket(c)
	})
	cfg := config()
	cfg.Limits.MaxConnecting, cfg.Limits.MaxWait = uint32(storm.Limit), time.Minute
	f := startTuned(t, func(b *Builder) { b.Patience = time.Minute }, cfg, addr)
	storm.Run(t, func(name string) float64 { return f.metric(name) }, func() (goOn func()) {
		c := f.dial()
		return func() {
			c.greet()
			c.respond(nil)
			if b := c.read(); b[0] != 0 {
				t.Errorf("a client gets %q", b)
			}
		}
	})
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
