package pool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/h1"
	"github.com/dragoman-mesh/dragoman/pkg/filters/http/pool"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// cluster is one whose endpoints a test says, and which notes what it is told.
type cluster struct {
	table   filters.Table
	lb      resource.LoadBalancing
	reports chan filters.Outcome
}

func newCluster(o filters.UpstreamOptions, addrs ...string) *cluster {
	c := &cluster{table: filters.Table{Options: &o}, reports: make(chan filters.Outcome, 100)}
	for _, a := range addrs {
		ep := &filters.Endpoint{Network: "tcp", Address: a, Weight: 1}
		ep.SetHealthy(true)
		c.table.Shards = append(c.table.Shards, filters.Shard{Name: a, Primary: ep})
	}
	return c
}

func (*cluster) Name() string                                    { return "c" }
func (c *cluster) Table() *filters.Table                         { return &c.table }
func (c *cluster) Report(_ *filters.Endpoint, o filters.Outcome) { c.reports <- o }
func (*cluster) Refresh(string)                                  {}
func (c *cluster) LoadBalancing() resource.LoadBalancing         { return c.lb }
func (c *cluster) endpoint(i int) *filters.Endpoint              { return c.table.Shards[i].Primary }

// pooled gives the connections to a cluster.
func pooled(t *testing.T, c *cluster) *pool.Cluster {
	t.Helper()
	p := pool.New()
	t.Cleanup(p.Close)
	return p.Cluster(c)
}

// send sends a request and reads its answer.
func send(t *testing.T, k *pool.Cluster, ep *filters.Endpoint) (reused bool, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://x/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	call := &pool.Call{Request: r, Endpoint: ep, Wire: h1.Exchange{Target: "/"}}
	resp, err := k.Do(ctx, call)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return call.Reused, err
}

func serverAt(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "well") }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestReuse uses a connection again, as often and as long as the cluster says.
func TestReuse(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		options  filters.HTTPUpstream
		want     []bool // of three requests, which had a connection that was used before
		connects uint64
	}{
		"no bound":      {filters.HTTPUpstream{}, []bool{false, true, true}, 1},
		"two requests":  {filters.HTTPUpstream{RequestsPerConn: 2}, []bool{false, true, false}, 2},
		"too old":       {filters.HTTPUpstream{MaxConnectionAge: 1}, []bool{false, false, false}, 3},
		"too long":      {filters.HTTPUpstream{IdleTimeout: 1}, []bool{false, false, false}, 3},
		"kept for ever": {filters.HTTPUpstream{IdleTimeout: -1}, []bool{false, true, true}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCluster(filters.UpstreamOptions{HTTP: tt.options}, serverAt(t))
			k := pooled(t, c)
			var got []bool
			for range tt.want {
				reused, err := send(t, k, c.endpoint(0))
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, reused)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("reused (-want +got):\n%s", diff)
			}
			if n := k.Connects.Load(); n != tt.connects {
				t.Errorf("%d connects, want %d", n, tt.connects)
			}
		})
	}
}

// TestQueue has connections counted, waiters queue in their order, and too many of
// them refused.
func TestQueue(t *testing.T) {
	t.Parallel()
	k := pooled(t, newCluster(filters.UpstreamOptions{HTTP: filters.HTTPUpstream{MaxConnections: 1, MaxPending: 2}}, "127.0.0.1:1"))
	woken := make(chan string, 4)
	wake := func(name string) func() { return func() { woken <- name } }
	if w, err := k.Reserve(wake("first")); w != nil || err != nil {
		t.Fatalf("%v, %v", w, err)
	}
	a, err := k.Reserve(wake("a"))
	if a == nil || err != nil {
		t.Fatalf("%v, %v", a, err)
	}
	b, err := k.Reserve(wake("b"))
	if b == nil || err != nil {
		t.Fatalf("%v, %v", b, err)
	}
	if _, err := k.Reserve(wake("c")); !errors.Is(err, pool.ErrOverflow) {
		t.Errorf("the queue is full, and the error %v", err)
	}
	if pending, over := k.Pending.Load(), k.Overflows.Load(); pending != 2 || over != 1 {
		t.Errorf("%d pending, %d refused", pending, over)
	}
	k.Release()
	if got := <-woken; got != "a" {
		t.Errorf("%s was woken", got)
	}
	k.Abandon(a) // whose turn had come
	if got := <-woken; got != "b" {
		t.Errorf("%s was woken", got)
	}
	if open, pending := k.Open.Load(), k.Pending.Load(); open != 0 || pending != 0 {
		t.Errorf("%d open, %d pending", open, pending)
	}
}

