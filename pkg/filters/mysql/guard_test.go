package mysql

import (
	"net"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestConnectStorm: of many clients that come at once only so many log in at the server at a time, and all get in.
func TestConnectStorm(t *testing.T) {
	t.Parallel()
	storm := filtertest.NewStorm(30, 3)
	addr := nettest.Serve(t, func(c net.Conn) {
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
