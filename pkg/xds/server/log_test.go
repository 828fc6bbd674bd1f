package server_test

import (
	"log/slog"
	"testing"
)

// quietLog shows the server's log only of tests that fail.
func quietLog(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}
