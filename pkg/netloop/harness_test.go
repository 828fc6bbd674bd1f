package netloop

import (
	"context"
	"crypto/sha256"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// startGroup runs loops until the test ends.
func startGroup(t testing.TB, o GroupOptions) *Group {
	t.Helper()
	g, err := NewGroup(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Start()
	t.Cleanup(func() { stopGroup(t, g) })
	return g
}

func stopGroup(t testing.TB, g *Group) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		t.Errorf("stopping: %v", err)
	}
}

// serve listens on a free port, with one driver made by each call of d.
func serve(t testing.TB, g *Group, o ListenOptions, d func(c *Conn) Driver) *Listener {
	t.Helper()
	n, err := Listen(g, "tcp", "127.0.0.1:0", o, func(_ *Loop, c *Conn) Driver { return d(c) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(60 * time.Second))
	return c.(*net.TCPConn)
}

// await polls until ok, at most 20 s.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("timeout: %s", what)
		}
		runtime.Gosched()
	}
}

func readStats(t testing.TB, l *Loop) Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := l.ReadStats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(b)
	return b
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func roundTrip(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(s))
	if _, err := io.ReadFull(c, b); err != nil || string(b) != s {
		t.Fatalf("got %q, %v; want %q", b, err, s)
	}
}

// tunnel passes everything from one connection to another without a copy, and
// stops reading when the other does not keep up.
type tunnel struct {
	peer *Conn
	most *atomic.Int64 // the largest Buffered seen
}

func (u *tunnel) Data(c *Conn, b []byte) int {
	u.pass(c, c.Own(b))
	c.ReadBulk(1 << 60)
	return len(b)
}

func (u *tunnel) Bulk(c *Conn, p *Chunk, _ int64) { u.pass(c, p) }

func (u *tunnel) pass(c *Conn, p *Chunk) {
	u.peer.WriteChunk(p)
	n := u.peer.Buffered()
	if n > c.Loop().o.HighWater {
		c.Pause()
	}
	if u.most != nil && int64(n) > u.most.Load() {
		u.most.Store(int64(n))
	}
}

func (u *tunnel) Drained(*Conn)       { u.peer.Resume() }
func (u *tunnel) EOF(*Conn)           { u.peer.CloseWrite() }
func (u *tunnel) Closed(*Conn, error) { u.peer.CloseAfterFlush() }

// serveTunnel listens and relays to addr.
func serveTunnel(t testing.TB, g *Group, o ListenOptions, network, addr string, do DialOptions, most *atomic.Int64) *Listener {
	return serve(t, g, o, func(c *Conn) Driver {
		down, up := &tunnel{most: most}, &tunnel{peer: c}
		down.peer = c.Loop().Dial(network, addr, do, up)
		return down
	})
}

// sink hashes what it is sent, and answers with the sum.
func sink(t testing.TB) string {
	t.Helper()
	n, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	go func() {
		for {
			c, err := n.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				h := sha256.New()
				_, _ = io.Copy(h, c)
				_, _ = c.Write(h.Sum(nil))
			}()
		}
	}()
	return n.Addr().String()
}

// sendAndSum sends n random bytes and returns their sum and the answer.
func sendAndSum(t testing.TB, c net.Conn, closeWrite func() error, n int64) (want, got []byte) {
	t.Helper()
	h := sha256.New()
	var seed [32]byte
	if _, err := io.Copy(io.MultiWriter(c, h), io.LimitReader(rand.NewChaCha8(seed), n)); err != nil {
		t.Fatal(err)
	}
	if err := closeWrite(); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return h.Sum(nil), got
}

func openFiles(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
