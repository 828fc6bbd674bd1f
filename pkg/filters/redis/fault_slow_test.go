package redis

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// smallWindow makes the kernel take as little as possible for a client that
// does not read, so that the filter has to.
func smallWindow(tb testing.TB, c *redistest.Client) {
	tb.Helper()
	if err := c.Conn().(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		tb.Fatal(err)
	}
}

// peak polls what the filter holds until done is closed, and returns the most.
func (f *fixture) peak(done <-chan struct{}) (heap, chunks int) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		h, n := f.memory()
		heap, chunks = max(heap, h), max(chunks, n)
		select {
		case <-done:
			return heap, chunks
		case <-tick.C:
		}
	}
}

// Clients that ask for a lot and never read must cost little memory, must not
// keep others from their replies, and are closed in the end.
func TestSlowClientNeverReads(t *testing.T) {
	const limit = 1500 * time.Millisecond
	node := redistest.Server(t)
	node.Do("SET", "large", strings.Repeat("l", 100<<10))
	node.Do("SETRANGE", "huge", fmt.Sprint(200<<20-1), "h")
	node.Do("SET", "small", "small")
	cfg := defaults()
	cfg.Limits.SlowClientTimeout = limit
	cfg.OpTimeout = 30 * time.Second // for replies that wait until a slow client is gone
	f := start(t, cfg, newCluster("main", node))
	other := f.dial()
	wantPrefix(t, "GET", other.Do("GET", "small"), bulk("small"))

	tests := []struct {
		name, request string
		times         int
	}{
		{"thousands of large replies", redistest.Command("GET", "large"), 3000},
		{"one huge reply", redistest.Command("GET", "huge"), 1},
		{"several huge replies", redistest.Command("GET", "huge"), 3},
		{"a million small replies", redistest.Command("GET", "small"), 1_500_000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			victim := f.dial()
			smallWindow(t, victim)
			heap0, chunks0 := f.memory()
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { // blocks when the filter takes no more
				w := bufio.NewWriter(victim.Conn())
				for range tt.times {
					_, _ = w.WriteString(tt.request)
				}
				_ = w.Flush()
			})
			done := make(chan struct{})
			wg.Go(func() {
				defer close(done)
				eventually(t, "the client to be closed", func() (err error) {
					f.onLoop(func(w *worker) {
						if n := w.loop.Stats().Downstream; n > 1 {
							err = fmt.Errorf("%d clients", n)
						}
					})
					return err
				})
			})
			wg.Go(func() {
				for n := 0; ; n++ {
					if got, err := other.TryDo("GET", "small"); err != nil || got != bulk("small") {
						t.Errorf("another client got %q, %v", got, err)
						return
					}
					select {
					case <-done:
						return
					case <-time.After(time.Millisecond):
					}
				}
			})
			heap, chunks := f.peak(done)
			t.Logf("heap +%d MB, chunks +%d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
			if heap-heap0 > 64<<20 || chunks-chunks0 > 32<<20 {
				t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
			}
		})
	}
	f.quiet()
}

// A client that only waits for one shard while another answers must not make
// the filter hold everything, nor be closed for it.
func TestRepliesHeldForSlowShard(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 60 * time.Second // the frozen shard is waited for
	f := start(t, cfg, cl)
	slow, fast := cl.keyOn(0, 0), cl.keyOn(1, 0)
	nodes[1].Do("SET", fast, strings.Repeat("f", 1<<20))
	c, other := f.dial(), f.dial()
	c.Timeout = 60 * time.Second
	other.Do("SET", slow, "s")
	heap0, chunks0 := f.memory()

	nodes[0].Freeze()
	const n = 100
	c.Send(redistest.Command("GET", slow) + strings.Repeat(redistest.Command("GET", fast), n))
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer close(done)
		for range 20 { // bounded delay while the fast shard's connection is held back
			if got := other.Do("STRLEN", fast); got != ":1048576\r\n" {
				t.Errorf("STRLEN: %q", got)
			}
			<-time.After(50 * time.Millisecond)
		}
	})
	heap, chunks := f.peak(done)
	wg.Wait()
	t.Logf("heap +%d MB, chunks +%d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
	if chunks-chunks0 > 100<<20 {
		t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
	}
	nodes[0].Thaw()
	wantPrefix(t, "slow", c.ReadFrame(), bulk("s"))
	whole := 0
	for range n {
		got := c.ReadFrame()
		switch {
		case len(got) == 1<<20+len("$1048576\r\n\r\n"):
			whole++
		case got != "-ERR dragoman: too many replies wait for an earlier one\r\n":
			t.Fatalf("fast: %.80q, %d bytes", got, len(got))
		}
	}
	if whole < 8 {
		t.Errorf("%d of %d replies were kept", whole, n)
	}
	f.quiet()
}

