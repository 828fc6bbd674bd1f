package netloop

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDialFailures(t *testing.T) {
	t.Parallel()
	g := startGroup(t, GroupOptions{Loops: 1})
	l := g.Loops()[0]
	full := fullBacklog(t)
	for _, tc := range []struct {
		network, addr string
		o             DialOptions
		want          error
	}{
		{"tcp", "127.0.0.1:1", DialOptions{}, syscall.ECONNREFUSED},
		{"tcp", "localhost:80", DialOptions{}, ErrAddress},
		{"tcp", "127.0.0.1", DialOptions{}, ErrAddress},
		{"tcp", "127.0.0.1:80", DialOptions{SourceAddr: "here"}, ErrAddress},
		{"tcp", "127.0.0.1:80", DialOptions{SourceAddr: "192.0.2.1"}, syscall.EADDRNOTAVAIL},
		{"udp", "127.0.0.1:80", DialOptions{}, ErrAddress},
		{"unix", "", DialOptions{}, ErrAddress},
		{"unix", "/nonexistent", DialOptions{}, syscall.ENOENT},
		{"unix", full, DialOptions{Timeout: 50 * time.Millisecond}, ErrDialTimeout},
	} {
		ended := make(chan error, 1)
		l.Post(func() {
			inside := true
			l.Dial(tc.network, tc.addr, tc.o, &script{closed: func(c *Conn, err error) {
				if inside || c.Connected() {
					t.Errorf("%s: closed during Dial", tc.addr)
				}
				ended <- err
			}}).Write([]byte("x"))
			inside = false
		})
		if err := <-ended; !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.addr) {
			t.Errorf("%s %q: got %v, want %v", tc.network, tc.addr, err, tc.want)
		}
	}
	if s := readStats(t, l); s.Upstream != 0 || s.HeldBytes > largeChunk {
		t.Errorf("left behind: %+v", s)
	}
}

// fullBacklog returns a unix socket that takes no more connections.
func fullBacklog(t *testing.T) string {
	path := t.TempDir() + "/full"
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	sa := &syscall.SockaddrUnix{Name: path}
	if err := errors.Join(syscall.Bind(fd, sa), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { syscall.Close(c) })
		if errors.Is(syscall.Connect(c, sa), syscall.EAGAIN) {
			return path
		}
	}
	t.Fatal("backlog does not fill")
	return ""
}

func TestDialTimeout(t *testing.T) {
	t.Parallel()
	// A TCP backlog that is full drops SYNs.
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	g := startGroup(t, GroupOptions{Loops: 1})
	l := g.Loops()[0]
	ended := make(chan error, 10)
	l.Post(func() {
		for range 4 {
			l.Dial("tcp", formatAddr(sa), DialOptions{Timeout: 200 * time.Millisecond}, &script{
				closed: func(_ *Conn, err error) { ended <- err },
			})
		}
	})
	if err := <-ended; !errors.Is(err, ErrDialTimeout) {
		t.Errorf("got %v", err)
	}
}

// hears is a driver that is told of success.
type hears struct {
	*script
	connected chan bool
}

func (h hears) Connected(c *Conn) { h.connected <- c.Connected() }

func TestConnected(t *testing.T) {
	t.Parallel()
	server, client := testTLS(t)
	g := startGroup(t, GroupOptions{Loops: 1})
	l := g.Loops()[0]
	for _, o := range []struct {
		listen ListenOptions
		dial   DialOptions
	}{{}, {ListenOptions{TLS: server}, DialOptions{TLS: client, SourceAddr: "127.0.0.1", KeepAlive: KeepAlive{Idle: time.Minute}}}} {
		n := serve(t, g, o.listen, func(*Conn) Driver { return echo() })
		got := make(chan string, 1)
		d := hears{&script{data: func(c *Conn, b []byte) int { got <- string(b); c.Close(); return len(b) }}, make(chan bool, 1)}
		l.Post(func() { l.Dial("tcp", n.Addr(), o.dial, d).Write([]byte("early")) })
		if !<-d.connected || <-got != "early" {
			t.Error("not connected")
		}
	}
	if err := l.Call(context.Background(), func() {}); err != nil {
		t.Error(err)
	}
}
