package client_test

import (
	"errors"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestThousandReconnects breaks the stream a thousand times, in all ways, and
// then counts goroutines and descriptors. It runs alone.
func TestThousandReconnects(t *testing.T) { //nolint:paralleltest // it counts what the process has
	var streams atomic.Int32
	const cycles = 1000
	server := &ads{delta: func(c *conversation) error {
		n := streams.Add(1)
		if n > cycles {
			return simple(c)
		}
		switch n % 4 {
		case 0:
			return errors.New("stumbles")
		case 1:
			return c.say(resource.ClusterType, staticCluster("c1", "10.0.0.1"))
		case 2:
			return errors.Join(c.say(resource.ClusterType, staticCluster("c1", "10.0.0.1")),
				c.say(resource.ListenerType, listener("l1", 1001, "c1")), awaitAck(c, resource.ListenerType), errors.New("stumbles"))
		}
		return c.say("nonsense")
	}}
	address, _ := serve(t, server.register, grpc.ConnectionTimeout(time.Second))
	goroutines, descriptors := runtime.NumGoroutine(), descriptorsOpen(t)
	proxy := newConsumer()
	o := options(t, proxy, address, address)
	o.BackoffBase, o.BackoffMax = time.Microsecond, 10*time.Microsecond
	o.CachePath = cachePath(t)
	_, stop := start(t, o)
	eventually(t, func() bool { return streams.Load() > cycles }, func() string { return "too slow" })
	proxy.runs(t, "l1:c1:10.0.0.1")
	stop()
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+2 && descriptorsOpen(t) <= descriptors+1 }, func() string {
		buf := make([]byte, 1<<16)
		t.Logf("%s", buf[:runtime.Stack(buf, true)])
		return "goroutines or descriptors are left"
	})
}

func descriptorsOpen(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
