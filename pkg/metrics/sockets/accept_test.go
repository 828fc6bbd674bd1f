package sockets_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
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
