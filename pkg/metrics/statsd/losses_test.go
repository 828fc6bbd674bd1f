package statsd_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/metrics"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/sockets"
	"github.com/dragoman-mesh/dragoman/pkg/metrics/statsd"
)

// TestCutOff: of a line whose end is lost nothing is taken, since its value, its
// rate or its tags would be others; what is before it counts.
func TestCutOff(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	s := open(t, statsd.Config{TCP: "127.0.0.1:0", Unixgram: path})
	broken := dial(t, s, 0)
	send(t, broken, "a:1|c\na:1|c") // it was to be "a:1|c|@0.1"
	eventually(t, s, "a 1")
	if err := broken.(*net.TCPConn).SetLinger(0); err != nil { //nolint:forcetypeassert // it is one
		t.Fatal(err)
	}
	if err := broken.Close(); err != nil { // by a reset
		t.Fatal(err)
	}
	truncated := func(want uint64) {
		t.Helper()
		redistest.Eventually(t, patience, "losses", func() error {
			if n := s.Losses()["truncated"]; n != want {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
	}
	truncated(1)
	const most = 1 << 16 // bytes of a datagram
	text := "b:1|c\n"
	text += strings.Repeat("\n", most-len(text)-len("a:1|c")) + "a:1|c|@0.1\n"
	send(t, dial(t, s, 1), text)
	eventually(t, s, "b 1")
	truncated(2)
	eventually(t, s, "a 1")
}

// TestArrived: what has arrived on a connection is taken when the source ends, but
// for a line whose end has not.
func TestArrived(t *testing.T) {
	t.Parallel()
	block, blocked := make(chan struct{}), make(chan struct{})
	s, err := statsd.Open(statsd.Config{TCP: "127.0.0.1:0", Options: statsd.Options{Tee: func(line []byte) {
		if string(line) == "block:1|c" {
			close(blocked)
			<-block
		}
	}}}, metrics.Env{Sockets: sockets.NewPool()})
	if err != nil {
		t.Fatal(err)
	}
	conn, idle := dial(t, s, 0), dial(t, s, 0)
	send(t, idle, "a:1|c\n")
	eventually(t, s, "a 1")
	send(t, conn, "block:1|c\n")
	<-blocked
	const lines = 50_000 // several reads
	send(t, conn, strings.Repeat("a:1|c\n", lines)+"a:1|c")
	closed := make(chan error)
	go func() { closed <- s.Close() }()
	if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("the connection beside: %v", err)
	}
	close(block)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	eventually(t, s, fmt.Sprintf("a %d", 1+lines))
	if n := s.Losses()["truncated"]; n != 1 {
		t.Errorf("%d lines were cut off, want 1", n)
	}
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// TestRelayNowhere: while the target of a relay cannot be resolved each line that is
// not sent is counted, and it is said once.
func TestRelayNowhere(t *testing.T) {
	t.Parallel()
	var said logged
	s, err := statsd.Open(statsd.Config{
		TCP: "127.0.0.1:0", Relay: statsd.Relay{Target: "127.0.0.1:99999", Packet: 100}, // no such port
	}, metrics.Env{Sockets: sockets.NewPool(), Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	const lines = 1000
	send(t, dial(t, s, 0), strings.Repeat("a:1|c\n", lines))
	redistest.Eventually(t, patience, "lines that are not relayed", func() error {
		if st, _ := s.RelayStats(); st.Dropped < lines {
			return fmt.Errorf("%+v", st)
		}
		return nil
	})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	said.mu.Lock()
	defer said.mu.Unlock()
	if n := strings.Count(said.text.String(), "not relayed"); n != 1 {
		t.Errorf("it is said %d times", n)
	}
}