// Two clients whose pipelines cross, so that each waits for a connection that
// is held back for the other.
func TestCrossedPipelines(t *testing.T) {
	t.Parallel()
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 30 * time.Second
	f := start(t, cfg, cl)
	keys := [2]string{cl.keyOn(0, 0), cl.keyOn(1, 0)}
	value := strings.Repeat("v", 2<<20)
	for i, n := range nodes {
		n.Do("SET", keys[i], value)
	}
	var wg sync.WaitGroup
	for i := range 4 {
		c := f.dial()
		c.Timeout = 30 * time.Second
		wg.Go(func() {
			first, second := redistest.Command("GET", keys[i%2]), redistest.Command("GET", keys[1-i%2])
			_ = c.TrySend(strings.Repeat(second, 8) + strings.Repeat(first, 8) + strings.Repeat(second+first, 4))
			for n := range 24 {
				if got, err := c.TryReadFrame(); err != nil || len(got) != len(value)+12 {
					t.Errorf("client %d, reply %d: %.100q..., %d bytes, %v", i, n, got, len(got), err)
					return
				}
			}
		})
	}
	wg.Wait()
	f.quiet()
}

// A million requests, and not one reply is read until all have been sent.
func TestMillionRequestsBeforeReading(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	f := start(t, defaults(), cl)
	keys := [2]string{cl.keyOn(0, 0), cl.keyOn(1, 0)}
	c := f.dial()
	for _, k := range keys {
		c.Do("SET", k, k)
	}
	heap0, chunks0 := f.memory()
	const n = 1_000_000
	var wg sync.WaitGroup
	defer wg.Wait()
	conn := c.Conn()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	wg.Go(func() {
		w := bufio.NewWriterSize(conn, 64<<10)
		for i := range n {
			_, _ = w.WriteString(redistest.Command("GET", keys[i%2]))
		}
		if err := w.Flush(); err != nil {
			t.Error(err)
		}
	})
	// Reading begins when the filter has stopped to take requests.
	eventually(t, "the filter to stop reading", func() (err error) {
		f.onLoop(func(w *worker) {
			for _, lf := range w.filters {
				if c := lf.clients.First(); c.x == nil || c.x.stuckSince == 0 {
					err = fmt.Errorf("still taking requests")
				}
			}
		})
		return err
	})
	heap, chunks := f.memory()
	if heap-heap0 > 16<<20 || chunks-chunks0 > 8<<20 {
		t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	for i := range n {
		want := bulk(keys[i%2])
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
			t.Fatalf("reply %d: got %q, %v, want %q", i, got, err, want)
		}
	}
	f.quiet()
}

// A client that reads slowly, but reads, gets everything.
func TestSlowButReading(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	node.Do("SETRANGE", "huge", fmt.Sprint(20<<20-1), "h")
	cfg := defaults()
	cfg.Limits.SlowClientTimeout = 5 * time.Second
	f := start(t, cfg, newCluster("main", node))
	c := f.dial()
	c.Send(redistest.Command("GET", "huge"))
	total := 0
	buf := make([]byte, 400<<10)
	tick := time.NewTicker(120 * time.Millisecond) // for longer than a client that does not read may stay
	defer tick.Stop()
	for want := len("$20971520\r\n\r\n") + 20<<20; total < want; {
		<-tick.C
		_ = c.Conn().SetReadDeadline(time.Now().Add(5 * time.Second))
		n, err := c.Conn().Read(buf)
		if err != nil {
			t.Fatalf("after %d bytes: %v", total, err)
		}
		total += n
	}
	f.quiet()
}

// A server that takes nothing makes its clients wait, rather than the filter
// hold their requests.
func TestServerTakesNothing(t *testing.T) {
	nodes := servers(t, 2)
	cl := newCluster("main", nodes...)
	cfg := defaults()
	cfg.OpTimeout = 10 * time.Second // the other shard keeps to it also when all stands still for a moment
	f := start(t, cfg, cl)
	frozen, fine := cl.keyOn(0, 0), cl.keyOn(1, 0)
	other := f.dial()
	other.Do("MSET", frozen, "1", fine, "1")
	value := strings.Repeat("v", 900<<10)
	request := redistest.Command("SET", frozen, value)
	const clients, n = 4, 100
	nodes[0].Freeze()
	heap0, chunks0 := f.memory()
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range clients {
		c := f.dial()
		wg.Go(func() {
			_ = c.Conn().SetDeadline(time.Now().Add(time.Minute))
			go func() {
				for range n {
					if _, err := io.WriteString(c.Conn(), request); err != nil {
						return
					}
				}
			}()
			c.Timeout = time.Minute
			for i := range n {
				if got, err := c.TryReadFrame(); err != nil || got != "+OK\r\n" && !strings.HasPrefix(got, "-ERR dragoman: shard \"s1\"") {
					t.Errorf("reply %d: %.100q, %v", i, got, err)
					return
				}
			}
		})
	}
	go func() {
		defer close(done)
		for range 20 {
			if got := other.Do("SET", fine, "x"); got != "+OK\r\n" {
				t.Errorf("the other shard: %q", got)
			}
			<-time.After(50 * time.Millisecond)
		}
	}()
	heap, chunks := f.peak(done)
	t.Logf("heap +%d MB, chunks +%d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
	if chunks-chunks0 > (1+2*clients)<<20 {
		t.Errorf("the heap grew by %d MB, the loop's chunks by %d MB", (heap-heap0)>>20, (chunks-chunks0)>>20)
	}
	nodes[0].Thaw()
	wg.Wait()
	f.quiet()
}
