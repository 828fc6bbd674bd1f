package netloop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A collection has to stop all goroutines. One in a raw system call looks as if
// it were running; only because waits are short, and the runtime's signal ends
// them, does it not have to wait: not longer than without a loop, give or take
// what a busy machine adds.
func TestCollectionDoesNotWaitForAParkedLoop(t *testing.T) {
	collections := func(before func()) time.Duration {
		var took []time.Duration
		for range 30 {
			before()
			start := time.Now()
			runtime.GC()
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		return took[len(took)/2]
	}
	var without, with time.Duration
	for range 5 { // the machine may be busy with something else for one of the two
		without = collections(func() {})
		func() {
			g := startGroup(t, GroupOptions{Loops: 2})
			defer stopGroup(t, g)
			if runtime.GOMAXPROCS(0) < 3 {
				t.Errorf("GOMAXPROCS %d for two loops", runtime.GOMAXPROCS(0))
			}
			n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
			c := dial(t, n.Addr())
			with = collections(func() { roundTrip(t, c, "x") }) // leaves a loop in its raw wait
		}()
		t.Logf("collections: median %v without a loop, %v with two", without, with)
		if with < 30*time.Millisecond || with < 2*without {
			return
		}
	}
	t.Errorf("collections wait for the loop: median %v, %v without", with, without)
}

func TestIdleLoopUsesNoCPU(t *testing.T) {
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	roundTrip(t, dial(t, n.Addr()), "x")
	l := g.Loops()[0]
	before := readStats(t, l)
	timeout := time.After(time.Second)
	<-timeout
	after := readStats(t, l)
	if n := after.Iterations - before.Iterations; n > 20 {
		t.Errorf("%d iterations in an idle second", n)
	}
	if busy := after.BusyNanos - before.BusyNanos; busy > int64(20*time.Millisecond) {
		t.Errorf("busy for %v of an idle second", time.Duration(busy))
	}
}

// The FIN that comes in the same edge as the data is announced only once.
func TestFINWithData(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return echo() })
	want := bytes.Repeat([]byte("a full last read"), largeChunk/16)
	for i := range 200 {
		c := dial(t, n.Addr())
		msg := want[:1+i*len(want)/199*i/200]
		if i == 0 {
			msg = want // exactly one read buffer
		}
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("round %d: %d of %d bytes, %v", i, len(got), len(msg), err)
		}
		c.Close()
	}
	await(t, "all closed", func() bool { return n.Connections() == 0 })
}

func TestEventOfAFormerConnectionIsIgnored(t *testing.T) {
	t.Parallel()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Stop()
	adopt := func(s *script) *Conn {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(pair[1]) })
		return l.Adopt(pair[0], s, Downstream, nil)
	}
	first := adopt(echo())
	stale := syscall.EpollEvent{Events: syscall.EPOLLIN | syscall.EPOLLHUP, Fd: first.slot, Pad: first.gen}
	fd := first.FD()
	first.Close()
	l.runClosings()
	second := adopt(&script{closed: func(*Conn, error) { t.Error("closed by a stale event") }})
	if second.slot != stale.Fd || second.FD() != fd {
		t.Fatalf("slot %d, descriptor %d: not reused", second.slot, second.FD())
	}
	l.events[0] = stale
	l.iterate(1)
	if second.is(isReadable | isHungUp) {
		t.Error("took up an event of its predecessor")
	}
	second.driver = echo()
	second.Close()
	l.runClosings()
}

// One client with an endless pipeline must not keep the others waiting.
func TestWorkPerTurnIsBounded(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	var most atomic.Int64
	n := serve(t, g, ListenOptions{}, func(c *Conn) Driver {
		turn, shown := uint64(0), int64(0)
		return &script{data: func(c *Conn, b []byte) int {
			l := c.Loop()
			if l.stats.Iterations != turn {
				turn, shown = l.stats.Iterations, 0
			}
			k := min(len(b), 1000) // a slow filter does 1,000 bytes at a time
			if shown += int64(k); shown > most.Load() {
				most.Store(shown)
			}
			if k < len(b) {
				l.Again(c)
			}
			if b[0] == '!' {
				c.Write(b[:k])
			}
			return k
		}}
	})
	greedy := dial(t, n.Addr())
	stop := make(chan struct{})
	go func() {
		b := make([]byte, 1<<20)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := greedy.Write(b); err != nil {
					return
				}
			}
		}
	}()
	modest := dial(t, n.Addr())
	for range 100 {
		roundTrip(t, modest, "!")
	}
	close(stop)
	if most.Load() > 3000 {
		t.Errorf("%d bytes shown in one iteration", most.Load())
	}
}

