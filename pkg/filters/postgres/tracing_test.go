package postgres

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/traces"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// sink is a collector of spans.
type sink struct {
	collector.UnimplementedTraceServiceServer
	mu    sync.Mutex
	spans []*tracev1.Span
}

func (s *sink) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, rs := range r.GetResourceSpans() {
		for _, ss := range rs.GetScopeSpans() {
			s.spans = append(s.spans, ss.GetSpans()...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// traced is a filter whose spans go to a collector.
type traced struct {
	*fixture
	sink     *sink
	provider *traces.Provider
}

func startTraced(t *testing.T, change func(*resource.PostgresFilter)) *traced {
	t.Helper()
	x := &traced{sink: &sink{}}
	g := grpc.NewServer()
	collector.RegisterTraceServiceServer(g, x.sink)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go g.Serve(ln)
	t.Cleanup(g.Stop)
	x.provider, err = traces.Open(t.Context(), traces.Options{
		Service: "test", Endpoint: "http://" + ln.Addr().String(), Sampler: sdktrace.AlwaysSample(), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config()
	cfg.Tracing = &resource.DatabaseTracing{Sampling: 1}
	change(cfg)
	x.fixture = launch(t, func(*Builder) {}, x.provider.Tracer("test"), cfg, dbtest.StartPostgres(t).Addr())
	return x
}

// collected ends the provider and returns the spans, oldest first, one line each.
func (x *traced) collected() []string {
	x.tb.Helper()
	if err := x.provider.Close(); err != nil {
		x.tb.Fatal(err)
	}
	x.sink.mu.Lock()
	defer x.sink.mu.Unlock()
	slices.SortStableFunc(x.sink.spans, func(a, b *tracev1.Span) int {
		return int(int64(a.GetStartTimeUnixNano()) - int64(b.GetStartTimeUnixNano()))
	})
	var lines []string
	for _, s := range x.sink.spans {
		text := ""
		for _, a := range s.GetAttributes() {
			if a.GetKey() == "db.query.text" {
				text = a.GetValue().GetStringValue()
			}
		}
		line := s.GetName() + " | " + text
		if c := s.GetStatus().GetCode(); c != tracev1.Status_STATUS_CODE_UNSET {
			line += " | " + attributesOf(s)["error.type"]
		}
		lines = append(lines, line)
		if s.GetEndTimeUnixNano() < s.GetStartTimeUnixNano() {
			x.tb.Errorf("%s ends before it begins", line)
		}
	}
	return lines
}

func attributesOf(s *tracev1.Span) map[string]string {
	out := map[string]string{}
	for _, a := range s.GetAttributes() {
		out[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return out
}

func (x *traced) pgx() *pgx.Conn {
	x.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, x.dsn())
	if err != nil {
		x.tb.Fatal(err)
	}
	x.tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

const (
	sampledParent   = "/*app='x',traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'*/"
	unsampledParent = "/*traceparent='00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00'*/"
)

// modes are the ways in which sessions get to a server.
func modes() map[string]func(*resource.PostgresFilter) {
	pool := func(session bool) func(*resource.PostgresFilter) {
		return func(c *resource.PostgresFilter) {
			c.Pool = &resource.PostgresPool{Session: session, Size: 2, ResetQuery: resource.DefaultResetQuery, MaxStatements: 10}
		}
	}
	return map[string]func(*resource.PostgresFilter){"of its own": func(*resource.PostgresFilter) {}, "session": pool(true), "transaction": pool(false)}
}

// TestSpansOfQueries: one for each, with what it asked for but no literals, in simple queries, prepared statements and pipelines.
func TestSpansOfQueries(t *testing.T) {
	t.Parallel()
	for name, change := range modes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := startTraced(t, change)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			conn := x.pgx()
			var n int
			if err := conn.QueryRow(ctx, "select 1234 where 'secret' <> 'other' and 'x' = 'x'", pgx.QueryExecModeSimpleProtocol).Scan(&n); err != nil {
				t.Fatal(err)
			}
			for range 2 { // prepared once
				if err := conn.QueryRow(ctx, "select $1::int + 5", 7).Scan(&n); err != nil || n != 12 {
					t.Fatal(n, err)
				}
			}
			if _, err := conn.Exec(ctx, "insert into nowhere values ('secret')", pgx.QueryExecModeSimpleProtocol); err == nil {
				t.Fatal("no error")
			}
			batch := &pgx.Batch{}
			for _, sql := range []string{"select 1", "select 2 / $1::int", "select 3"} {
				if strings.Contains(sql, "$1") {
					batch.Queue(sql, 0)
					continue
				}
				batch.Queue(sql)
			}
			if err := conn.SendBatch(ctx, batch).Close(); err == nil {
				t.Fatal("no error")
			}
			if _, err := conn.Exec(ctx, "select 'end'", pgx.QueryExecModeExec); err != nil {
				t.Fatal(err)
			}
			want := []string{
				"SELECT app | select ? where ? <> ? and ? = ?",
				"SELECT app | select $1::int + ?", "SELECT app | select $1::int + ?",
				"INSERT app | insert into nowhere values (?) | 42P01",
				"SELECT app | select ?", "SELECT app | select ? / $1::int | 22012", // the third was not executed
				"SELECT app | select ?",
			}
			if diff := cmp.Diff(want, x.collected()); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
			attributes := attributesOf(x.sink.spans[0])
			if attributes["db.system.name"] != "postgresql" || attributes["db.operation.name"] != "SELECT" || attributes["server.address"] != "127.0.0.1" {
				t.Errorf("attributes %v", attributes)
			}
			if x.sink.spans[0].GetKind() != tracev1.Span_SPAN_KIND_CLIENT {
				t.Errorf("kind %v", x.sink.spans[0].GetKind())
			}
		})
	}
}

// TestParentsAreHonoured: without sampling only what a sampled parent asks for gets a span; a parent that is not sampled wins over sampling.
func TestParentsAreHonoured(t *testing.T) {
	t.Parallel()
	for _, sampling := range []float64{0, 1} {
		x := startTraced(t, func(c *resource.PostgresFilter) { c.Tracing.Sampling = sampling })
		x.must("select 1 " + sampledParent + ";\n" + "select '" + strings.ReplaceAll(sampledParent, "'", "''") + "';\nselect 2 " + unsampledParent + ";\nselect 3;")
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		var n int
		if err := x.pgx().QueryRow(ctx, sampledParent+" select $1::int", 7).Scan(&n); err != nil {
			t.Fatal(err)
		}
		got := x.collected()
		below := 0
		for _, s := range x.sink.spans {
			if len(s.GetParentSpanId()) > 0 {
				below++
				if want := "\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c"; string(s.GetTraceId()) != want {
					t.Errorf("trace %x", s.GetTraceId())
				}
			}
		}
		if want := 2 + 2*int(sampling); len(got) != want || below != 2 {
			t.Errorf("sampling %v: %d spans, want %d, of which %d have a parent, want 2:\n%s", sampling, len(got), want, below, strings.Join(got, "\n"))
		}
	}
}

// TestSpanOfASessionThatEnds: what was under way is ended with it.
func TestSpanOfASessionThatEnds(t *testing.T) {
	t.Parallel()
	x := startTraced(t, func(*resource.PostgresFilter) {})
	conn := x.pgx()
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(context.Background(), "select pg_sleep(60)", pgx.QueryExecModeSimpleProtocol)
		ended <- err
	}()
	eventually(t, "the query is under way", func() bool { return x.metric("queries_total") == 1 })
	_ = conn.PgConn().Conn().Close()
	if err := <-ended; err == nil {
		t.Error("no error")
	}
	eventually(t, "the session is gone", func() bool { return x.metric("downstream_connections") == 0 })
	got := x.collected()
	if diff := cmp.Diff([]string{"SELECT app | select pg_sleep(?) | session_ended"}, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}
