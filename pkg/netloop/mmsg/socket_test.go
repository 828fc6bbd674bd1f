package mmsg_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/pkg/netloop/mmsg"
)

// listen is a socket, one that is connected to it, and what arrives.
func listen(t *testing.T, network string) (*mmsg.Socket, net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unixgram" {
		address = filepath.Join(t.TempDir(), "s")
	}
	s, err := mmsg.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	out, err := net.Dial(network, s.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return s, out
}

// serve gives what arrives to a channel until stop is called, which returns what
// Serve did.
func serve(t *testing.T, s *mmsg.Socket) (got <-chan string, stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	arrived, done := make(chan string, 100_000), make(chan error, 1)
	go func() {
		done <- s.Serve(ctx, 16, func(r *mmsg.Reader, n int, now time.Time) {
			if age := time.Since(now); age < 0 || age > time.Hour || !strings.Contains(now.String(), " m=") {
				t.Errorf("datagrams are said to have been read at %v, or there is no reading of the monotonic clock", now)
			}
			for i := range n {
				b, _ := r.Datagram(i)
				arrived <- string(b)
			}
		})
	}()
	return arrived, func() error {
		cancel()
		if err := s.SetDeadline(time.Unix(1, 0)); err != nil {
			return err
		}
		return <-done
	}
}

// TestServe: datagrams arrive whether they come one by one or in a row, and one
// that comes after a while without any does.
func TestServe(t *testing.T) {
	t.Parallel()
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			s, out := listen(t, network)
			got, stop := serve(t, s)
			for round := range 20 {
				var want, have []string
				for i := range 1 + round*10 {
					text := fmt.Sprint(round, " ", i)
					want = append(want, text)
					if _, err := out.Write([]byte(text)); err != nil {
						t.Fatal(err)
					}
				}
				for range want { // nothing is under way when the next round begins
					have = append(have, <-got)
				}
				if diff := cmp.Diff(want, have); diff != "" {
					t.Fatalf("(-want +got):\n%s", diff)
				}
			}
			if err := stop(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// TestServeAgain: what arrives between two that serve a socket is the second's.
func TestServeAgain(t *testing.T) {
	t.Parallel()
	s, out := listen(t, "udp")
	for i := range 50 {
		got, stop := serve(t, s)
		if i > 0 {
			if text := <-got; text != fmt.Sprint("between ", i-1) {
				t.Fatalf("got %q", text)
			}
		}
		if _, err := out.Write([]byte("while")); err != nil {
			t.Fatal(err)
		}
		<-got
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := s.SetDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(out, "between ", i); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServeEnds: what has arrived when it is to end is given, and then it ends.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	s, out := listen(t, "udp")
	var want, got []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
		if _, err := out.Write([]byte(want[i])); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := errors.Join(s.SetDeadline(time.Unix(1, 0)), s.Serve(ctx, 16, func(r *mmsg.Reader, n int, _ time.Time) {
		for i := range n {
			b, _ := r.Datagram(i)
			got = append(got, string(b))
		}
	}))
	if err != nil {
		t.Errorf("it ended with %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestClosed(t *testing.T) {
	t.Parallel()
	s, _ := listen(t, "udp")
	if n, err := s.Drops(); n != 0 || err != nil {
		t.Errorf("drops: %d, %v", n, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Drops(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("drops of a closed socket: %v", err)
	}
	again, err := mmsg.Listen(t.Context(), "udp", s.LocalAddr().String())
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	s, _ := listen(t, "udp")
	for _, tt := range []struct{ network, address string }{{"udp", s.LocalAddr().String()}, {"udp", "nonsense"}, {"tcp", "127.0.0.1:0"}} {
		if _, err := mmsg.Listen(t.Context(), tt.network, tt.address); err == nil {
			t.Errorf("%s %s is bound", tt.network, tt.address)
		}
	}
}

// TestPauses: the pauses for streams of datagrams at different paces.
func TestPauses(t *testing.T) {
	t.Parallel()
	const batch, ms = 64, time.Millisecond
	type read struct {
		n     int
		after time.Duration // the read before
	}
	tests := []struct {
		name  string
		most  time.Duration
		reads []read
		want  []time.Duration // -1: wait for the next datagram
	}{
		{"one now and then", 4 * ms, []read{{1, time.Second}, {1, ms}, {3, ms}, {1, ms}}, []time.Duration{-1, -1, -1, -1}},
		{"a trickle is given ever more time", 4 * ms, []read{{1, time.Second}, {1, ms / 10}, {40, ms}, {40, 2 * ms}, {40, 4 * ms}}, []time.Duration{-1, 2 * ms, 4 * ms, 4 * ms, 4 * ms}},
		{"a flood as little as there is", 4 * ms, []read{{batch, ms}, {batch, 0}, {batch, 0}, {batch, 0}, {batch, 0}, {10, 0}, {batch, ms}, {5, 0}}, []time.Duration{0, 0, 0, 0, 0, ms, 0, 2 * ms}},
		{"no room", 0, []read{{1, ms / 10}, {50, ms / 10}, {batch, 0}, {1, 0}}, []time.Duration{-1, -1, 0, -1}},
		{"a burst, and then nothing", 4 * ms, []read{{50, time.Second}, {1, 4 * ms}}, []time.Duration{2 * ms, -1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			next := mmsg.Gather(tt.most, batch)
			now := time.Hour
			var got []time.Duration
			for _, r := range tt.reads {
				now += r.after
				pause, more := next(r.n, int64(now))
				if !more {
					pause = -1
				}
				got = append(got, pause)
			}
			if !slices.Equal(tt.want, got) {
				t.Errorf("pauses %v, want %v", got, tt.want)
			}
		})
	}
}
