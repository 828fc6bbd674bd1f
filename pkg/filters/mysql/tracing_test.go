package mysql

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestSpansOfQueries: one for each query and each execution of a prepared statement, with what was asked for but no literals.
func TestSpansOfQueries(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	cfg := config()
	cfg.Tracing = &resource.DatabaseTracing{Sampling: 1}
	f := launch(t, func(*Builder) {}, provider.Tracer("test"), cfg, dbtest.StartMariaDB(t).Addr())
	conn := f.connect()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var n int
	if err := conn.QueryRowContext(ctx, "select 7 from dual where 'secret' = 'secret' /*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/").Scan(&n); err != nil {
		t.Fatal(err)
	}
	stmt, err := conn.PrepareContext(ctx, "select ? + 5")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stmt.QueryRowContext(ctx, 1).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.PingContext(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(ctx, "insert into nowhere values ('secret')"); err == nil {
		t.Fatal("no error")
	}
	var got []string
	for _, s := range recorder.Ended() {
		text, line := "", s.Name()
		for _, a := range s.Attributes() {
			switch a.Key {
			case "db.query.text":
				text = a.Value.AsString()
			case "error.type":
				line += " " + a.Value.AsString()
			}
		}
		if failed := s.Status().Code == codes.Error; failed != strings.Contains(line, " 1146") {
			t.Errorf("%s: status %v", line, s.Status())
		}
		if s.Parent().IsValid() {
			line += " below " + s.Parent().SpanID().String()
		}
		got = append(got, line+" | "+strings.TrimSpace(text))
	}
	want := []string{
		"SELECT app below b7ad6b7169203331 | select ? from dual where ? = ?", "SELECT app | select ? + ?", "SELECT app | select ? + ?",
		"INSERT app 1146 | insert into nowhere values (?)",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

// TestParentsOfAttributes: what a query's attributes name as its parent is that of its span, as MySQL's clients with OpenTelemetry have it.
func TestParentsOfAttributes(t *testing.T) {
	t.Parallel()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	cfg := config()
	cfg.Tracing = &resource.DatabaseTracing{} // those that name a parent
	var l ledger
	f := launch(t, func(*Builder) {}, provider.Tracer("test"), cfg, l.server(t))
	c := f.attributed()
	for text, flags := range map[string]string{"select 1": "01", "select 2": "00", "select 3": "none"} {
		c.seq = 0
		parent := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-" + flags
		c.write([]byte("\x03\x01\x01\x00\x01\xfd\x00\x0btraceparent" + string(rune(len(parent))) + parent + text))
		if b := c.read(); b[0] != 0 {
			t.Fatalf("%q", b)
		}
	}
	spans := recorder.Ended()
	if len(spans) != 1 || spans[0].Parent().SpanID().String() != "b7ad6b7169203331" || spans[0].Parent().TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("%d spans: %v", len(spans), spans)
	}
}
