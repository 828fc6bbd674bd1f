package sockets_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
)

// TestAccept: connections are served as long as there is room, and told by their
// end where there is none. When the time is over readers hear of it, however long
// they would wait, and Accept waits for them.
func TestAccept(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	read, ended, refused := make(chan string, 10), make(chan error, 10), make(chan struct{}, 10)
	a := sockets.Acceptor{
		Most: 2, Log: slog.New(slog.DiscardHandler), Refused: func() { refused <- struct{}{} },
		Serve: func(ctx context.Context, conn net.Conn) {
			for b := make([]byte, 10); ; {
				err := sockets.ReadWithin(ctx, conn, time.Hour)
				n := 0
				if err == nil {
					n, err = conn.Read(b)
				}
				if err != nil {
					ended <- err
					return
				}
				read <- string(b[:n])
			}
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.Accept(ctx, l)
	}()
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	said := func(conn net.Conn, text string) {
		t.Helper()
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		if got := <-read; got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
	first, second := dial(), dial()
	said(first, "1")
	said(second, "2")
	third := dial()
	<-refused
	if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("the connection without room: %v", err)
	}
	second.Close()
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the second connection ended with %v", err)
	}
	if _, err := first.Write([]byte("3")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "3" {
		t.Errorf("got %q, want 3", got)
	}
	cancel()
	l.Close() // as the pool has its Accept end
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the first connection ended with %v", err)
	}
	<-over
	if _, err := first.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("afterwards: %v", err)
	}
}

// exhausted is a listener that now and then has no descriptor left, a few times in a row.
type exhausted struct {
	net.Listener
	left, again int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.left > 0 {
		l.left--
		return nil, syscall.EMFILE
	}
	l.left, l.again = l.again, 0
	return l.Listener.Accept()
}

// TestAcceptExhausted: that there are no descriptors is said once, not ten times a
// second, and again after a connection.
func TestAcceptExhausted(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	served := 0
	a := sockets.Acceptor{Most: 2, Log: slog.New(slog.NewTextHandler(&log, nil)), Refused: func() {}, Serve: func(context.Context, net.Conn) {
		if served++; served == 2 {
			cancel()
			l.Close()
		}
	}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		a.Accept(ctx, &exhausted{Listener: l, left: 3, again: 3})
	}()
	for range 2 {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
	<-over
	if got := strings.Count(log.String(), "\n"); got != 2 {
		t.Errorf("the log has %d lines:\n%s", got, log.String())
	}
}
