package postgres

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// TestPoolCancel: a request to cancel reaches the server that works for its
// session, and only while it does.
func TestPoolCancel(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 1), server.Addr())
	one, other := f.connect(), f.connect()
	ctx := withTimeout(t)
	answer := make(chan error, 1)
	sleep := func(conn *pgx.Conn, seconds string) {
		_, err := conn.Exec(ctx, "select pg_sleep("+seconds+")")
		answer <- err
	}
	running := func(seconds string) {
		eventually(t, "the query to run", func() bool {
			return server.Running("select pg_sleep(" + seconds + ")")
		})
	}
	go sleep(one, "600")
	running("600")
	if err := one.PgConn().CancelRequest(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; dbtest.Code(err) != "57014" {
		t.Errorf("the query: %v", err)
	}
	go sleep(other, "2")
	running("2")
	if err := one.PgConn().CancelRequest(ctx); err != nil { // it has nothing to cancel
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the query of another session: %v", err)
	}
	if n := server.Sessions(dbtest.SCRAMUser); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestPoolClientKilled: what a client leaves in a transaction is rolled back, and
// nobody gets that connection.
func TestPoolClientKilled(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table t (n int)")
	for mode, sleep := range map[string]string{"session": "select pg_sleep(601)", "transaction": "select pg_sleep(602)"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled(mode, 1), server.Addr())
			killed := f.connect()
			ctx := withTimeout(t)
			var pid int
			if err := killed.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid); err != nil {
				t.Fatal(err)
			}
			if _, err := killed.Exec(ctx, "begin; insert into t values (1)"); err != nil {
				t.Fatal(err)
			}
			_ = killed.PgConn().Conn().Close()
			next := f.connect()
			if got := one[int](t, next, "select pg_backend_pid()"); got == pid {
				t.Error("the connection is used again")
			}
			if got := one[int](t, next, "select count(*)::int from t"); got != 0 {
				t.Errorf("%d rows", got)
			}
			if f.metric("pool_closed_total", "dirty") != 1 {
				t.Error("the connection was not closed as dirty")
			}
			busy := f.connect()
			_ = next.Close(ctx)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = busy.Exec(context.Background(), sleep)
			}()
			asleep := func() bool {
				return server.Running(sleep)
			}
			eventually(t, "the query to run", asleep)
			_ = busy.PgConn().Conn().Close()
			<-done
			eventually(t, "the query to be cancelled", func() bool { return !asleep() })
		})
	}
}

// TestPoolServerKilled: sessions without a transaction do not notice.
func TestPoolServerKilled(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 3), server.Addr())
	idle, busy := f.connect(), f.connect()
	ctx := withTimeout(t)
	if _, err := busy.Exec(ctx, "begin"); err != nil {
		t.Fatal(err)
	}
	if got := one[int](t, idle, "select 1"); got != 1 {
		t.Error(got)
	}
	server.SQL("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'u_scram'")
	eventually(t, "the connections to be closed", func() bool {
		return f.metric("pool_server_connections", "idle")+f.metric("pool_server_connections", "active") == 0
	})
	if _, err := busy.Exec(ctx, "select 1"); dbtest.Code(err) != "57P01" {
		t.Errorf("in a transaction: %v", err)
	}
	if got := one[int](t, idle, "select 2"); got != 2 {
		t.Error(got)
	}
	server.Kill()
	if _, err := idle.Exec(ctx, "select 1"); dbtest.Code(err) != "08006" && dbtest.Code(err) != "57P01" {
		t.Errorf("without a server: %v", err)
	}
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), "no server of the database can be reached") {
		t.Errorf("a new session: %v", err)
	}
	server.Restart()
	f.must("select 1")
}

// TestPoolSessionReset: a session finds nothing of the one before.
func TestPoolSessionReset(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("session", 1), server.Addr())
	first := f.must("create temp table left_over (n int); set extra_float_digits to 0; prepare x as select 1; select pg_backend_pid()")
	got := f.must("select pg_backend_pid(), to_regclass('left_over') is null, current_setting('extra_float_digits'), (select count(*) from pg_prepared_statements)")
	if want := first + "|t|1|0"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if f.metric("pool_resets_total") < 1 {
		t.Error("no reset is counted")
	}
}

