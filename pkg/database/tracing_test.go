package database

import (
	"log/slog"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func TestParentOf(t *testing.T) {
	t.Parallel()
	const parent = "traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'"
	tests := []struct {
		name, sql string
		want      bool
	}{
		{"at the end", "select 1 /*" + parent + "*/", true},
		{"with others, a semicolon and blanks behind", "select 1 /*action='%2Fx',db_driver='pgx'," + parent + ",tracestate='a%3Db'*/ ;\n", true},
		{"at the beginning", " /*" + parent + "*/ select 1", true},
		{"in a literal", `select "/*` + parent + `*/"`, false},
		{"in a literal at the end, in dollar quotes", "select $$/*" + parent + "*/$$", false},
		{"in the middle", "select /*" + parent + "*/ 1", false},
		{"no comment", "select 1", false},
		{"a comment without", "select 1 /* why */", false},
		{"not closed", "select 1 /*" + parent, false},
		{"nothing but an end", "*/", false},
		{"malformed", "select 1 /*traceparent='00-0af7-b7ad-01'*/", false},
		{"bad escape", "select 1 /*traceparent='%zz'*/", false},
		{"no quote", "select 1 /*traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01*/", false},
	}
	for _, tt := range tests {
		if got := parentOf([]byte(tt.sql)).IsValid(); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
	if got := parentOf([]byte(tests[1].sql)).TraceState().Get("a"); got != "b" {
		t.Errorf("tracestate %q", got)
	}
}

func TestOperationOf(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"select 1": "SELECT", " ( select 1)": "SELECT", "Insert into t": "INSERT", "with x as (select 1) select 1": "WITH", "": "", "frobnicate x": "",
		"selecting": "", "commit": "COMMIT", "?": "",
	} {
		if got := operationOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestNoSpansUnlessAskedForAndCollected(t *testing.T) {
	t.Parallel()
	log := slog.New(slog.DiscardHandler)
	tracer := noop.NewTracerProvider().Tracer("")
	asked := &resource.DatabaseTracing{}
	if NewTracing(TracingOptions{Tracer: tracer, Log: log}) != nil || NewTracing(TracingOptions{Config: asked, Log: log}) != nil {
		t.Error("tracing that was not asked for, or that nobody collects")
	}
	if NewTracing(TracingOptions{Tracer: tracer, Config: asked, Log: log}).Session("app") == nil {
		t.Error("no tracing")
	}
	var none *Spans // as every session has where there are none
	none.Begin(none.Sample([]byte("select 1")), "", true, time.Time{})
	none.EndOfUnit()
	none.Failed("x", time.Time{}, nil)
	none.Completed(time.Time{}, nil)
	none.Ready(true, time.Time{}, nil)
	none.Abandon(time.Time{}, nil)
	if none.Again().On {
		t.Error("a query without spans is sampled")
	}
}

// TestTooManyQueriesEndTracing: what a session keeps is bounded.
func TestTooManyQueriesEndTracing(t *testing.T) {
	t.Parallel()
	tracing := NewTracing(TracingOptions{Tracer: noop.NewTracerProvider().Tracer(""), Config: &resource.DatabaseTracing{Sampling: 1}, Log: slog.New(slog.DiscardHandler)})
	s := tracing.Session("app")
	for range 2 * maxPending {
		s.Begin(s.Again(), "select ?", false, time.Time{})
		s.EndOfUnit()
	}
	if len(s.pending) > maxPending || s.Sample([]byte("select 1")).On {
		t.Errorf("%d queries are kept", len(s.pending))
	}
}
