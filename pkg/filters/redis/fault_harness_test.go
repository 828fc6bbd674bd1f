package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// atOnce is what an immediate answer may take on a machine that stands still for a
// moment: less than the OpTimeout of unhurried, which a request that waits for its
// server takes.
const atOnce = 9 * time.Second

// unhurried is defaults with an OpTimeout that is longer than atOnce.
func unhurried() *resource.RedisFilter {
	cfg := defaults()
	cfg.OpTimeout = time.Minute
	return cfg
}

// fake is a server that misbehaves as a test tells it to.
type fake struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup

	mu    sync.Mutex // guards below
	conns []net.Conn
}

// newFake serves every connection with serve, whose number counts from 0. The
// connection is closed when serve returns.
func newFake(tb testing.TB, serve func(n int, c *fakeConn)) *fake {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	f := &fake{addr: ln.Addr().String(), ln: ln}
	f.wg.Go(func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns = append(f.conns, conn)
			f.mu.Unlock()
			f.wg.Go(func() {
				defer conn.Close()
				serve(n, &fakeConn{Conn: conn, r: bufio.NewReader(conn)})
			})
		}
	})
	tb.Cleanup(f.close)
	return f
}

func (f *fake) close() {
	f.ln.Close()
	f.mu.Lock()
	for _, c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}

// fakeConn is one connection of a fake server.
type fakeConn struct {
	net.Conn
	r *bufio.Reader
}

// request reads one request; false at the end.
func (c *fakeConn) request() ([]string, bool) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil {
		return nil, false
	}
	args := make([]string, n)
	for i := range args {
		size, err := c.r.ReadString('\n')
		if err != nil {
			return nil, false
		}
		k, err := strconv.Atoi(strings.TrimSpace(size[1:]))
		if err != nil {
			return nil, false
		}
		b := make([]byte, k+2)
		if _, err := io.ReadFull(c.r, b); err != nil {
			return nil, false
		}
		args[i] = string(b[:k])
	}
	return args, true
}

func (c *fakeConn) send(s string) { _, _ = io.WriteString(c.Conn, s) }

// answer serves requests until answer returns false. PING is answered here.
func (c *fakeConn) answer(answer func(args []string) (string, bool)) {
	for {
		args, ok := c.request()
		if !ok {
			return
		}
		if strings.EqualFold(args[0], "PING") {
			c.send("+PONG\r\n")
			continue
		}
		reply, ok := answer(args)
		c.send(reply)
		if !ok {
			return
		}
	}
}

// swallow reads requests and never answers.
func (c *fakeConn) swallow() { _, _ = io.Copy(io.Discard, c.r) }

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// fakeCluster has one shard for each address.
func fakeCluster(addrs ...string) *cluster {
	var shards []filters.Shard
	for i, a := range addrs {
		name := fmt.Sprintf("s%d", i+1)
		shards = append(shards, filters.Shard{Name: name, Primary: endpointOf(a, name)})
	}
	return clusterOf("main", shards...)
}

// keyOn returns a key that lives on a shard.
func (c *cluster) keyOn(shard int, n int) string {
	t := c.Table()
	for i := 0; ; i++ {
		key := fmt.Sprintf("key:%d:%d", n, i)
		if t.Picker == nil || t.Picker.Pick([]byte(key)) == shard {
			return key
		}
	}
}

// wantPrefix fails unless a reply begins as it should.
func wantPrefix(tb testing.TB, what, got, want string) {
	tb.Helper()
	if !strings.HasPrefix(got, want) {
		tb.Errorf("%s: got %.200q, want %q...", what, got, want)
	}
}

// wantClosed waits until the proxy closes a connection, whatever it sends before.
func wantClosed(tb testing.TB, c *redistest.Client, limit time.Duration) {
	tb.Helper()
	_ = c.Conn().SetReadDeadline(time.Now().Add(limit))
	n, err := io.Copy(io.Discard, c.Conn())
	if errors.Is(err, os.ErrDeadlineExceeded) {
		tb.Errorf("the connection is still open after %v (%d bytes)", limit, n)
	}
}

// eventually polls check.
func eventually(tb testing.TB, what string, check func() error) {
	tb.Helper()
	redistest.Eventually(tb, time.Minute, what, check)
}

// state is what must be the same before and after whatever clients do.
type state struct {
	upstreams, downstreams, goroutines, fds int
}

