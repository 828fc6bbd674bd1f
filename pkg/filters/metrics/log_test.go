package metrics_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestLogOfDeadSource: who reads the log finds which source is dead and why, once.
func TestLogOfDeadSource(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	var log bytes.Buffer
	a := serveLogging(t, config(exporter("bad", gone.URL+"/metrics"), exporter("good", answering(t, text(good)))), slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		a.scrape("")
	}
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") || !strings.Contains(got, "source=bad") || !strings.Contains(got, "connection refused") {
		t.Errorf("the log:\n%s", got)
	}
}
