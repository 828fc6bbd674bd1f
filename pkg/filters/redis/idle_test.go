package redis

import (
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	cfg := defaults()
	cfg.Limits.IdleTimeout = 6 * time.Second
	f := start(t, cfg, newCluster("main", servers(t, 1)...))
	idle, inTx, sub, blocked, busy := f.dial(), f.dial(), f.dial(), f.dial(), f.dial()
	check(t, idle, "GET k", "$-1")
	check(t, inTx, "MULTI", "+OK", "GET k", "+QUEUED")
	check(t, sub, "SUBSCRIBE ch", "*3 $9 subscribe $2 ch :1")
	blocked.Send(redistest.Command("BLPOP", "q", "0"))
	stop := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				if _, err := busy.TryDo("PING"); err != nil {
					done <- err
				}
			}
		}
	}()
	wantEnd(t, idle)
	wantEnd(t, inTx)
	close(stop)
	if err := <-done; err != nil {
		t.Error(err)
	}
	c := f.dial()
	check(t, c, "RPUSH q v", ":1", "PUBLISH ch x", ":1")
	if got := blocked.ReadFrame(); got != redistest.Command("q", "v") {
		t.Errorf("BLPOP: %q", got)
	}
	if got := sub.ReadFrame(); got != message("message", "ch", "x") {
		t.Errorf("got %q", got)
	}
	if n := metric(t, f.builder, "idle_clients_closed_total"); n < 2 {
		t.Errorf("%v were closed", n)
	}
}