// TestShed has an idle connection give way to one that is wanted elsewhere.
func TestShed(t *testing.T) {
	t.Parallel()
	c := newCluster(filters.UpstreamOptions{HTTP: filters.HTTPUpstream{MaxConnections: 1}}, serverAt(t), serverAt(t))
	k := pooled(t, c)
	for i := range 4 {
		if _, err := send(t, k, c.endpoint(i%2)); err != nil {
			t.Fatal(err)
		}
	}
	if open, connects := k.Open.Load(), k.Connects.Load(); open != 1 || connects != 4 {
		t.Errorf("%d open after %d connects", open, connects)
	}
}

// TestBounds refuses requests and retries that are too many.
func TestBounds(t *testing.T) {
	t.Parallel()
	k := pooled(t, newCluster(filters.UpstreamOptions{HTTP: filters.HTTPUpstream{MaxRequests: 2, MaxRetries: 1}}, "127.0.0.1:1"))
	for i, want := range []error{nil, nil, pool.ErrOverflow} {
		if err := k.Enter(); !errors.Is(err, want) {
			t.Errorf("request %d: %v, want %v", i, err, want)
		}
	}
	k.Leave()
	if err := k.Enter(); err != nil {
		t.Errorf("after one has left: %v", err)
	}
	if !k.MayRetry() || k.MayRetry() {
		t.Error("one retry at once, no more")
	}
	k.DoneRetry()
	if !k.MayRetry() {
		t.Error("a retry after the other has ended")
	}
	if n, refused := k.Retries.Load(), k.RetriesRefused.Load(); n != 2 || refused != 1 {
		t.Errorf("%d retries, %d refused", n, refused)
	}
}

// TestFailures reports what is amiss each time, and that it is well again once.
func TestFailures(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	c := newCluster(filters.UpstreamOptions{}, dead)
	k := pooled(t, c)
	var connect *pool.ConnectError
	if _, err := send(t, k, c.endpoint(0)); !errors.As(err, &connect) || connect.Endpoint != dead {
		t.Errorf("error %v", err)
	}
	for range 3 {
		k.Report(c.endpoint(0), filters.Success)
	}
	close(c.reports)
	var got []filters.Outcome
	for o := range c.reports {
		got = append(got, o)
	}
	if diff := cmp.Diff([]filters.Outcome{filters.ConnectFailure, filters.Success}, got); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	if n, open := k.ConnectFailures.Load(), k.Open.Load(); n != 1 || open != 0 {
		t.Errorf("%d failures, %d open", n, open)
	}
}

// TestPick prefers endpoints that are healthy and were not tried, and takes others
// before none.
func TestPick(t *testing.T) {
	t.Parallel()
	c := newCluster(filters.UpstreamOptions{}, "127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3")
	k := pooled(t, c)
	a, b, d := c.endpoint(0), c.endpoint(1), c.endpoint(2)
	picked := func(tried ...*filters.Endpoint) map[*filters.Endpoint]bool {
		got := map[*filters.Endpoint]bool{}
		for range 200 { // that one of three is never drawn: once in 10^35
			got[k.Pick(nil, tried, 1)] = true
		}
		return got
	}
	same := func(got map[*filters.Endpoint]bool, want ...*filters.Endpoint) {
		t.Helper()
		for _, ep := range want {
			if !got[ep] || len(got) != len(want) {
				t.Errorf("picked %d endpoints, want %d with %s", len(got), len(want), ep.Address)
			}
		}
	}
	same(picked(), a, b, d)
	same(picked(a), b, d)
	d.SetHealthy(false)
	same(picked(), a, b)
	same(picked(a, b), d)
	same(picked(a, b, d), a, b, d)
	c.lb = resource.LoadBalancing{Policy: resource.LBLeastRequest, ChoiceCount: 20}
	k.Begin(a)
	same(picked(), b)
	k.End(a)
	same(picked(), a, b)
	if k := pooled(t, newCluster(filters.UpstreamOptions{})); k.Pick(nil, nil, 1) != nil {
		t.Error("an endpoint of none")
	}
}
