package push_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/families"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/push"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

const limit = time.Minute

// source takes lines "name value".
type source struct {
	*push.Listener

	store  *push.Store
	ledger families.Ledger
}

func listen(t *testing.T, cfg resource.MetricsListen, pool *sockets.Pool) *source {
	t.Helper()
	s := &source{store: push.NewStore(0, 0)}
	var err error
	s.Listener, err = push.Listen(&cfg, metrics.Env{Sockets: pool}, s.store, &s.ledger, func(line []byte, now time.Time) {
		name, value, _ := bytes.Cut(line, []byte(" "))
		v, err := strconv.ParseFloat(string(value), 64)
		if err != nil {
			s.ledger.Add("malformed", 1)
			return
		}
		s.store.Set(gauge(string(name), v), now)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it
	return s
}

func (s *source) await(t *testing.T, want string) {
	t.Helper()
	redistest.Eventually(t, limit, "values", func() error {
		if got := text(t, s.store, time.Now()); got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	})
}

func (s *source) awaitLosses(t *testing.T, reason string, holds func(n uint64) bool) {
	t.Helper()
	redistest.Eventually(t, limit, "losses", func() error {
		s.CountDrops()
		if n := s.ledger.Losses()[reason]; !holds(n) {
			return fmt.Errorf("%s: %d", reason, n)
		}
		return nil
	})
}

func dial(t *testing.T, network, address string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // some tests have closed it
	return c
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// TestListen: lines arrive over each kind of socket, several in a datagram, with any
// ends; a broken one costs no other.
func TestListen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := listen(t, resource.MetricsListen{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Unixgram: path, UnixgramMode: 0o606, ReadBuffer: 1 << 16}, sockets.NewPool())
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o606 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	addrs := s.Addrs()
	write(t, dial(t, "udp", addrs[0].String()), "a 1\r\nbroken\n\n b 2 ")
	write(t, dial(t, "unixgram", path), "c 3\n")
	conn := dial(t, "tcp", addrs[2].String())
	write(t, conn, "d 4\ne ")
	s.await(t, "a GAUGE \"\" {}=1\nb GAUGE \"\" {}=2\nc GAUGE \"\" {}=3\nd GAUGE \"\" {}=4")
	write(t, conn, strings.Repeat("x", push.MaxLine)+"\n"+"f 6")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	s.await(t, "a GAUGE \"\" {}=1\nb GAUGE \"\" {}=2\nc GAUGE \"\" {}=3\nd GAUGE \"\" {}=4\nf GAUGE \"\" {}=6")
	s.awaitLosses(t, "malformed", func(n uint64) bool { return n == 2 })
}

// TestConnectionsAreBounded: those above the limit are closed and counted, and when
// one ends there is room for another.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s := listen(t, resource.MetricsListen{TCP: "127.0.0.1:0"}, sockets.NewPool())
	address := s.Addrs()[0].String()
	const most = 1000
	conns := make([]net.Conn, most)
	for i := range conns {
		conns[i] = dial(t, "tcp", address)
		write(t, conns[i], "a 1\n")
	}
	one := dial(t, "tcp", address)
	if _, err := one.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("one above the limit: %v", err)
	}
	s.awaitLosses(t, "connection_limit", func(n uint64) bool { return n == 1 })
	if err := conns[0].Close(); err != nil {
		t.Fatal(err)
	}
	redistest.Eventually(t, limit, "room for another", func() error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "b 2\n"); err != nil {
			return err
		}
		if got := text(t, s.store, time.Now()); !strings.Contains(got, "b GAUGE") {
			return errors.New(got)
		}
		return nil
	})
}

