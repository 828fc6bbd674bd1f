package netloop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestEchoRandomFragments(t *testing.T) {
	t.Parallel()
	for _, loops := range []int{1, 2} {
		g := startGroup(t, GroupOptions{Loops: loops})
		n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
		var wg sync.WaitGroup
		for seed := range uint64(8) {
			wg.Go(func() { echoClient(t, dial(t, n.Addr()), seed) })
		}
		wg.Wait()
	}
}

// echoClient sends fragments of random sizes, and expects them back, then EOF.
func echoClient(t *testing.T, c *net.TCPConn, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	want := randomBytes(300 << 10)
	go func() {
		for rest := want; len(rest) > 0; {
			n := min(len(rest), 1+rnd.IntN(1<<rnd.IntN(16)))
			if _, err := c.Write(rest[:n]); err != nil {
				t.Errorf("client %d: %v", seed, err)
				return
			}
			rest = rest[n:]
		}
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("client %d: %d of %d bytes, %v", seed, len(got), len(want), err)
	}
}

func TestIdleConnectionsHoldNothing(t *testing.T) {
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	want := 10000
	var lim syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim) == nil && lim.Cur < 21000 {
		want = int(lim.Cur)/2 - 200
	}
	warm := dial(t, n.Addr())
	roundTrip(t, warm, "hello")
	before := heap()
	fds := make([]int, 0, want)
	defer func() {
		for _, fd := range fds {
			syscall.Close(fd)
		}
	}()
	_, to, err := parseAddr("tcp", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	for range want { // raw descriptors: the client's side must cost no heap
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds = append(fds, fd)
		if err := syscall.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
		write(int32(fd), []byte("ping"))
	}
	for _, fd := range fds {
		var b [4]byte
		if k, _ := syscall.Read(fd, b[:]); k != 4 {
			t.Fatal("no echo")
		}
	}
	await(t, "accepts", func() bool { return n.Connections() == want+1 })
	s := readStats(t, g.Loops()[0])
	if s.HeldBytes > 2*largeChunk {
		t.Errorf("%d idle connections hold %d bytes of buffers", want, s.HeldBytes)
	}
	if per := (heap() - before - int64(s.PoolBytes)) / int64(want); per > 512 {
		t.Errorf("an idle connection costs %d bytes", per)
	} else {
		t.Logf("%d idle connections: %d bytes each, driver included", want, per)
	}
}

func TestRelayOfManyMegabytes(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	var most atomic.Int64
	n := serveTunnel(t, g, ListenOptions{}, "tcp", sink(t), DialOptions{}, &most)
	c := dial(t, n.Addr())
	want, got := sendAndSum(t, c, c.CloseWrite, 64<<20)
	if !bytes.Equal(got, want) {
		t.Errorf("sums differ")
	}
	s := readStats(t, g.Loops()[0])
	if most.Load() > 2<<20 || s.PoolBytes+s.HeldBytes > 12<<20 {
		t.Errorf("not bounded: %d buffered, %+v", most.Load(), s)
	}
	t.Logf("%d reads, %d writes, at most %d bytes buffered, pool %d", s.Reads, s.Writes, most.Load(), s.PoolBytes)
}

func TestReaderThatNeverReads(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts, nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	var most atomic.Int64
	n := serveTunnel(t, g, ListenOptions{}, "tcp", silent.Addr().String(), DialOptions{}, &most)
	c := dial(t, n.Addr())
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	sent, err := io.Copy(c, io.LimitReader(rand.NewChaCha8([32]byte{}), 256<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("all of it was taken: %d, %v", sent, err)
	}
	if s := readStats(t, g.Loops()[0]); most.Load() > 2<<20 || s.HeldBytes > 4<<20 {
		t.Errorf("not bounded: %d buffered, %+v", most.Load(), s)
	}
}

func TestUnixSockets(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	dir := t.TempDir()
	back, front := filepath.Join(dir, "back"), filepath.Join(dir, "front")
	if _, err := Listen(g, "unix", back, ListenOptions{UnixMode: 0o600}, func(_ *Loop, c *Conn) Driver {
		if c.RemoteAddr() != "@" || c.LocalAddr() != back {
			t.Errorf("%q, %q", c.RemoteAddr(), c.LocalAddr())
		}
		return echo()
	}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(back); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", st.Mode(), err)
	}
	n, err := Listen(g, "unix", front, ListenOptions{}, func(l *Loop, c *Conn) Driver {
		down, up := &tunnel{}, &tunnel{peer: c}
		down.peer = l.Dial("unix", back, DialOptions{}, up)
		return down
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("unix", front)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	want := randomBytes(4 << 20)
	go func() {
		_, _ = c.Write(want)
		_ = c.(*net.UnixConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	n.Close()
	if _, err := os.Stat(front); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket left behind: %v", err)
	}
}

func TestPostAndCall(t *testing.T) {
	t.Parallel()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.Run() }()
	n := 0 // the loop's
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				l.Post(func() { n++ })
			}
		})
	}
	wg.Wait()
	if err := l.Call(context.Background(), func() { n++ }); err != nil || n != 8001 {
		t.Errorf("%d, %v", n, err)
	}
	l.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if l.Post(func() {}) || !errors.Is(l.Call(context.Background(), func() {}), ErrStopped) {
		t.Error("a stopped loop takes calls")
	}
	if !errors.Is(l.Run(), ErrStopped) {
		t.Error("a stopped loop runs")
	}
}

func TestTimersOfARunningLoop(t *testing.T) {
	t.Parallel()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	go func() { _ = l.Run() }()
	for _, d := range []time.Duration{time.Millisecond, 20 * time.Millisecond} {
		start := time.Now()
		fired := make(chan struct{})
		l.Post(func() { l.After(d, func() { close(fired) }) })
		select {
		case <-fired:
		case <-time.After(30 * time.Second):
			t.Fatalf("%v do not end", d)
		}
		if took := time.Since(start); took < d {
			t.Errorf("%v took %v", d, took)
		}
	}
}

func TestStopLeaksNothing(t *testing.T) {
	fds, routines := openFiles(t), runtime.NumGoroutine()
	for range 3 {
		g, err := NewGroup(GroupOptions{Loops: 2})
		if err != nil {
			t.Fatal(err)
		}
		var closed atomic.Int32
		g.Start()
		n := serve(t, g, ListenOptions{}, func(*Conn) Driver {
			s := echo()
			s.closed = func(_ *Conn, err error) {
				if !errors.Is(err, ErrStopped) {
					t.Errorf("closed with %v", err)
				}
				closed.Add(1)
			}
			return s
		})
		var clients []*net.TCPConn
		for range 10 {
			c := dial(t, n.Addr())
			roundTrip(t, c, "x")
			clients = append(clients, c)
		}
		g.Loops()[0].Post(func() { // one that never connects
			g.Loops()[0].Dial("tcp", "192.0.2.1:1", DialOptions{}, echo())
		})
		stopGroup(t, g)
		for _, c := range clients {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("connection still open")
			}
			c.Close()
		}
		if closed.Load() != 10 {
			t.Errorf("Closed called %d times", closed.Load())
		}
	}
	idle, err := New(Options{}) // never run
	if err != nil {
		t.Fatal(err)
	}
	idle.Stop()
	await(t, "goroutines", func() bool { return runtime.NumGoroutine() <= routines })
	if now := openFiles(t); now > fds+1 { // the runtime's own epoll descriptors may come late
		t.Errorf("%d descriptors before, %d after", fds, now)
	}
}
