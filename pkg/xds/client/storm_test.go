package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
)

// dials counts the connects that clients try, by the address and by the client.
type dials struct {
	mu    sync.Mutex
	count map[string]map[string]int // guarded by mu
}

func (d *dials) of(client string) grpc.DialOption {
	return grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
		d.mu.Lock()
		if d.count[address] == nil {
			d.count[address] = map[string]int{}
		}
		d.count[address][client]++
		d.mu.Unlock()
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	})
}

func (d *dials) at(address string) map[string]int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.count[address])
}

func (o *own) visits() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.came)
}

// most is the largest number of any client.
func most(counts map[string]int) int {
	n := 0
	for _, c := range counts {
		n = max(n, c)
	}
	return n
}

// TestNoStorm kills one of two control planes, at which all of a hundred proxies are. They come back to the other one, each with a single stream,
// after it has tried the dead one once; they stay there when the first is back, and what is new reaches them all. How their pauses are spread is
// TestPausesAreSpread.
func TestNoStorm(t *testing.T) {
	t.Parallel()
	const proxies = 100
	first, second := newOwn(t), newOwn(t)
	a, kill := first.serve("127.0.0.1:0")
	b, _ := second.serve("127.0.0.1:0")
	for _, o := range []*own{first, second} {
		o.set(staticCluster("c1", "10.0.0.1"), listener("l1", 1001, "c1"))
	}
	tries := &dials{count: map[string]map[string]int{}}
	all := make([]*consumer, proxies)
	for i := range all {
		all[i] = newConsumer()
		o := options(t, all[i], a, b)
		o.Node.Id = fmt.Sprintf("web-%d.shop", i)
		o.DialOptions = []grpc.DialOption{tries.of(o.Node.GetId())}
		o.BackoffBase, o.BackoffMax, o.ConnectTimeout = 500*time.Millisecond, 5*time.Second, patience
		o.Log = slog.New(slog.DiscardHandler)
		start(t, o)
	}
	for _, c := range all {
		c.runs(t, "l1:c1:10.0.0.1")
	}
	if n := len(tries.at(b)); n != 0 {
		t.Errorf("%d proxies went to the second control plane at once", n)
	}
	before := tries.at(a)

	kill()
	second.set(staticCluster("c1", "10.0.0.2"), listener("l1", 1001, "c1"))
	for _, c := range all {
		c.runs(t, "l1:c1:10.0.0.2")
	}
	visits := second.visits()
	if len(visits) != proxies || most(visits) != 1 {
		t.Errorf("%d proxies came to the one that is left, up to %d times", len(visits), most(visits))
	}
	if n := most(tries.at(b)); n != 1 {
		t.Errorf("a proxy made %d connections to the one that is left", n)
	}
	for id, n := range tries.at(a) {
		if more := n - before[id]; more != 1 {
			t.Errorf("%s tried the dead one %d times", id, more)
		}
	}

	first.serve(a)
	second.set(staticCluster("c1", "10.0.0.3"), listener("l1", 1001, "c1"))
	for _, c := range all {
		c.runs(t, "l1:c1:10.0.0.3")
	}
	if visits := second.visits(); most(visits) != 1 {
		t.Errorf("a proxy came %d times", most(visits))
	}
	if visits := first.visits(); most(visits) != 1 {
		t.Errorf("a proxy went back to the one that had been dead")
	}
}
