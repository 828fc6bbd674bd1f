package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

type messages = []pgproto3.FrontendMessage

// executed is a text that is prepared and executed without a name.
func executed(sql string) messages {
	return messages{&pgproto3.Parse{Query: sql}, &pgproto3.Bind{}, &pgproto3.Execute{}}
}

// leave says goodbye.
func (b *bare) leave() {
	b.tb.Helper()
	b.front.Send(&pgproto3.Terminate{})
	if err := b.front.Flush(); err != nil {
		b.tb.Fatal(err)
	}
}

// TestPoolStateBehindDiscard: state that a session makes behind DISCARD ALL, without waiting for that, as Npgsql sends it, is the session's alone.
func TestPoolStateBehindDiscard(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	query := func(sql string) pgproto3.FrontendMessage { return &pgproto3.Query{String: sql} }
	for sql, tc := range map[string]struct{ look, want string }{
		"set work_mem to '5MB'":          {"select current_setting('work_mem')", "4MB"},
		"select pg_advisory_lock(7)":     {"select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "0"},
		"create temp table mine (n int)": {"select (to_regclass('mine') is null)::text", "true"},
	} {
		for how, u := range map[string]unit{
			"simple":       {messages{query("discard all"), query(sql)}, 2},
			"extended":     {append(append(messages{query("discard all")}, executed(sql)...), &pgproto3.Sync{}), 2},
			"one pipeline": {append(append(executed("discard all"), executed(sql)...), &pgproto3.Sync{}), 1},
		} {
			t.Run(sql+", "+how, func(t *testing.T) {
				t.Parallel()
				f := start(t, pooled("transaction", 1), server.Addr())
				b := newBare(t, f.dsn())
				f.connect()
				other := f.connect() // on the same loop
				b.run(u)
				b.leave()
				if got := one[string](t, other, tc.look); got != tc.want {
					t.Errorf("another session has %s", got)
				}
			})
		}
	}
}

// TestPoolSetBehindFlush: what a pipeline has set before is not forgotten where the server has answered that already.
func TestPoolSetBehindFlush(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	b := newBare(t, f.dsn())
	f.connect()
	other := f.connect() // on the same loop
	for _, m := range append(executed("set work_mem to '5MB'"), &pgproto3.Flush{}) {
		b.front.Send(m)
	}
	if err := b.front.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := b.front.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.(*pgproto3.CommandComplete); ok {
			break
		}
	}
	b.run(unit{append(executed("set temp_buffers to '9MB'"), &pgproto3.Sync{}), 1})
	b.leave()
	if got := one[string](t, other, "select current_setting('work_mem') || ' ' || current_setting('temp_buffers')"); got != "4MB 8MB" {
		t.Errorf("another session has %s", got)
	}
}

// TestPoolSetInItsWords: what a session has set keeps its value, whatever the settings of others by which servers read texts.
func TestPoolSetInItsWords(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for name, tc := range map[string]struct {
		mine, others []string
		want         string
	}{
		"encoding": {[]string{"set my.own to 'é'"}, []string{"set client_encoding to 'latin1'"}, "é"},
		"strings":  {[]string{"set standard_conforming_strings to off", `set my.own to 'a\\b'`}, []string{"select 1"}, `a\b`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := start(t, pooled("transaction", 2), server.Addr()), withTimeout(t)
			conn := f.connect().PgConn()
			f.connect()
			other := f.connect().PgConn() // on the same loop
			for range 2 {
				for _, sql := range tc.mine {
					if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
						t.Fatal(err)
					}
				}
				for _, sql := range append(tc.others, "select 1") {
					if _, err := other.Exec(ctx, sql).ReadAll(); err != nil {
						t.Fatal(err)
					}
				}
				r, err := conn.Exec(ctx, "select current_setting('my.own')").ReadAll()
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, string(r[0].Rows[0][0])); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// TestPoolCursorsChangeNothing: the end of a cursor has no statement be prepared anew.
func TestPoolCursorsChangeNothing(t *testing.T) {
	t.Parallel()
	f, ctx := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr()), withTimeout(t)
	c := f.connect().PgConn()
	for range 3 {
		if _, err := c.Prepare(ctx, "a", "select 1", nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Deallocate(ctx, "a"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Exec(ctx, "begin; declare k cursor for select 1; fetch k; close k; commit").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	if n := f.metric("pool_statements_total", "prepared"); n != 1 {
		t.Errorf("prepared %v times", n)
	}
}
