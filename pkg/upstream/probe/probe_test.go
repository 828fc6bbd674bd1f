package probe_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/upstream/probe"
)

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func credentials(user, password string) func() (string, string, error) {
	return func() (string, string, error) { return user, password, nil }
}

func TestPing(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t, redistest.WithPassword("p"),
		redistest.WithUser("app", "secret", "~* +@all"),
		redistest.WithUser("mute", "secret", "~* +get"))
	tests := []struct {
		name           string
		user, password string
		wantCode       string
	}{
		{name: "password alone", password: "p"},
		{name: "user and password", user: "app", password: "secret"},
		{name: "none", wantCode: "NOAUTH"},
		{name: "wrong", user: "app", password: "nope", wantCode: "WRONGPASS"},
		{name: "may not ping", user: "mute", password: "secret"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			target := probe.Target{Network: "tcp", Address: node.Addr(), Credentials: credentials(tc.user, tc.password)}
			err := ping(within(t, 10*time.Second), target)
			if tc.wantCode == "" && err != nil || tc.wantCode != "" && !probe.HasCode(err, tc.wantCode) {
				t.Errorf("ping = %v, want code %q", err, tc.wantCode)
			}
		})
	}
}

func ping(ctx context.Context, target probe.Target) error {
	c, err := probe.Dial(ctx, target)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Ping(ctx)
}

func TestPingOverUnixSocketAndTLS(t *testing.T) {
	t.Parallel()
	sock := redistest.Server(t, redistest.WithUnixSocket())
	if err := ping(within(t, 10*time.Second), probe.Target{Network: "unix", Address: sock.SocketPath()}); err != nil {
		t.Errorf("unix socket: %v", err)
	}
	pki := redistest.NewPKI(t)
	tlsNode := redistest.Server(t, redistest.WithTLS(pki))
	cfg := pki.ClientConfig()
	cfg.ServerName = "localhost"
	if err := ping(within(t, 10*time.Second), probe.Target{Network: "tcp", Address: tlsNode.Addr(), TLS: cfg}); err != nil {
		t.Errorf("TLS: %v", err)
	}
	if err := ping(within(t, 300*time.Millisecond), probe.Target{Network: "tcp", Address: sock.Addr(), TLS: cfg}); err == nil {
		t.Error("TLS handshake with a plain server succeeds")
	}
}

func TestAbsent(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	ctx := within(t, 10*time.Second)
	c, err := probe.Dial(ctx, probe.Target{Network: "tcp", Address: node.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Absent(ctx, "down"); err != nil {
		t.Errorf("without the key: %v", err)
	}
	node.Do("SET", "down", "1")
	if err := c.Absent(ctx, "down"); err == nil {
		t.Error("with the key: no error")
	}
}

func TestDoAll(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	ctx := within(t, 30*time.Second)
	c, err := probe.Dial(ctx, probe.Target{Network: "tcp", Address: node.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	replies, err := c.DoAll(ctx, []string{"SET", "k", "v"}, []string{"INCR", "k"}, []string{"GET", "k"})
	if err != nil || len(replies) != 3 {
		t.Fatalf("%d replies, %v", len(replies), err)
	}
	for i, wantCode := range []string{"", "ERR", ""} {
		if err := probe.ErrorOf(&replies[i]); wantCode == "" && err != nil || wantCode != "" && !probe.HasCode(err, wantCode) {
			t.Errorf("reply %d: %v, want code %q", i, err, wantCode)
		}
	}
	if got := string(replies[2].Text()); got != "v" {
		t.Errorf("GET = %q", got)
	}
	if err := c.Ping(ctx); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLongReply(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	node.Do("SET", "k", strings.Repeat("v", 100<<10))
	ctx := within(t, 30*time.Second)
	for most, want := range map[int]error{0: nil, 200 << 10: nil, 50 << 10: probe.ErrTooLong} {
		c, err := probe.Dial(ctx, probe.Target{Network: "tcp", Address: node.Addr(), MaxReply: most})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := c.Do(ctx, "GET", "k"); !errors.Is(err, want) {
			t.Errorf("with at most %d bytes: %v, want %v", most, err, want)
		}
	}
}

// scripted serves each connection with fixed bytes, whatever it is asked.
func scripted(t *testing.T, reply string) probe.Target {
	t.Helper()
	addr := nettest.Serve(t, func(c net.Conn) {
		buf := make([]byte, 1024)
		if _, err := c.Read(buf); err != nil {
			return
		}
		for i := range len(reply) {
			if _, err := c.Write([]byte{reply[i]}); err != nil {
				return
			}
		}
		_, _ = c.Read(buf)
	})
	return probe.Target{Network: "tcp", Address: addr}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, reply, wantErr string
	}{
		{"in pieces", "+PONG\r\n", ""},
		{"loading", "-LOADING Redis is loading the dataset in memory\r\n", "LOADING"},
		{"master down", "-MASTERDOWN Link with MASTER is down\r\n", "MASTERDOWN"},
		{"busy", "-BUSY Redis is busy running a script\r\n", ""},
		{"not Redis", "HTTP/1.1 400 Bad Request\r\n\r\n", "Protocol error"},
		{"silence", "+PO", "i/o timeout"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := ping(within(t, 500*time.Millisecond), scripted(t, tc.reply))
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("ping = %v, want %q", err, tc.wantErr)
			}
		})
	}
}

func TestCancelEndsAReceive(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	ctx, cancel := context.WithCancel(t.Context())
	c, err := probe.Dial(ctx, probe.Target{Network: "tcp", Address: node.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() {
		_, err := c.Receive(ctx)
		done <- err
	}()
	cancel()
	select {
	case err := <-done:
		if err == nil {
			t.Error("Receive returns a message")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Receive goes on")
	}
}

func TestDialRefusesBadCredentials(t *testing.T) {
	t.Parallel()
	node := redistest.Server(t)
	gone := errors.New("secret is gone")
	_, err := probe.Dial(within(t, 10*time.Second), probe.Target{
		Network: "tcp", Address: node.Addr(),
		Credentials: func() (string, string, error) { return "", "", gone },
	})
	if !errors.Is(err, gone) {
		t.Errorf("Dial = %v, want %v", err, gone)
	}
}
