package postgres

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPoolExecuteInSQL: EXECUTE in SQL knows what the session has prepared by the protocol, as at a server of its own, and knows nobody else's.
func TestPoolExecuteInSQL(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	run := func(ctx context.Context, c *pgconn.PgConn, sql string) (got string) {
		results, err := c.Exec(ctx, sql).ReadAll()
		if err != nil {
			return dbtest.Code(err)
		}
		for _, r := range results {
			for _, row := range r.Rows {
				got += string(row[0]) + " "
			}
		}
		return got
	}
	extended := func(ctx context.Context, c *pgconn.PgConn, sql string) string {
		r := c.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
		if r.Err != nil {
			return dbtest.Code(r.Err)
		}
		return string(r.Rows[0][0])
	}
	type step struct{ how, text, want string }
	for name, steps := range map[string][]step{
		"a query":           {{"prepare", "a", "select 1"}, {"query", "execute a", "1 "}, {"query", "execute a;", "1 "}},
		"another name":      {{"prepare", "S_1", "select 2"}, {"query", `EXECUTE "S_1"`, "2 "}, {"query", "execute s_1", "26000"}},
		"odd names":         {{"prepare", `an "odd" one`, "select 3"}, {"query", `execute "an ""odd"" one"`, "3 "}},
		"with parameters":   {{"prepare", "p", "select $1::int + 1"}, {"query", "/* four */ execute p(3)", "4 "}, {"query", "execute p", "42601"}},
		"explained":         {{"prepare", "a", "select 5"}, {"query", "explain (costs off) execute a", "Result "}},
		"executed":          {{"prepare", "a", "select 6"}, {"extended", "execute a", "6"}, {"extended", "execute a", "6"}},
		"prepared":          {{"prepare", "a", "select 7"}, {"prepare", "b", "execute a"}, {"named", "b", "7"}, {"query", "execute a", "7 "}},
		"nobody else's":     {{"query", "execute a", "26000"}, {"extended", "execute a", "26000"}},
		"deallocated":       {{"prepare", "a", "select 8"}, {"query", "execute a", "8 "}, {"query", "deallocate a", ""}, {"query", "execute a", "26000"}},
		"another meaning":   {{"prepare", "a", "select 9"}, {"query", "execute a", "9 "}, {"query", "deallocate a", ""}, {"prepare", "a", "select 10"}, {"query", "execute a", "10 "}},
		"all deallocated":   {{"prepare", "a", "select 11"}, {"query", "execute a", "11 "}, {"query", "deallocate all", ""}, {"query", "execute a", "26000"}},
		"discarded":         {{"prepare", "a", "select 12"}, {"query", "execute a", "12 "}, {"query", "discard all", ""}, {"query", "execute a", "26000"}},
		"in a transaction":  {{"prepare", "a", "select 13"}, {"query", "begin", ""}, {"query", "execute a", "13 "}, {"query", "rollback", ""}, {"query", "execute a", "13 "}},
		"in a failed one":   {{"prepare", "a", "select 14"}, {"query", "begin; select 1/0", "22012"}, {"query", "execute a", "25P02"}, {"query", "rollback", ""}, {"query", "execute a", "14 "}},
		"of several":        {{"prepare", "a", "select 15"}, {"prepare", "b", "select 16"}, {"query", "execute a; execute b; execute a", "15 16 15 "}},
		"prepared in SQL":   {{"prepare", "a", "select 17"}, {"query", "prepare b as select 18", ""}, {"query", "execute b; execute a", "18 17 "}},
		"by the protocol":   {{"prepare", "a", "select 19"}, {"query", "execute a", "19 "}, {"named", "a", "19"}},
		"of functions":      {{"prepare", "function", "select 20"}, {"query", "select 'execute function'", "execute function "}},
		"behind a comment":  {{"prepare", "a", "select 24"}, {"query", "execute /* c, /* d */ */ -- e\n a", "24 "}},
		"made in SQL then":  {{"prepare", "a", "select 25"}, {"query", "execute a", "25 "}, {"query", "deallocate a", ""}, {"query", "prepare a as select 26", ""}, {"query", "execute a", "26 "}},
		"made in SQL, too":  {{"prepare", "a", "select 27"}, {"query", "prepare a as select 28", "42P05"}, {"query", "prepare /* b */ b as select 29; execute b", "29 "}, {"query", "execute a", "27 "}},
		"closed":            {{"prepare", "a", "select 30"}, {"query", "execute a", "30 "}, {"close", "a", ""}, {"named", "a", "26000"}, {"query", "deallocate a", "26000"}, {"query", "execute a", "26000"}},
		"closed twice":      {{"prepare", "a", "select 31"}, {"query", "execute a", "31 "}, {"close", "a", ""}, {"close", "a", ""}, {"prepare", "a", "select 31"}, {"query", "execute a", "31 "}},
		"not kept":          {{"prepare", "a", "select 32"}, {"query", "execute a", "32 "}, {"close", "a", ""}, {"query", "select count(*) from pg_prepared_statements where name = 'a'", "0 "}},
		"taken back":        {{"prepare", "a", "select 22"}, {"prepare", "b", "select 23"}, {"query", "create temp table x (n int)", ""}, {"prepare", "c", "select n from x"}, {"query", "drop table x", ""}, {"query", "execute c", "42P01"}, {"query", "execute a", "22 "}},
		"that is not there": {{"prepare", "a", "select 21"}, {"query", "execute b", "26000"}, {"query", "execute a", "21 "}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := start(t, pooled("transaction", 2), server.Addr()), withTimeout(t)
			c := f.connect().PgConn()
			for _, s := range steps {
				got := ""
				switch s.how {
				case "prepare":
					if _, err := c.Prepare(ctx, s.text, s.want, nil); err != nil {
						t.Fatal(err)
					}
					continue
				case "query":
					got = run(ctx, c, s.text)
				case "extended":
					got = extended(ctx, c, s.text)
				case "named":
					r := c.ExecPrepared(ctx, s.text, nil, nil, nil).Read()
					if got = dbtest.Code(r.Err); r.Err == nil {
						got = string(r.Rows[0][0])
					}
				case "close":
					if err := c.Deallocate(ctx, s.text); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Errorf("%s %q (-want +got):\n%s", s.how, s.text, diff)
				}
			}
		})
	}
}

