package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// load is clients that keep asking for keys whose value is their name.
type load struct {
	wg     sync.WaitGroup
	cancel context.CancelFunc

	// by shard
	good    []atomic.Int64
	failed  []atomic.Int64
	slowest []atomic.Int64 // ns, of a good one

	mu    sync.Mutex // guards below
	wrong []string
}

// startLoad runs clients on every shard, each with pipelines of a few requests
// for one shard.
func startLoad(f *fixture, cl *cluster, clients int) *load {
	n := len(cl.Table().Shards)
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel, good: make([]atomic.Int64, n), failed: make([]atomic.Int64, n), slowest: make([]atomic.Int64, n)}
	for i := range n * clients {
		shard := i % n
		keys := make([]string, 8)
		for k := range keys {
			keys[k] = cl.keyOn(shard, i*100+k)
			if got := f.dial().Do("SET", keys[k], keys[k]); got != "+OK\r\n" {
				f.tb.Fatalf("SET: %q", got)
			}
		}
		c := f.dial()
		l.wg.Go(func() { l.run(ctx, c, shard, keys) })
	}
	f.tb.Cleanup(func() { l.stop(f.tb) })
	return l
}

func (l *load) run(ctx context.Context, c *redistest.Client, shard int, keys []string) {
	var all strings.Builder
	for _, k := range keys {
		all.WriteString(redistest.Command("GET", k))
	}
	for ctx.Err() == nil {
		begin := time.Now()
		err := c.TrySend(all.String())
		for _, k := range keys {
			var got string
			if err == nil {
				got, err = c.TryReadFrame()
			}
			switch {
			case err != nil:
				l.complain("%v", err)
				return
			case got == bulk(k) || got == "$-1\r\n": // a restarted server is empty
				l.good[shard].Add(1)
			case strings.HasPrefix(got, "-ERR dragoman: "):
				l.failed[shard].Add(1)
			default:
				l.complain("asked for %q, got %.200q", k, got)
			}
		}
		if took := int64(time.Since(begin)); took > l.slowest[shard].Load() {
			l.slowest[shard].Store(took)
		}
	}
}

func (l *load) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

func (l *load) stop(tb testing.TB) {
	l.cancel()
	l.wg.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.wrong {
		tb.Error(w)
	}
	l.wrong = nil
}

// progress waits until n more requests to a shard have gone well.
func (l *load) progress(tb testing.TB, shard int, n int64) {
	tb.Helper()
	from := l.good[shard].Load()
	eventually(tb, fmt.Sprintf("shard %d to get on", shard), func() error {
		if got := l.good[shard].Load() - from; got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
}

func TestShardKilledAndBack(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 4)
	cl := newCluster("main", nodes...)
	f := start(t, unhurried(), cl)
	l := startLoad(f, cl, 2)
	for i := range nodes {
		l.progress(t, i, 100)
	}
	nodes[1].Kill()
	for i := range l.slowest {
		l.slowest[i].Store(0)
	}
	c := f.dial()
	for n := range 30 {
		begin := time.Now()
		got := c.Do("GET", cl.keyOn(1, n))
		if took := time.Since(begin); took > atOnce {
			t.Errorf("the error took %v", took)
		}
		if !strings.HasPrefix(got, "-ERR dragoman: shard \"s2\" ("+nodes[1].Addr()+")") {
			t.Errorf("GET: %q", got)
		}
		got = c.Do("MGET", cl.keyOn(0, n), cl.keyOn(1, n))
		wantPrefix(t, "MGET", got, "-ERR dragoman: shard \"s2\"")
	}
	for _, i := range []int{0, 2, 3} {
		l.progress(t, i, 300)
		if n := l.failed[i].Load(); n > 0 {
			t.Errorf("shard %d, which lives, failed %d times", i, n)
		}
		if took := time.Duration(l.slowest[i].Load()); took > atOnce {
			t.Errorf("shard %d, which lives, took %v", i, took)
		}
	}
	nodes[1].Restart()
	l.progress(t, 1, 300)
	l.stop(t)
	f.quiet()
}

func TestShardFrozenAndThawed(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 3)
	cl := newCluster("main", nodes...)
	cl.Table().Options.ConnectTimeout = time.Second
	cfg := defaults()
	cfg.OpTimeout = time.Second // less than silence
	f := start(t, cfg, cl)
	l := startLoad(f, cl, 2)
	for i := range nodes {
		l.progress(t, i, 100)
	}
	for _, long := range []bool{false, true} { // shorter and longer than a silent connection is kept
		nodes[0].Freeze()
		c := f.dial()
		begin := time.Now()
		got := c.Do("GET", cl.keyOn(0, 1))
		took := time.Since(begin)
		wantPrefix(t, "GET", got, "-ERR dragoman: shard \"s1\" ("+nodes[0].Addr()+") did not answer in time")
		if took < 900*time.Millisecond || took > atOnce {
			t.Errorf("the error took %v, the limit is %v", took, cfg.OpTimeout)
		}
		if long {
			eventually(t, "the silent connection to be given up", func() error {
				if got := c.Do("GET", cl.keyOn(0, 1)); !strings.Contains(got, "set-up") {
					return fmt.Errorf("%q", got)
				}
				return nil
			})
		}
		for _, i := range []int{1, 2} {
			l.progress(t, i, 300)
			if n := l.failed[i].Load(); n > 0 {
				t.Errorf("shard %d, which lives, failed %d times", i, n)
			}
		}
		nodes[0].Thaw()
		l.progress(t, 0, 300)
	}
	l.stop(t)
	f.quiet()
}

