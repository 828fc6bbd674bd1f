package sockets_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
)

// reader puts what arrives into a channel.
func reader(name string, got chan<- string) func(context.Context, *mmsg.Socket) {
	return func(ctx context.Context, s *mmsg.Socket) {
		err := s.Serve(ctx, 4, func(r *mmsg.Reader, n int, _ time.Time) {
			for i := range n {
				b, _ := r.Datagram(i)
				got <- name + " " + string(b)
			}
		})
		if err != nil {
			got <- name + ": " + err.Error()
		}
	}
}

// TestPackets: the successor gets what arrives once the older is closed, and the
// socket is closed with the last.
func TestPackets(t *testing.T) {
	t.Parallel()
	pool, got := sockets.NewPool(), make(chan string, 10)
	path := filepath.Join(t.TempDir(), "s")
	first, err := pool.Packets("unixgram", path, reader("first", got))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	expect := func(message, want string) {
		t.Helper()
		if _, err := conn.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		if s := <-got; s != want {
			t.Errorf("got %q, want %q", s, want)
		}
	}
	expect("1", "first 1")
	second, err := pool.Packets("unixgram", path, reader("second", got))
	if err != nil {
		t.Fatal(err)
	}
	third, err := pool.Packets("unixgram", path, reader("third", got))
	if err != nil {
		t.Fatal(err)
	}
	expect("2", "first 2")
	if !first.Active() || second.Active() {
		t.Error("the first does not have the socket")
	}
	if err := second.Close(); err != nil { // a change that was not made
		t.Error(err)
	}
	expect("3", "first 3")
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	expect("4", "third 4")
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	if _, err := conn.Write([]byte("5")); err == nil {
		t.Error("the socket is still open")
	}
}

// TestStream: a listener goes from one to the next, with a client that is not
// accepted yet.
func TestStream(t *testing.T) {
	t.Parallel()
	pool := sockets.NewPool()
	greet := func(name string) func(context.Context, net.Listener) {
		return func(_ context.Context, l net.Listener) {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprintln(c, name)
				c.Close()
			}
		}
	}
	address := freeAddress(t)
	first, err := pool.Stream("tcp", address, greet("first"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := pool.Stream("tcp", address, greet("second"))
	if err != nil {
		t.Fatal(err)
	}
	if got := dial(t, address); got != "first\n" {
		t.Errorf("got %q", got)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if got := dial(t, address); got != "second\n" {
		t.Errorf("got %q", got)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// TestAnotherAddress: who wants the same port at another address gets it when the one
// before is closed, with what that has left, as it is for another socket.
func TestAnotherAddress(t *testing.T) {
	t.Parallel()
	pool := sockets.NewPool()
	greet := func(name string) func(context.Context, net.Listener) {
		return func(ctx context.Context, l net.Listener) {
			found := sockets.Found(ctx)
			for {
				c, err := l.Accept()
				if err != nil {
					sockets.Leave(ctx, moving(name))
					return
				}
				fmt.Fprintln(c, name, found)
				c.Close()
			}
		}
	}
	address := freeAddress(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	open := func(address, name string) *sockets.Lease {
		t.Helper()
		l, err := pool.Stream("tcp", address, greet(name))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	expect := func(want string) {
		t.Helper()
		if got := dial(t, address); got != want+"\n" {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	first := open(address, "first")
	dropped := open("0.0.0.0:"+port, "dropped")
	expect("first <nil>")
	if dropped.Active() || dropped.Addr().String() != "0.0.0.0:"+port {
		t.Errorf("the other has the socket, or not its own address: %v", dropped.Addr())
	}
	if err := dropped.Close(); err != nil { // a change that was not made
		t.Error(err)
	}
	second, third := open("0.0.0.0:"+port, "second"), open("0.0.0.0:"+port, "third")
	expect("first <nil>")
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	expect("second first, moved")
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	expect("third second")
	fourth := open(address, "fourth")
	if err := third.Close(); err != nil {
		t.Error(err)
	}
	expect("fourth third, moved")
	if err := fourth.Close(); err != nil {
		t.Error(err)
	}
	if l, err := net.Listen("tcp", address); err != nil {
		t.Errorf("the port is not free again: %v", err)
	} else {
		l.Close()
	}
}

// TestAddressOfSomebodyElse: a port that another program has when it was to be free is
// said to be missing, and waited for.
func TestAddressOfSomebodyElse(t *testing.T) {
	t.Parallel()
	pool, said := sockets.NewPool(), make(chan string, 10)
	pool.Log = slog.New(slog.NewTextHandler(lines(said), nil))
	serve := func(ctx context.Context, _ net.Listener) { <-ctx.Done() }
	address := freeAddress(t)
	first, err := pool.Stream("tcp", address, serve)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	second, err := pool.Stream("tcp", "0.0.0.0:"+port, serve)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if text := <-said; !strings.Contains(text, "gets nothing until its port is free") || second.Active() {
		t.Errorf("it says %q, and has the socket: %v", text, second.Active())
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if text := <-said; !strings.Contains(text, "has its port") {
		t.Errorf("it says %q", text)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

// lines are what a log writes.
type lines chan<- string

func (l lines) Write(b []byte) (int, error) {
	l <- string(b)
	return len(b), nil
}

// moving is what is left to a lease.
type moving string

func (m moving) Moved() any { return m + ", moved" }

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(t *testing.T, address string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestTaken: what somebody else has is an error, and a path that nobody listens
// on any more is none.
func TestTaken(t *testing.T) {
	t.Parallel()
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	pool := sockets.NewPool()
	if _, err := pool.Packets("udp", other.LocalAddr().String(), reader("", nil)); err == nil {
		t.Error("a port of somebody else is taken")
	}
	path := filepath.Join(t.TempDir(), "s")
	stale, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pool.Packets("unixgram", path, reader("", nil)); err == nil {
		t.Error("a path of somebody else is taken")
	}
	stale.Close() // its path stays
	l, err := pool.Packets("unixgram", path, reader("", make(chan string, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestLegacy: what a lease leaves is found by the one that has the socket next,
// and only by that.
func TestLegacy(t *testing.T) {
	t.Parallel()
	pool, found := sockets.NewPool(), make(chan any, 3)
	path := filepath.Join(t.TempDir(), "s")
	serve := func(leave any) func(context.Context, *mmsg.Socket) {
		return func(ctx context.Context, _ *mmsg.Socket) {
			found <- sockets.Found(ctx)
			<-ctx.Done()
			if leave != nil {
				sockets.Leave(ctx, leave)
			}
		}
	}
	var leases []*sockets.Lease
	for _, leave := range []any{"a", nil, "c"} {
		l, err := pool.Packets("unixgram", path, serve(leave))
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, l)
	}
	for i, want := range []any{nil, "a", nil} {
		if got := <-found; got != want {
			t.Errorf("lease %d found %v, want %v", i, got, want)
		}
		if err := leases[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
}