// TestPoolExecuteRefused: where a statement cannot be prepared any more, the query that executes it gets that error, once.
func TestPoolExecuteRefused(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 2), dbtest.StartPostgres(t).Addr())
	b := newBare(t, f.dsn())
	query := func(sql string) []string {
		return b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, 1})
	}
	gone := "E ERROR 42P01 relation \"gone\" does not exist 15"
	query("create table gone (n int)")
	b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "a", Query: "select n from gone"}, &pgproto3.Sync{}}, 1})
	query("drop table gone")
	for _, tc := range []struct {
		sql  string
		want []string
	}{
		{"execute a", []string{gone, "Z I"}},
		{"select 1/0; execute a", []string{"E ERROR 22012 division by zero 0", "Z I"}},
		{"begin", []string{`"C\x00\x00\x00\nBEGIN\x00"`, "Z T"}},
		{"execute a", []string{gone, "Z E"}},
		{"execute a", []string{"E ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block 0", "Z E"}},
		{"rollback", []string{`"C\x00\x00\x00\rROLLBACK\x00"`, "Z I"}},
	} {
		if diff := cmp.Diff(tc.want, query(tc.sql)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.sql, diff)
		}
	}
}

// TestPoolExecutedSkipped: what an error has the server skip is skipped also where it would have ended a name that SQL's EXECUTE has made known there.
func TestPoolExecutedSkipped(t *testing.T) {
	t.Parallel()
	b := newBare(t, start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr()).dsn())
	say := func(m ...pgproto3.FrontendMessage) []string { return b.run(unit{m, 1}) }
	say(&pgproto3.Parse{Name: "a", Query: "select 1"}, &pgproto3.Sync{})
	say(&pgproto3.Query{String: "execute a"})
	say(&pgproto3.Close{ObjectType: 'S', Name: "a"}, &pgproto3.Sync{})
	say(&pgproto3.Parse{Query: "selec"}, &pgproto3.Describe{ObjectType: 'S', Name: "a"}, &pgproto3.Sync{})
	for _, m := range []pgproto3.FrontendMessage{&pgproto3.Describe{ObjectType: 'S', Name: "a"}, &pgproto3.Bind{PreparedStatement: "a"}} {
		if diff := cmp.Diff([]string{"E ERROR 26000 prepared statement \"a\" does not exist 0", "Z I"}, say(m, &pgproto3.Sync{})); diff != "" {
			t.Error(diff)
		}
	}
}