// Abandoned replies must never reach a later request, whatever came meanwhile.
func TestFrozenRepliesAreSwallowed(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	cfg := defaults()
	cfg.OpTimeout = 100 * time.Millisecond
	f := start(t, cfg, newCluster("main", node))
	c, gone := f.dial(), f.dial()
	inTime := func(want string, request ...string) { // the limit is so short that any request may exceed it
		t.Helper()
		eventually(t, strings.Join(request, " "), func() error {
			got := c.Do(request...)
			if !strings.HasPrefix(got, "-ERR dragoman: ") && got != want {
				t.Errorf("%q: got %q, want %q", request, got, want)
				return nil
			}
			if got != want {
				return errors.New(got)
			}
			return nil
		})
	}
	for i := range 50 {
		inTime("+OK\r\n", "SET", fmt.Sprint(i), fmt.Sprint(i))
	}
	for round := range 5 {
		node.Freeze()
		gone.Send(redistest.Command("GET", "1"))
		for i := range 10 {
			c.Send(redistest.Command("GET", fmt.Sprint(i)))
		}
		for range 10 {
			wantPrefix(t, "frozen", c.ReadFrame(), "-ERR dragoman: ")
		}
		gone.Close()
		gone = f.dial()
		for i := 10; i < 20; i++ {
			c.Send(redistest.Command("GET", fmt.Sprint(i)))
		}
		node.Thaw()
		for i := 10; i < 20; i++ {
			if got := c.ReadFrame(); got != bulk(fmt.Sprint(i)) && !strings.HasPrefix(got, "-ERR dragoman: ") {
				t.Errorf("round %d: asked for %d, got %q", round, i, got)
			}
		}
		for i := range 50 {
			inTime(bulk(fmt.Sprint(i)), "GET", fmt.Sprint(i))
		}
	}
	f.quiet()
}

// Connections that servers cut again and again: each cut fails what waits
// there, nothing else, and no reply goes astray.
func TestConnectionsCutUnderLoad(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 3)
	cl := newCluster("main", nodes...)
	f := start(t, defaults(), cl)
	l := startLoad(f, cl, 3)
	for range 20 {
		for i := range nodes {
			l.progress(t, i, 50)
		}
		for _, n := range nodes[:2] {
			n.Do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		}
	}
	for i := range nodes {
		l.progress(t, i, 300)
	}
	if n := l.failed[2].Load(); n > 0 {
		t.Errorf("the shard that was left alone failed %d times", n)
	}
	if good, failed := l.good[0].Load(), l.failed[0].Load(); failed > good {
		t.Errorf("%d requests failed, %d did not", failed, good)
	}
	l.stop(t)
	f.quiet()
}

func TestUpstreamLimits(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	cl := newCluster("main", node)
	cl.Table().Options.MaxPendingRequests = 10
	cl.Table().Options.MaxConnections = 3
	f := start(t, defaults(), cl)
	c := f.dial()
	wantPrefix(t, "GET", c.Do("GET", "a"), "$-1")
	node.Freeze()
	c.Send(strings.Repeat(redistest.Command("GET", "a"), 15))
	node.Thaw()
	few := 0
	for range 15 {
		switch got := c.ReadFrame(); {
		case got == "$-1\r\n":
			few++
		case !strings.Contains(got, "too many requests outstanding (10)"):
			t.Errorf("GET: %q", got)
		}
	}
	if few != 10 {
		t.Errorf("%d requests were let through", few)
	}
	blocked := []*redistest.Client{f.dial(), f.dial()}
	for _, b := range blocked {
		b.Send(redistest.Command("BLPOP", "l", "0"))
	}
	eventually(t, "two blocked clients", func() error {
		if got := node.Info("blocked_clients"); got != "2" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	if got := f.dial().Do("BLPOP", "l", "0"); !strings.Contains(got, "too many connections (3)") {
		t.Errorf("BLPOP: %q", got)
	}
	wantPrefix(t, "GET", c.Do("GET", "a"), "$-1")
	blocked[0].Close()
	eventually(t, "a connection to be free", func() error {
		if got := node.Info("blocked_clients"); got != "1" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	again := f.dial()
	again.Send(redistest.Command("BLPOP", "l", "0"))
	wantPrefix(t, "RPUSH", c.Do("RPUSH", "l", "1", "2"), ":2")
	wantPrefix(t, "BLPOP", blocked[1].ReadFrame(), "*2")
	wantPrefix(t, "BLPOP", again.ReadFrame(), "*2")
	f.quiet()
}
