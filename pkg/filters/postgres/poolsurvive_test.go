package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPoolPreparedSurvives: what a session has prepared is there at every server that the pool goes to: after a restart, at the standby that was
// promoted in the place of a server that is dead, and after a table has changed under it.
func TestPoolPreparedSurvives(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 1), server.Addr())
	f.must("create table words (n int, text text); insert into words values (1, 'one'), (2, 'two')")
	standby := server.Standby()
	conn, ctx := f.connect(), withTimeout(t)
	for i := range 5 {
		if _, err := conn.Prepare(ctx, fmt.Sprint("s", i), fmt.Sprintf("select text || %d from words where n = $1", i)); err != nil {
			t.Fatal(err)
		}
	}
	works := func(when string) {
		t.Helper()
		for i := range 5 {
			var got string
			if err := conn.QueryRow(ctx, fmt.Sprint("s", i), 2).Scan(&got); err != nil || got != fmt.Sprint("two", i) {
				t.Errorf("%s: statement %d: %q, %v", when, i, got, err)
			}
		}
	}
	left := func() bool {
		return f.metric("pool_server_connections", "idle")+f.metric("pool_server_connections", "active") == 0
	}
	works("at first")
	server.SQL("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'u_scram'")
	eventually(t, "the connection to be closed", left)
	works("after a connection has been lost")
	server.Stop()
	eventually(t, "the connection to be closed", left)
	server.Restart()
	works("after a restart")
	other := f.connect()
	if _, err := other.Exec(ctx, "alter table words alter text type varchar(40)"); err != nil {
		t.Fatal(err)
	}
	works("after DDL through the pool")
	server.Kill()
	eventually(t, "the connection to be closed", left)
	standby.Promote()
	f.main().Lead(nil, standby.Addr())
	works("at another server")
}

// TestPoolNotify: who listens is told, and those who tell share.
func TestPoolNotify(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled(mode, 2), server.Addr())
			listener, ctx := f.connect(), withTimeout(t)
			if _, err := listener.Exec(ctx, "listen "+mode); err != nil {
				t.Fatal(err)
			}
			for i := range 3 {
				f.must(fmt.Sprintf("select pg_notify('%s', 'news %d')", mode, i))
				n, err := listener.WaitForNotification(ctx)
				if err != nil || n.Payload != fmt.Sprint("news ", i) {
					t.Fatalf("notification %d: %v, %v", i, n, err)
				}
			}
			if got := one[int](t, listener, "select 7"); got != 7 {
				t.Errorf("the session that listens: %d", got)
			}
		})
	}
}

// TestPoolPrepareAfterFailure: a statement that a session could not prepare, since a
// table was missing for a while, can be prepared later under the same name, as
// drivers do that make names of texts.
func TestPoolPrepareAfterFailure(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table words (n int); insert into words values (7); grant all on words to public")
	f := start(t, pooled("transaction", 1), server.Addr())
	var sessions []*bare
	for range 4 { // some of them on each loop
		sessions = append(sessions, newBare(t, f.dsn()))
	}
	prepare := func(b *bare) string {
		return strings.Join(b.run(unit{[]pgproto3.FrontendMessage{
			&pgproto3.Parse{Name: "a", Query: "select n from words"}, &pgproto3.Describe{ObjectType: 'S', Name: "a"}, &pgproto3.Sync{},
		}, 1}), " ")
	}
	for _, b := range sessions[:2] {
		if got := prepare(b); strings.Contains(got, "E ERROR") {
			t.Fatal(got)
		}
	}
	server.SQL("alter table words rename to hidden")
	for _, b := range sessions[2:] {
		if got := prepare(b); !strings.Contains(got, "42P01") {
			t.Errorf("without the table: %s", got)
		}
	}
	server.SQL("alter table hidden rename to words")
	for i, b := range sessions {
		taken := i < 2
		if got := prepare(b); taken != strings.Contains(got, "42P05") || !taken && strings.Contains(got, "E ERROR") {
			t.Errorf("session %d, with the table again: %s", i, got)
		}
	}
}

// TestPoolLongTransaction: a transaction that prepares more and more does not fill its
// server with what it has closed, and goes on to read from a portal meanwhile.
func TestPoolLongTransaction(t *testing.T) {
	t.Parallel()
	const most = 10
	cfg := pooled("transaction", 1)
	cfg.Pool.MaxStatements = most
	b := newBare(t, start(t, cfg, dbtest.StartPostgres(t).Addr()).dsn())
	query := func(sql string) string {
		return strings.Join(b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, 1}), " ")
	}
	extended := func(say ...pgproto3.FrontendMessage) string {
		return strings.Join(b.run(unit{append(say, &pgproto3.Sync{}), 1}), " ")
	}
	query("begin")
	extended(&pgproto3.Parse{Name: "all", Query: "select 'row ' || generate_series(1, 9)"}, &pgproto3.Bind{PreparedStatement: "all", DestinationPortal: "all"})
	for i := range 20 * most {
		name := fmt.Sprint("s", i)
		got := extended(&pgproto3.Parse{Name: name, Query: fmt.Sprintf("select 'value %d'", i)}, &pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{})
		if !strings.Contains(got, fmt.Sprint("value ", i)) {
			t.Fatalf("statement %d: %s", i, got)
		}
		extended(&pgproto3.Close{ObjectType: 'S', Name: name})
	}
	for i := range 2 {
		if got := extended(&pgproto3.Execute{Portal: "all", MaxRows: 1}); !strings.Contains(got, fmt.Sprint("row ", i+1)) {
			t.Errorf("the portal: %s", got)
		}
	}
	if got := query(fmt.Sprintf("select 'few' from pg_prepared_statements having count(*) <= %d", 3*most)); !strings.Contains(got, "few") {
		t.Errorf("the server has too many: %s", query("select count(*) from pg_prepared_statements"))
	}
	if got := query("commit"); !strings.Contains(got, "COMMIT") {
		t.Error(got)
	}
}
