package gauge

import (
	"bytes"
	"context"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// What is echoed through the relay comes back whole, also where neither side reads
// for a while, and the end of one side is that of the other.
func TestRelay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := &Options{Contenders: []string{Relay}}
	if err := o.EnsureRelay(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				all, _ := io.ReadAll(io.LimitReader(conn, 8<<20))
				_, _ = conn.Write(all)
			}()
		}
	}()
	port, err := FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := Start(Relay, filepath.Join(dir, "log"), o.Relay, strconv.Itoa(port), strconv.Itoa(server.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	var conn net.Conn
	if err := p.Await(t.Context(), func(ctx context.Context) error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	sent := bytes.Repeat([]byte("0123456789abcde\n"), 8<<20/16)
	if _, err := conn.Write(sent); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("got %d bytes back, want the %d that were sent", len(got), len(sent))
	}
}
