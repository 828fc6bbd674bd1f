package postgres

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/pgproto"
)

// TestPoolGoodbyeInTheMiddle: a client that says goodbye where only it could bring
// what is under way to its end leaves nothing behind, as without a pool.
func TestPoolGoodbyeInTheMiddle(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create table t (n int); grant all on t to public")
	query := func(sql string) []byte { return pgproto.AppendQuery(nil, sql) }
	for name, say := range map[string][]byte{
		"COPY":               query("copy t from stdin"),
		"COPY after a query": append(query("select 1"), query("copy t from stdin")...),
		"no Sync": slices.Concat(pgproto.AppendMessage(nil, pgproto.TypeParse, []byte("\x00insert into t values (1)\x00\x00\x00")),
			pgproto.AppendMessage(nil, pgproto.TypeBind, make([]byte, 8)), pgproto.AppendMessage(nil, pgproto.TypeExecute, make([]byte, 5))),
	} {
		for _, mode := range []string{"session", "transaction"} {
			t.Run(name+", "+mode, func(t *testing.T) {
				t.Parallel()
				f := start(t, pooled(mode, 1), server.Addr())
				k := f.connect().PgConn().Conn()
				if _, err := k.Write(append(bytes.Clone(say), pgproto.AppendTerminate(nil)...)); err != nil {
					t.Fatal(err)
				}
				if got := f.must("select count(*) from t"); got != "0" {
					t.Errorf("%s rows", got)
				}
			})
		}
	}
}

// TestPoolGoodbyeAtOnce: what a client has asked for that says goodbye without waiting for it is done, and leaves nothing behind for others.
func TestPoolGoodbyeAtOnce(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for sql, tc := range map[string]struct{ look, want string }{
		"set work_mem to '5MB'":          {"show work_mem", "4MB"},
		"create temp table mine (n int)": {"select (to_regclass('mine') is null)::text", "true"},
		"listen news":                    {"select count(*)::text from pg_listening_channels()", "0"},
		"select pg_advisory_lock(7)":     {"select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "0"},
	} {
		t.Run(sql, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 1), server.Addr())
			k := f.connect().PgConn().Conn()
			f.connect()
			other := f.connect() // on the same loop
			if _, err := k.Write(append(pgproto.AppendQuery(nil, sql), pgproto.AppendTerminate(nil)...)); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the goodbye to be heard", func() bool { return f.metric("downstream_connections") == 2 })
			if got := one[string](t, other, tc.look); got != tc.want {
				t.Errorf("another session has %s", got)
			}
		})
	}
}

// TestPoolGoodbyeBehindLongText: what an unnamed statement too long to be kept has made is not left to others.
func TestPoolGoodbyeBehindLongText(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	long := "select '" + strings.Repeat("x", 2*maxKeptUnnamed) + "' is null, "
	for call, tc := range map[string]struct{ look, want string }{
		"pg_advisory_lock(7)":                  {"select count(*)::text from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "0"},
		"set_config('my.own', 'y', false)":     {"select coalesce(nullif(current_setting('my.own', true), ''), 'none')", "none"},
		"1 as n into temp mine":                {"select (to_regclass('mine') is null)::text", "true"},
		"1 as n into temporary mine from once": {"select (to_regclass('mine') is null)::text", "true"},
	} {
		t.Run(call, func(t *testing.T) {
			t.Parallel()
			f, ctx := start(t, pooled("transaction", 1), server.Addr()), withTimeout(t)
			conn := f.connect().PgConn()
			f.connect()
			other := f.connect() // on the same loop
			if r := conn.ExecParams(ctx, long+strings.Replace(call, "once", "(values (1)) as once", 1), nil, nil, nil, nil).Read(); r.Err != nil {
				t.Fatal(r.Err)
			}
			if err := conn.Close(ctx); err != nil {
				t.Fatal(err)
			}
			if got := one[string](t, other, tc.look); got != tc.want {
				t.Errorf("another session has %s", got)
			}
		})
	}
}
