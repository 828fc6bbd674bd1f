// Package tooltest finds and starts the programs that tests compare with, which
// hack/build-test-tools.sh builds.
package tooltest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Path returns the path of a program or an example beneath bin, and fails the
// test when it is not there.
func Path(tb testing.TB, name ...string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		path := filepath.Join(append([]string{dir, "bin"}, name...)...)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatalf("this test needs bin/%s: build it with `make test-tools` (`make test` does that, too)", filepath.Join(name...))
		}
		dir = parent
	}
}

// Start runs a program until the test ends, and returns once it accepts
// connections at the address.
func Start(tb testing.TB, address, program string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), Path(tb, program), args...)
	var log lockedBuffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = cmd.Wait() // it is killed
	}()
	tb.Cleanup(func() {
		_ = cmd.Process.Kill() // it may be gone
		<-gone
	})
	ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := new(net.Dialer).DialContext(ctx, "tcp", address); err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-gone:
			tb.Fatalf("%s has ended: %s", program, log.String())
		case <-ctx.Done():
			tb.Fatalf("%s does not listen on %s: %s", program, address, log.String())
		case <-tick.C:
		}
	}
}

// FreeAddress is an address of loopback that nobody listens on.
func FreeAddress(tb testing.TB) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			tb.Error(fmt.Errorf("closing: %w", err))
		}
	}()
	return l.Addr().String()
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