func TestUpstreamDyingInMidReply(t *testing.T) {
	t.Parallel()
	for _, reset := range []bool{false, true} {
		up, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer up.Close()
		go func() {
			c, err := up.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 100))
			_, _ = c.Write([]byte("$100\r\nhalf"))
			if reset {
				_ = c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}()
		g := startGroup(t, GroupOptions{Loops: 1})
		type end struct {
			err   error
			calls int32
		}
		ended := make(chan end, 10)
		n := serve(t, g, ListenOptions{}, func(c *Conn) Driver {
			var calls atomic.Int32
			d := &script{
				data: func(_ *Conn, b []byte) int { c.Write(b); return len(b) },
				eof:  func(u *Conn) { u.Close() },
				closed: func(_ *Conn, err error) {
					ended <- end{err, calls.Add(1)}
					c.CloseAfterFlush()
				},
			}
			u := c.Loop().Dial("tcp", up.Addr().String(), DialOptions{}, d)
			return &script{data: func(_ *Conn, b []byte) int { u.Write(b); return len(b) }}
		})
		c := dial(t, n.Addr())
		if _, err := c.Write([]byte("GET x\r\n")); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		// A reset may overtake the half reply, FIN may not.
		if err != nil || !reset && string(got) != "$100\r\nhalf" {
			t.Errorf("reset %v: got %q, %v", reset, got, err)
		}
		if e := <-ended; e.calls != 1 || reset != errors.Is(e.err, syscall.ECONNRESET) {
			t.Errorf("reset %v: Closed got %v, call %d", reset, e.err, e.calls)
		}
		if len(ended) > 0 {
			t.Error("Closed more than once")
		}
	}
}

// What a connection that refuses us says is shown before Closed.
func TestLastWordsBeforeAReset(t *testing.T) {
	t.Parallel()
	up, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := up.Accept()
		if err == nil {
			accepted <- c
		}
	}()
	g := startGroup(t, GroupOptions{Loops: 1})
	l := g.Loops()[0]
	ended := make(chan string, 1)
	var u *Conn
	got := ""
	l.Post(func() {
		u = l.Dial("tcp", up.Addr().String(), DialOptions{}, &script{
			data:   func(_ *Conn, b []byte) int { got += string(b); return len(b) },
			eof:    func(c *Conn) { c.Close() },
			closed: func(_ *Conn, err error) { ended <- got },
		})
		u.Pause()
		u.Write([]byte("PING\r\n"))
	})
	c := <-accepted
	_, _ = c.Write([]byte("-ERR max number of clients reached\r\n"))
	c.Close() // PING is unread: a reset follows the words
	if err := l.Call(context.Background(), func() { u.Resume() }); err != nil {
		t.Fatal(err)
	}
	if s := <-ended; !strings.HasPrefix(s, "-ERR max") {
		t.Errorf("got %q", s)
	}
}

func TestHangupNoticeWhilePaused(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	gone := make(chan string, 10)
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver {
		return &script{
			data: func(c *Conn, b []byte) int {
				c.SetHangupNotice(true)
				c.Pause()
				c.Write([]byte("+"))
				return len(b)
			},
			eof: func(c *Conn) { gone <- "eof"; c.Close() },
		}
	})
	for _, late := range []bool{true, false} { // or together with the command
		c := dial(t, n.Addr())
		_, _ = c.Write([]byte("BLPOP"))
		if late {
			_, _ = io.ReadFull(c, make([]byte, 1))
		}
		_ = c.CloseWrite()
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Error("no notice")
		}
	}
}

// A driver that dials again whenever its connection closes does not hang the
// loop, nor its end.
func TestDialAgainInClosed(t *testing.T) {
	t.Parallel()
	l, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- l.Run() }()
	var calls atomic.Int32
	s := &script{}
	s.closed = func(*Conn, error) {
		calls.Add(1)
		l.Dial("unix", "/nonexistent", DialOptions{}, s)
	}
	l.Post(func() { l.Dial("unix", "/nonexistent", DialOptions{}, s) })
	await(t, "dialling again", func() bool { return calls.Load() > 10 })
	readStats(t, l) // others have their turn
	l.Stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestRefusedByAccept(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	n := serve(t, g, ListenOptions{}, func(*Conn) Driver { return nil })
	c := dial(t, n.Addr())
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("not closed: %v", err)
	}
}