// TestPoolKeepsConnection: a session that has state at its server keeps it, until
// DISCARD ALL or its end.
func TestPoolKeepsConnection(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table t (n int); grant all on t to public")
	for name, sql := range map[string]string{
		"listen": "listen news", "temporary table": "create temp table x (n int)", "set": "set extra_float_digits to 0; select 1", "set in a transaction": "begin; set extra_float_digits to 0; commit", "prepare": "prepare x as select 1",
		"cursor with hold": "begin; declare k cursor with hold for select 1; commit", "advisory lock": "select pg_advisory_lock(7)",
		"role": "set role u_scram", "set_config": "select set_config('extra_float_digits', '0', false)",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 2), server.Addr())
			ctx := withTimeout(t)
			conn := f.connect("default_query_exec_mode=simple_protocol")
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
			if got := f.metric("pool_server_connections", "active"); got != 1 {
				t.Errorf("%v connections are kept", got)
			}
			if _, err := conn.Exec(ctx, "discard all"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the connection to be given back", func() bool { return f.metric("pool_server_connections", "idle") == 1 })
			if _, err := conn.Exec(ctx, sql); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close(ctx)
			eventually(t, "the connection to be made as new", func() bool {
				return f.metric("pool_resets_total") == 1 && f.metric("pool_server_connections", "idle") == 1
			})
		})
	}
	for name, sql := range map[string]string{
		"set local behind an update": "update t set n = 1; set local extra_float_digits to 0",
		"set local":                  "begin; set local extra_float_digits to 0; commit", "set alone": "set extra_float_digits to 0", "tracked": "set timezone to 'Asia/Tokyo'", "set transaction": "begin; set transaction read only; commit",
		"on commit drop": "begin; create temp table y (n int) on commit drop; commit", "a column": "select 1 as temp",
		"advisory lock of a transaction": "select pg_advisory_xact_lock(1)", "same value": "set client_encoding to 'utf8'",
	} {
		t.Run("not by "+name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 2), server.Addr())
			conn := f.connect("default_query_exec_mode=simple_protocol")
			if _, err := conn.Exec(withTimeout(t), sql); err != nil {
				t.Fatal(err)
			}
			if got := f.metric("pool_server_connections", "active"); got != 0 {
				t.Errorf("%v connections are kept", got)
			}
		})
	}
}

// TestPoolSettings: each session has its own settings on connections that all
// share.
func TestPoolSettings(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	zones := []string{"Asia/Tokyo", "Europe/Paris", "America/Lima"}
	var conns []*pgx.Conn
	for i, zone := range zones {
		conn := f.connect(fmt.Sprintf("application_name=app%d", i))
		for _, sql := range []string{"set timezone to '" + zone + "'", fmt.Sprintf("set extra_float_digits to %d", i), fmt.Sprintf("set my.own to 'x%d'", i)} {
			if _, err := conn.Exec(withTimeout(t), sql); err != nil {
				t.Fatal(err)
			}
		}
		conns = append(conns, conn)
	}
	for range 3 {
		for i, conn := range conns {
			const sql = "select concat_ws(' ', current_setting('timezone'), current_setting('application_name'), current_setting('extra_float_digits'), current_setting('my.own'))"
			if got, want := one[string](t, conn, sql), fmt.Sprintf("%s app%d %d x%d", zones[i], i, i, i); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	if n := f.metric("pool_pinned_total"); n != 0 {
		t.Errorf("%v sessions keep their connection", n)
	}
	other := f.connect()
	if got := one[string](t, other, "select concat_ws(' ', current_setting('extra_float_digits'), current_setting('my.own', true))"); strings.TrimSpace(got) != "1" {
		t.Errorf("a session that has set nothing: %q", got)
	}
}

// TestPoolWait: who waits too long for a connection is told so, and a pool of one
// serves the sessions of all loops.
func TestPoolWait(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	cfg := pooled("transaction", 1)
	cfg.Limits.MaxWait = 3 * time.Second // which a busy machine needs for the login of the pool's connection
	f := start(t, cfg, server.Addr())
	holder, late := f.connect(), f.connect()
	ctx := withTimeout(t)
	if _, err := holder.Exec(ctx, "begin"); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Exec(ctx, "select 1"); dbtest.Code(err) != "53300" {
		t.Errorf("a session that waits: %v", err)
	}
	if _, err := holder.Exec(ctx, "commit"); err != nil {
		t.Fatal(err)
	}
	f.must("select 1")
}

// TestPoolOfOne: sessions of two loops take turns at one connection.
func TestPoolOfOne(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 1), server.Addr())
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			conn, err := pgx.Connect(context.Background(), f.dsn())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(context.Background())
			for n := range 10 {
				var got int
				if err := conn.QueryRow(context.Background(), "select $1::int + 1", n).Scan(&got); err != nil || got != n+1 {
					t.Errorf("session %d: %d, %v", i, got, err)
				}
			}
		})
	}
	wg.Wait()
	// One that was closed for another loop's counts until the server has ended it.
	eventually(t, "one session to be left", func() bool { return server.Sessions(dbtest.SCRAMUser) <= 1 })
}

