package postgres

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/lib/pq" // the other driver

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

func withTimeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// connect opens a session by pgx.
func (f *fixture) connect(options ...string) *pgx.Conn {
	f.tb.Helper()
	conn, err := pgx.Connect(withTimeout(f.tb), f.dsn(options...))
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func one[T any](t testing.TB, conn *pgx.Conn, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRow(withTimeout(t), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// TestProtocol: what a session may consist of comes through as it is.
func TestProtocol(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	conn := f.connect()
	ctx := withTimeout(t)

	if got := one[string](t, conn, "select $1::text || current_database()", "in "); got != "in "+dbtest.Database {
		t.Errorf("a parameter: %q", got)
	}
	if _, err := conn.Exec(ctx, "create table rows (n int, text text)"); err != nil {
		t.Fatal(err)
	}
	var source [][]any
	for i := range 20_000 {
		source = append(source, []any{int32(i), strings.Repeat("x", i%100)})
	}
	if n, err := conn.CopyFrom(ctx, pgx.Identifier{"rows"}, []string{"n", "text"}, pgx.CopyFromRows(source)); err != nil || n != 20_000 {
		t.Fatalf("COPY in: %d, %v", n, err)
	}
	var out bytes.Buffer
	if tag, err := conn.PgConn().CopyTo(ctx, &out, "copy (select * from rows order by n) to stdout"); err != nil || tag.RowsAffected() != 20_000 || bytes.Count(out.Bytes(), []byte("\n")) != 20_000 {
		t.Errorf("COPY out: %v, %v, %d bytes", tag, err, out.Len())
	}
	batch := &pgx.Batch{}
	for i := range 200 {
		batch.Queue("select $1::int + 1", i)
	}
	results := conn.SendBatch(ctx, batch)
	for i := range 200 {
		var n int
		if err := results.QueryRow().Scan(&n); err != nil || n != i+1 {
			t.Fatalf("pipelined query %d: %d, %v", i, n, err)
		}
	}
	if err := results.Close(); err != nil {
		t.Fatal(err)
	}
	const big = 40 << 20
	if n := one[int](t, conn, "select length($1)", strings.Repeat("y", big)); n != big {
		t.Errorf("a large parameter: %d", n)
	}
	if s := one[string](t, conn, "select repeat('z', 41943040)"); len(s) != big {
		t.Errorf("a large value: %d", len(s))
	}
	if _, err := conn.Exec(ctx, "selec 1"); dbtest.Code(err) != "42601" {
		t.Errorf("an error: %v", err)
	}
	listener := f.connect()
	if _, err := listener.Exec(ctx, "listen news"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "select pg_notify('news', 'hello')"); err != nil {
		t.Fatal(err)
	}
	if n, err := listener.WaitForNotification(ctx); err != nil || n.Payload != "hello" {
		t.Errorf("a notification: %v, %v", n, err)
	}
	for name, want := range map[string]float64{"sessions_total": 2, "downstream_connections": 2} {
		if got := f.metric(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if f.metric("queries_total") < 200 || f.metric("errors_total", "42") != 1 || f.metric("query_duration_seconds") == 0 {
		t.Error("queries and errors are not counted")
	}
}

// TestLibpqDriver: lib/pq with prepared statements, over database/sql.
func TestLibpqDriver(t *testing.T) {
	t.Parallel()
	f := start(t, config(), dbtest.StartPostgres(t).Addr())
	db, err := sql.Open("postgres", f.dsn())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	st, err := db.Prepare("select $1::int * 2")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		var n int
		if err := st.QueryRow(i).Scan(&n); err != nil || n != 2*i {
			t.Fatalf("%d: %d, %v", i, n, err)
		}
	}
}

// TestCancel: a request to cancel reaches the server of its session, also after
// the listener has gone to another one.
func TestCancel(t *testing.T) {
	t.Parallel()
	dev, prod := dbtest.StartPostgres(t), dbtest.StartPostgres(t)
	f := start(t, config(), dev.Addr())
	f.world.Add("prod").Lead(nil, prod.Addr())
	cancelled := make(chan error, 1)
	conn := f.connect()
	go func() {
		_, err := conn.Exec(context.Background(), "select pg_sleep(600)")
		cancelled <- err
	}()
	eventually(t, "the query to run", func() bool {
		return dev.Running("select pg_sleep(600)")
	})
	next := config()
	next.Cluster = "prod"
	f.swap(next, filters.Retirement{Deadline: time.Minute})
	if err := conn.PgConn().CancelRequest(withTimeout(t)); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-cancelled:
		if dbtest.Code(err) != "57014" {
			t.Errorf("the query ended with %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the query goes on")
	}
	if got := f.metric("cancel_requests_total", "passed_on"); got != 1 {
		t.Errorf("%v requests passed on", got)
	}
}

// TestAppAuth: the app has to show what the document demands, by each method.
func TestAppAuth(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, method := range []resource.PostgresAuth{resource.PostgresSCRAM, resource.PostgresMD5, resource.PostgresPassword} {
		t.Run(fmt.Sprint(method), func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.AppAuth = &resource.AppAuth{Username: "app", Password: resource.SecretKey{Name: "app", Key: "password"}}
			cfg.AppAuthMethod = method
			f := start(t, cfg, server.Addr())
			f.world.Set("app/password", "open sesame")
			for range 2 { // the second time with what was derived the first time
				if got := f.must("select current_user", "password='open sesame'"); got != dbtest.SCRAMUser {
					t.Errorf("got %q", got)
				}
			}
			for _, wrong := range []string{"password=other", "user=other password='open sesame'"} {
				if _, err := f.psql("select 1", wrong); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
					t.Errorf("%s: %v", wrong, err)
				}
			}
		})
	}
}

// TestStartParameters: read only and the timeout are asked of the server, over
// what the app asks for.
func TestStartParameters(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	cfg := config()
	timeout := 1500 * time.Millisecond
	cfg.ReadOnly, cfg.StatementTimeout = true, &timeout
	cfg.Login.Database = ""
	f := start(t, cfg, server.Addr())
	show := "show default_transaction_read_only; show statement_timeout; show application_name; select current_database()"
	got := f.must(show, "application_name=orders", "dbname="+dbtest.DatabaseDev, "options='-c default_transaction_read_only=off -c statement_timeout=0'")
	if got != "on\n1500ms\norders\n"+dbtest.DatabaseDev {
		t.Errorf("got %q", got)
	}
	if _, err := f.psql("create table t()", "dbname="+dbtest.Database); err == nil || !strings.Contains(err.Error(), "read-only transaction") {
		t.Errorf("a write: %v", err)
	}
	if _, err := f.psql("select 1", "replication=database", "dbname="+dbtest.Database); err == nil || !strings.Contains(err.Error(), "replication connections are not passed on") {
		t.Errorf("replication: %v", err)
	}
}

// TestSlowQuery: what takes long is logged without literals and parameters.
func TestSlowQuery(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	cfg := config()
	cfg.SlowQuery = 50 * time.Millisecond
	f := start(t, cfg, server.Addr())
	conn := f.connect()
	if _, err := conn.Exec(withTimeout(t), "select pg_sleep($1), 'quiet', $2::text", 0.1, "hidden"); err != nil {
		t.Fatal(err)
	}
	f.must("select pg_sleep(0.11), 'secret', 42")
	log := f.log.String()
	if !strings.Contains(log, "select pg_sleep(?), ?, ?") || !strings.Contains(log, "select pg_sleep($1), ?, $2::text") {
		t.Error("slow queries are not logged")
	}
	if strings.Contains(log, "secret") || strings.Contains(log, "hidden") || strings.Contains(log, "quiet") {
		t.Error("values are logged")
	}
}

func TestWithoutLiterals(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		`select 'a''b', "it's", 1.5e3, $1, x'41' from t1`:   `select ?, "it's", ?, $1, x? from t1`,
		`select E'a\'b', e'c', 'd'`:                         `select E?, e?, ?`,
		`select * from t where a like'%\' or b = 'secret'`:  `select * from t where a like?`,
		`select 'it\\', 'secret'`:                           `select ?, ?`,
		`select date'x', 'secret'`:                          `select date?, ?`,
		`select $$a$$, $x$ $$ 'b' $x$, a$x$b, $x$secret$x$`: `select ?, ?, a$x$b, ?`,
		`select 1 /* /* */ ' */ , 'secret'`:                 `select ?  , ?`,
		`select/* */42, a--
7, b`: `select ?, a ?, b`,
		"select a -- x\r, 'y\nsecret'": "select a , ?",
		`select 'cut off`:              "select ?",
		`select E'cut off\`:            "select E?",
		`select /* cut off 'secret`:    "select ",
		`select $a$cut off`:            "select ?",
		`select "cut off`:              "select ",
	} {
		if got := withoutLiterals([]byte(sql)); got != want {
			t.Errorf("%q: got %q, want %q", sql, got, want)
		}
	}
}

// TestPgbench runs through.
func TestPgbench(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	host, port, _ := strings.Cut(f.addr, ":")
	bench := func(args ...string) {
		t.Helper()
		args = append([]string{"-h", host, "-p", port, "-U", "app"}, args...)
		cmd := exec.CommandContext(withTimeout(t), server.Program("pgbench"), append(args, dbtest.Database)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("pgbench %q: %v\n%s", args, err, out)
		}
	}
	bench("-i", "-q", "-s", "1")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		bench("-n", "-M", mode, "-c", "8", "-j", "2", "-t", "200")
	}
	bench("-n", "-C", "-S", "-c", "4", "-t", "50")
	if got := server.SQL("select sum(abalance) = (select sum(delta) from pgbench_history) from pgbench_accounts"); got != "t" {
		t.Error("the books do not balance")
	}
}
