package postgres

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPoolStateStays: what a session has made at its server is there in its next
// transaction, and no other session meets it, in the ways that apps write such
// things.
func TestPoolStateStays(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for name, tc := range map[string]struct{ make, look, want, others string }{
		"a temporary table made anew": {
			"drop table if exists mine; create temp table mine as select 1 as n", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary table of a longer transaction": {
			"begin; create temp table mine (n int); insert into mine values (1); select true; commit", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"two temporary tables": {
			"begin; create temp table brief (n int) on commit drop; create temp table mine as select 1 as n; commit", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary table before another is dropped": {
			"begin; create temp table mine as select 1 as n; commit; drop table if exists other", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary table behind a comment": {
			"create /* mine */ temp table mine as select 1 as n", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary table that a comment would have dropped": {
			"create temp table mine (n int default 1) -- on commit drop\n; insert into mine default values", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary table by its schema": {
			"create table pg_temp.mine as select 1 as n", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary function": {
			"create function pg_temp.mine() returns text language sql as $$ select '1' $$", "select pg_temp.mine()", "1",
			"select coalesce(to_regproc('pg_temp.mine')::text, 'none')",
		},
		"a temporary table at the end of a long text": {
			"select '" + strings.Repeat("x", 2*maxHintText) + "' is null; create temp table mine (n int default 1); insert into mine default values", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary view at the end of a long text": {
			"select '" + strings.Repeat("x", 2*maxHintText) + "' is null; create temp view mine as select 1 as n", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a temporary table of rows at the end of a long text": {
			"select '" + strings.Repeat("x", 40*maxHintText) + "' is null; create temp table mine as select 1 as n", "select n::text from mine", "1",
			"select coalesce(to_regclass('pg_temp.mine')::text, 'none')",
		},
		"a setting in a block": {
			"do $$ begin set my.own = 'y'; end $$", "select current_setting('my.own')", "y",
			"select coalesce(nullif(current_setting('my.own', true), ''), 'none')",
		},
		"a setting in a branch of a block": {
			"do $$ begin if true then SET my.own = 'y'; end if; end $$", "select current_setting('my.own')", "y",
			"select coalesce(nullif(current_setting('my.own', true), ''), 'none')",
		},
		"a lock before others are given back": {
			"select pg_advisory_lock(77); select pg_advisory_unlock(78)",
			"select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "1",
			"select case count(*) when 0 then 'none' else 'held' end from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
		},
		"a lock at the end of a long text": {
			"select '" + strings.Repeat("x", 40*maxHintText) + "' is null; select pg_advisory_lock(77)",
			"select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "1",
			"select case count(*) when 0 then 'none' else 'held' end from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
		},
		"a setting at the end of a long text": {
			"select '" + strings.Repeat("x", 2*maxHintText) + "' is null, set_config('my.own', 'y', false)", "select current_setting('my.own')", "y",
			"select coalesce(nullif(current_setting('my.own', true), ''), 'none')",
		},
		"a setting that is true": {
			"select set_config('my.own', 'true', false)", "select current_setting('my.own')", "true",
			"select coalesce(nullif(current_setting('my.own', true), ''), 'none')",
		},
		"two settings": {
			"select set_config('my.other', 'x', true), set_config('my.own', 'y', false)", "select current_setting('my.own')", "y",
			"select coalesce(nullif(current_setting('my.own', true), ''), 'none')",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 2), server.Addr())
			maker, other := f.connect(), f.connect()
			ctx := withTimeout(t)
			if _, err := maker.PgConn().Exec(ctx, tc.make).ReadAll(); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if got := one[string](t, other, tc.others); got != "none" {
					t.Errorf("another session sees %q", got)
				}
				if got := one[string](t, maker, tc.look); got != tc.want {
					t.Errorf("got %q", got)
				}
			}
			if err := maker.Close(ctx); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the connection to be made as new", func() bool { return f.metric("pool_resets_total") == 1 })
			if got := one[string](t, other, tc.others); got != "none" {
				t.Errorf("another session sees %q afterwards", got)
			}
		})
	}
}

// TestPoolSetLocalLater: a session does not keep its connection for SET LOCAL behind an
// UPDATE, which has the same word in it.
func TestPoolSetLocalLater(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table t (n int); grant all on t to public")
	for name, mode := range map[string]string{"simple": "simple_protocol", "unnamed": "exec", "named": "cache_statement"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 2), server.Addr())
			conn := f.connect("default_query_exec_mode=" + mode)
			for _, sql := range []string{"begin", "update t set n = 1", "set local extra_float_digits to 0", "commit"} {
				if _, err := conn.Exec(withTimeout(t), sql); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.metric("pool_server_connections", "active"); got != 0 {
				t.Errorf("%v connections are kept", got)
			}
			for _, sql := range []string{"begin", "update t set n = 1", "set extra_float_digits to 0", "select 1", "commit"} {
				if _, err := conn.Exec(withTimeout(t), sql); err != nil {
					t.Fatal(err)
				}
			}
			if got := f.metric("pool_server_connections", "active"); got != 1 {
				t.Errorf("after SET: %v connections are kept", got)
			}
		})
	}
}

// TestPoolSetInTwoSteps: SET is seen also where its unnamed statement is executed later
// than it was prepared.
func TestPoolSetInTwoSteps(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for name, between := range map[string]string{"alone": "", "in a transaction": "begin"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 2), server.Addr())
			b := newBare(t, f.dsn())
			if between != "" {
				b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: between}}, 1})
			}
			b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Parse{Query: "set extra_float_digits to 0"}, &pgproto3.Sync{}}, 1})
			b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}}, 1})
			if between != "" {
				b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: "commit"}}, 1})
			}
			if got := f.metric("pool_server_connections", "active"); got != 1 {
				t.Errorf("%v connections are kept", got)
			}
		})
	}
}

// TestPoolNames: a session that gives up its settings does not get the name of the
// app that its connection was begun for.
func TestPoolNames(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	const show = "select current_setting('application_name')"
	first, second := f.connect("application_name=first"), f.connect("application_name=second")
	if got := one[string](t, first, show); got != "first" {
		t.Errorf("got %q", got)
	}
	if got := one[string](t, second, show); got != "second" {
		t.Errorf("got %q", got)
	}
	if _, err := second.Exec(withTimeout(t), "discard all"); err != nil {
		t.Fatal(err)
	}
	if got := one[string](t, second, show, pgx.QueryExecModeSimpleProtocol); got != "" {
		t.Errorf("after DISCARD ALL: %q", got)
	}
	if got := one[string](t, first, show); got != "first" {
		t.Errorf("got %q", got)
	}
}

// TestPoolSettingsOfSome: sessions that have said SET, and sessions that have not,
// take turns at one connection.
func TestPoolSettingsOfSome(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	with := []*pgx.Conn{f.connect(), f.connect()} // one on each loop
	without := []*pgx.Conn{f.connect(), f.connect()}
	const show = "select current_setting('statement_timeout')"
	for range 3 {
		for i := range with {
			if _, err := with[i].Exec(withTimeout(t), "set statement_timeout = '11s'"); err != nil {
				t.Fatal(err)
			}
			if got := one[string](t, without[i], show); got != "0" {
				t.Errorf("a session that has set nothing: %q", got)
			}
			if got := one[string](t, with[i], show); got != "11s" {
				t.Errorf("the one that has: %q", got)
			}
		}
	}
	if n := f.metric("pool_pinned_total"); n != 0 {
		t.Errorf("%v sessions keep their connection", n)
	}
}