// TestPoolIdleElsewhere: connections that are idle on one loop serve the sessions of
// another, where others keep what that has.
func TestPoolIdleElsewhere(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	cfg := pooled("transaction", 4)
	cfg.Limits.MaxWait = 60 * time.Second
	f := start(t, cfg, server.Addr())
	var conns []*pgx.Conn
	for range 8 {
		conns = append(conns, f.connect())
	}
	for _, conn := range conns {
		one[int](t, conn, "select 1")
	}
	for i, conn := range conns {
		if i%2 == 0 && i < 6 { // of one loop
			if _, err := conn.Exec(withTimeout(t), "listen news"); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range conns {
		if got := one[int](t, conns[len(conns)-1-i], "select 1"); got != 1 {
			t.Error(got)
		}
	}
}

// TestPoolErrors: the server's own error reaches the app at its login.
func TestPoolErrors(t *testing.T) {
	t.Parallel()
	cfg := pooled("transaction", 2)
	cfg.Login.Database = "nothing"
	f := start(t, cfg, dbtest.StartPostgres(t).Addr())
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), `database "nothing" does not exist`) {
		t.Errorf("a database that is not there: %v", err)
	}
	f.world.Set("password", "wrong")
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("a wrong password: %v", err)
	}
}

// TestPoolPgbench: pgbench runs in each of its modes.
func TestPoolPgbench(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 3), server.Addr())
	pgbench := server.Program("pgbench")
	run := func(args ...string) string {
		out, err := exec.CommandContext(withTimeout(t), pgbench, append(args, f.dsn())...).CombinedOutput()
		if err != nil {
			t.Fatalf("pgbench %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("-i", "-q", "-s", "1")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		if out := run("-n", "-M", mode, "-c", "8", "-j", "8", "-t", "50"); !strings.Contains(out, "processed: 400/400") {
			t.Errorf("%s: %s", mode, out)
		}
	}
	if n := server.Sessions(dbtest.SCRAMUser); n > 3 {
		t.Errorf("%d sessions", n)
	}
}

// TestPoolAccess: what the document says of sessions holds in a pool.
func TestPoolAccess(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	cfg := pooled("transaction", 1)
	cfg.ReadOnly = true
	timeout := time.Second
	cfg.StatementTimeout = &timeout
	cfg.AppAuth = &resource.AppAuth{Username: "app", Password: resource.SecretKey{Name: "app"}}
	f := start(t, cfg, server.Addr())
	f.world.Set("app", "none")
	writer, reader := f.connect(), f.connect()
	ctx := withTimeout(t)
	if _, err := writer.Exec(ctx, "set default_transaction_read_only to off"); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, writer, "show default_transaction_read_only"); got != "off" {
		t.Error(got)
	}
	if _, err := reader.Exec(ctx, "create table t (n int)"); dbtest.Code(err) != "25006" {
		t.Errorf("writing: %v", err)
	}
	if _, err := reader.Exec(ctx, "select pg_sleep(60)"); dbtest.Code(err) != "57014" {
		t.Errorf("a long statement: %v", err)
	}
	if _, err := f.psql("select 1", "password=wrong"); err == nil || !strings.Contains(err.Error(), "password authentication failed") {
		t.Errorf("a wrong password: %v", err)
	}
}
