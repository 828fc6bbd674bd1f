package rawio_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/rawio"
)

// pair is a connection that is wrapped on both sides.
func pair(t *testing.T, network string) (a, b net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialled, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = rawio.Wrap(dialled), rawio.Wrap(accepted)
	for _, c := range []net.Conn{a, b} {
		if _, ok := c.(*rawio.Conn); !ok {
			t.Fatalf("it is a %T", c)
		}
		t.Cleanup(func() { c.Close() })
	}
	return a, b
}

// TestBothWays: what is written arrives, also when it has to wait for room.
func TestBothWays(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			a, b := pair(t, network)
			sent := make([]byte, 20<<20)
			_, _ = rand.NewChaCha8([32]byte{}).Read(sent) // it never fails
			done := make(chan error, 2)
			for i, c := range []net.Conn{a, b} {
				go func() {
					var n int
					var err error
					if split := 10 << 20; i == 0 {
						n, err = c.Write(sent[:100])
						more, failed := c.(*rawio.Conn).WriteBoth(sent[100:split], sent[split:])
						n, err = n+more, errors.Join(err, failed)
					} else {
						n, err = c.Write(sent)
					}
					if err == nil && n != len(sent) {
						err = io.ErrShortWrite
					}
					done <- errors.Join(err, c.(*rawio.Conn).CloseWrite())
				}()
			}
			for _, c := range []net.Conn{a, b} {
				got, err := io.ReadAll(c) // until the other side's end
				if err != nil || !bytes.Equal(sent, got) {
					t.Errorf("%d bytes of %d arrived as they were sent: %v", len(got), len(sent), err)
				}
			}
			for range 2 {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "tcp")
	if err := a.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func([]byte) (int, error){"read": a.Read, "write": a.Write} {
		var timeout net.Error
		if n, err := call(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s after the deadline: %d, %v", what, n, err)
		}
	}
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
	if err := b.(*rawio.Conn).Conn.(*net.TCPConn).SetLinger(0); err != nil { // its close is a reset
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("reading of a connection that was reset: %v", err)
	}
	if _, err := a.Write(make([]byte, 1)); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("writing to a connection that was reset: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func([]byte) (int, error){"read": a.Read, "write": a.Write} {
		if _, err := call(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
}

// TestNoSocket: what has no descriptor is left as it is.
func TestNoSocket(t *testing.T) {
	t.Parallel()
	a, b := net.Pipe()
	defer b.Close()
	if got := rawio.Wrap(a); got != a {
		t.Errorf("it is a %T", got)
	}
}

// TestWriteBoth: what is written with one call arrives in its order, whatever is
// empty.
func TestWriteBoth(t *testing.T) {
	t.Parallel()
	a, b := pair(t, "tcp")
	for _, pieces := range [][2]string{{"head", "body"}, {"", "body"}, {"head", ""}, {"", ""}} {
		want := pieces[0] + pieces[1]
		n, err := a.(*rawio.Conn).WriteBoth([]byte(pieces[0]), []byte(pieces[1]))
		if err != nil || n != len(want) {
			t.Fatalf("%q: %d, %v", pieces, n, err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(b, got); err != nil || string(got) != want {
			t.Fatalf("%q arrived as %q: %v", pieces, got, err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := a.(*rawio.Conn).WriteBoth([]byte("head"), []byte("body")); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("writing after Close: %d, %v", n, err)
	}
}
