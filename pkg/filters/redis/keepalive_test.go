package redis

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
)

// TestServersAreProbed: a client that is subscribed, or blocked, sends its server
// nothing. That the server is gone without a word is for TCP's probes to find out.
func TestServersAreProbed(t *testing.T) {
	t.Parallel()
	main := newCluster("main", servers(t, 1)...)
	main.Table().Options.KeepAlive = netloop.KeepAlive{Idle: 77 * time.Second}
	f := start(t, defaults(), main)
	check(t, f.dial(), "PING", "+PONG", "GET k", "$-1")
	subscriber, blocked := f.dial(), f.dial()
	subscriber.Do("SUBSCRIBE", "ch")
	blocked.Send(redistest.Command("BLPOP", "q", "0"))
	var fds []int
	redistest.Eventually(t, 30*time.Second, "three connections", func() error {
		fds = fds[:0]
		f.onLoop(func(w *worker) {
			for s := range w.subscribed {
				for _, l := range s.links {
					fds = append(fds, l.conn.FD())
				}
			}
			for _, p := range w.pools {
				for _, u := range p.shared {
					fds = append(fds, u.conn.FD())
				}
			}
			for c := range w.filters[f.filter].clients.All() {
				if c.x != nil && c.x.exclusive != nil {
					fds = append(fds, c.x.exclusive.conn.FD())
				}
			}
		})
		if len(fds) != 3 {
			return fmt.Errorf("there are %d", len(fds))
		}
		return nil
	})
	for _, fd := range fds {
		idle, err := syscall.GetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
		if on, _ := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); on == 0 || idle != 77 {
			t.Errorf("probes %d, after %d s, %v", on, idle, err)
		}
	}
}
