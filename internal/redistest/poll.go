package redistest

import (
	"context"
	"fmt"
	"time"
)

// TB is the part of testing.TB that this package needs, so that a benchmark program can use it without the testing package.
type TB interface {
	Helper()
	Cleanup(fn func())
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// pollInterval is short against a server's start (about 10 ms) and long against a PING.
const pollInterval = 5 * time.Millisecond

// Eventually calls check until it returns nil, and fails the test with its last error when that takes longer than limit.
func Eventually(tb TB, limit time.Duration, what string, check func() error) {
	tb.Helper()
	if err := poll(limit, check); err != nil {
		tb.Fatalf("waited %v for %s: %v", limit, what, err)
	}
}

// poll is Eventually for goroutines that may not fail a test themselves. The error is the last one of check.
func poll(limit time.Duration, check func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-tick.C:
		}
	}
}