// TestKernelDropsAreCounted: what a full buffer of a socket has cost is a loss of
// the source, also after the socket has gone to another.
func TestKernelDropsAreCounted(t *testing.T) {
	t.Parallel()
	pool, path := sockets.NewPool(), filepath.Join(t.TempDir(), "s")
	block, blocked := make(chan struct{}), make(chan struct{}, 1)
	s := &source{store: push.NewStore(0, 0)}
	cfg := resource.MetricsListen{UDP: "127.0.0.1:0", Unixgram: path, ReadBuffer: 4096}
	var err error
	s.Listener, err = push.Listen(&cfg, metrics.Env{Sockets: pool}, s.store, &s.ledger, func([]byte, time.Time) {
		select {
		case blocked <- struct{}{}:
		default:
		}
		<-block
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	conn := dial(t, "udp", s.Addrs()[0].String())
	write(t, conn, "a 1\n")
	<-blocked // nobody reads now
	const sent = 2000
	for range sent {
		write(t, conn, strings.Repeat("x", 100)+" 1\n")
	}
	s.awaitLosses(t, "kernel", func(n uint64) bool { return n > 0 && n < sent })
	before := s.ledger.Losses()["kernel"]
	close(block)
	s.CountDrops()
	if after := s.ledger.Losses()["kernel"]; after != before {
		t.Errorf("%d drops became %d with nobody sending", before, after)
	}
}

// TestSuccessor: series go to the source that gets the sockets next, one socket
// after the other, and a value that it has got meanwhile is not overwritten by the
// older one. The kernel's drops of before are not counted twice.
func TestSuccessor(t *testing.T) {
	t.Parallel()
	pool, path := sockets.NewPool(), filepath.Join(t.TempDir(), "s")
	cfg := resource.MetricsListen{Unixgram: path, TCP: "127.0.0.1:" + strconv.Itoa(redistest.Port(t))}
	first := listen(t, cfg, pool)
	datagrams, stream := dial(t, "unixgram", path), dial(t, "tcp", cfg.TCP)
	write(t, datagrams, "a 1\nb 1\n")
	write(t, stream, "c 1\n")
	first.await(t, "a GAUGE \"\" {}=1\nb GAUGE \"\" {}=1\nc GAUGE \"\" {}=1")
	second := listen(t, cfg, pool)
	if got := text(t, second.store, time.Now()); got != "" {
		t.Errorf("the successor has %s while the first one runs", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, datagrams, "a 2\n") // the same socket
	second.await(t, "a GAUGE \"\" {}=2\nb GAUGE \"\" {}=1\nc GAUGE \"\" {}=1")
	if n := second.ledger.Losses()["kernel"]; n != 0 {
		t.Errorf("%d drops of nobody", n)
	}
}

// TestCutOff: of a line whose end is lost nothing is taken, since its value would be
// another; what is before it counts.
func TestCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := listen(t, resource.MetricsListen{TCP: "127.0.0.1:0", Unixgram: path}, sockets.NewPool())
	broken := dial(t, "tcp", s.Addrs()[1].String())
	write(t, broken, "a 1000\nb 2000\na 1") // it was to be 1001
	s.await(t, "a GAUGE \"\" {}=1000\nb GAUGE \"\" {}=2000")
	if err := broken.(*net.TCPConn).SetLinger(0); err != nil { //nolint:forcetypeassert // it is one
		t.Fatal(err)
	}
	if err := broken.Close(); err != nil { // by a reset
		t.Fatal(err)
	}
	s.awaitLosses(t, "truncated", func(n uint64) bool { return n == 1 })
	const most = 1 << 16 // bytes of a datagram
	text := "c 3\n"
	text += strings.Repeat("\n", most-len(text)-len("b 2")) + "b 2001\n"
	write(t, dial(t, "unixgram", path), text)
	s.await(t, "a GAUGE \"\" {}=1000\nb GAUGE \"\" {}=2000\nc GAUGE \"\" {}=3")
	s.awaitLosses(t, "truncated", func(n uint64) bool { return n == 2 })
}

// TestArrived: what has arrived on a connection is taken when the source ends, but
// for a line whose end has not.
func TestArrived(t *testing.T) {
	t.Parallel()
	cfg := resource.MetricsListen{TCP: "127.0.0.1:0"}
	block, blocked := make(chan struct{}), make(chan struct{})
	var taken []string
	first, err := push.Listen(&cfg, metrics.Env{Sockets: sockets.NewPool()}, push.NewStore(0, 0), &families.Ledger{}, func(line []byte, _ time.Time) {
		taken = append(taken, string(line))
		if len(taken) == 1 {
			close(blocked)
			<-block
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	conn, idle := dial(t, "tcp", first.Addrs()[0].String()), dial(t, "tcp", first.Addrs()[0].String())
	write(t, conn, "a 1\n")
	<-blocked
	write(t, conn, strings.Repeat("b 2\n", 5000)+"a 1") // it was to be 10
	closed := make(chan error)
	go func() { closed <- first.Close() }()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the connection beside: %v", err)
	}
	close(block)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if n := len(taken); n != 5001 || taken[n-1] != "b 2" {
		t.Errorf("%d lines were taken, the last is %q", n, taken[n-1])
	}
}

// TestListenFails: what cannot be bound is an error, and nothing stays open.
func TestListenFails(t *testing.T) {
	t.Parallel()
	pool, udp := sockets.NewPool(), "127.0.0.1:"+strconv.Itoa(redistest.Port(t))
	taken := listen(t, resource.MetricsListen{TCP: "127.0.0.1:0"}, sockets.NewPool())
	cfg := resource.MetricsListen{UDP: udp, TCP: taken.Addrs()[0].String()}
	if _, err := push.Listen(&cfg, metrics.Env{Sockets: pool}, push.NewStore(0, 0), &families.Ledger{}, nil); err == nil {
		t.Fatal("a port was bound twice")
	}
	listen(t, resource.MetricsListen{UDP: udp}, pool)
}