func (f *fixture) state() state {
	f.tb.Helper()
	var s state
	f.onLoop(func(w *worker) {
		st := w.loop.Stats()
		s.upstreams, s.downstreams = st.Upstream, st.Downstream
	})
	s.goroutines = runtime.NumGoroutine()
	s.fds = openFiles(f.tb)
	return s
}

func openFiles(tb testing.TB) int {
	tb.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(list)
}

// consistent checks what must always hold between two iterations of the loop.
func (f *fixture) consistent() {
	f.tb.Helper()
	f.onLoop(func(w *worker) {
		if err := w.check(); err != nil {
			f.tb.Error(err)
		}
	})
}

// quiet waits until nothing is under way any more, and checks that nothing is
// held then.
func (f *fixture) quiet() {
	f.tb.Helper()
	eventually(f.tb, "the filter to be quiet", func() (err error) {
		f.onLoop(func(w *worker) {
			if err = w.check(); err == nil {
				err = w.checkIdle()
			}
		})
		return err
	})
}

func (w *worker) check() error {
	open, active := 0, 0
	for key, p := range w.pools {
		open += p.open
		for _, u := range append(append([]*upstream(nil), p.shared...), p.idle...) {
			if u != nil && u.closed {
				return fmt.Errorf("pool %v keeps a closed connection", key)
			}
			if u != nil && u.paused && !u.shared {
				return fmt.Errorf("pool %v keeps a paused connection", key)
			}
		}
		for _, u := range p.idle {
			if u.queue.len() > 0 && u.setup == 0 || u.owner != nil {
				return fmt.Errorf("pool %v has an idle connection in use", key)
			}
		}
	}
	for _, e := range w.endpoints {
		active += int(e.active)
	}
	if st := w.loop.Stats(); open != active || open != st.Upstream {
		return fmt.Errorf("pools count %d open connections, the endpoints %d, the loop %d", open, active, st.Upstream)
	}
	seen := map[*upstream]bool{}
	for _, u := range w.deadlines {
		if seen[u] {
			return errors.New("a connection is twice in the list of deadlines")
		}
		seen[u] = true
	}
	return w.checkClients()
}

func (w *worker) checkClients() error {
	stuck := map[*client]bool{}
	for _, c := range w.stuck {
		if stuck[c] {
			return errors.New("a client is twice in the list of stuck ones")
		}
		stuck[c] = true
	}
	for _, f := range w.filters {
		n := 0
		for c := range f.clients.All() {
			n++
			held := 0
			for seq := c.ring.head; seq != c.ring.tail; seq++ {
				s := c.ring.at(seq)
				held += s.reply.Len() + int(s.stashed)
				if s.merge != nil {
					held += s.merge.size
				}
			}
			if held != c.held {
				return fmt.Errorf("client %d counts %d bytes held, its slots have %d", c.conn.ID(), c.held, held)
			}
			if c.x != nil && len(c.x.paused) > 0 && !c.x.watched {
				return fmt.Errorf("client %d paused a connection, and nobody watches", c.conn.ID())
			}
		}
		if n != f.clients.Len() {
			return fmt.Errorf("filter %s counts %d clients of %d", f.name, f.clients.Len(), n)
		}
	}
	return nil
}

func (w *worker) checkIdle() error {
	for _, p := range w.pools {
		for _, u := range p.shared {
			if u != nil && (u.queue.len() > 0 || u.pieces || u.paused) {
				return fmt.Errorf("%s has %d requests outstanding", p.describe(), u.queue.len())
			}
		}
	}
	for _, f := range w.filters {
		for c := range f.clients.All() {
			if c.held != 0 || c.ring.len() != 0 {
				return fmt.Errorf("client %d has %d requests outstanding and %d bytes held", c.conn.ID(), c.ring.len(), c.held)
			}
		}
	}
	if len(w.stuck) > 0 || len(w.deadlines) > 0 {
		return fmt.Errorf("%d clients are stuck, %d connections have deadlines", len(w.stuck), len(w.deadlines))
	}
	return nil
}

// memory is what the loop's chunks and the heap hold.
func (f *fixture) memory() (heap, chunks int) {
	f.tb.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	f.onLoop(func(w *worker) { chunks = w.loop.Stats().HeldBytes })
	return int(m.HeapInuse), chunks
}

var _ netloop.BulkDriver = (*upstream)(nil)
