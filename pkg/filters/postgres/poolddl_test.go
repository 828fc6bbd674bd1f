package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// inAndOut prepares two statements about table t as drivers do, and returns the type of the one's parameter and the other's columns.
func inAndOut(t *testing.T, conn *pgx.Conn) string {
	t.Helper()
	c, ctx := conn.PgConn(), withTimeout(t)
	in, err := c.Prepare(ctx, "in", "insert into t (a) values ($1)", nil)
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Prepare(ctx, "out", "select * from t", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(in.ParamOIDs[0])
	for _, f := range out.Fields {
		got += " " + f.Name
	}
	for _, name := range []string{"in", "out"} {
		if err := c.Deallocate(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

// TestPoolTableOfTransaction: what is prepared in a transaction that makes a table another, or hides it, is not what others get: neither behind the
// transaction, however that ends, nor meanwhile.
func TestPoolTableOfTransaction(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	const before, changed = "23 a", "25 a b" // int4, text
	i := 0
	for name, tc := range map[string]struct{ change, end, after string }{
		"hidden":                          {"create temp table t (a text, b int) on commit drop", "commit", before},
		"hidden by what is selected":      {"create temporary table t on commit drop as select ''::text as a, 1 as b", "commit", before},
		"changed, and changed back":       {"alter table t alter a type text, add b int", "rollback", before},
		"changed in a transaction failed": {"alter table t alter a type text, add b int", "select 1/0; rollback", before},
		"changed for good":                {"alter table t alter a type text, add b int", "commit", changed},
		"made anew in vain":               {"drop table t; create table t (a text, b int)", "rollback", before},
	} {
		i++
		schema := fmt.Sprintf("s%d", i)
		server.SQL("create schema " + schema + " authorization u_scram; create table " + schema + ".t (a int); alter table " + schema + ".t owner to u_scram")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 3), server.Addr())
			path, ctx := "search_path="+schema, withTimeout(t)
			conn, other := f.connect(path), f.connect(path)
			for range 2 {
				if got := inAndOut(t, conn); got != before {
					t.Fatalf("before: %s", got)
				}
			}
			for _, sql := range []string{"begin", tc.change} {
				if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
					t.Fatal(err)
				}
			}
			if got := inAndOut(t, conn); got != changed {
				t.Errorf("in the transaction: %s", got)
			}
			if strings.HasPrefix(name, "hidden") { // else it is locked
				if got := inAndOut(t, other); got != before {
					t.Errorf("meanwhile: %s", got)
				}
			}
			for sql := range strings.SplitSeq(tc.end, "; ") {
				if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil && !strings.Contains(sql, "/") {
					t.Fatal(err)
				}
			}
			for n := range 3 { // one at each server
				c := f.connect(path)
				if _, err := c.Exec(ctx, "begin"); err != nil {
					t.Fatal(err)
				}
				if got := inAndOut(t, c); got != tc.after {
					t.Errorf("session %d behind it: %s, want %s", n, got, tc.after)
				}
				if _, err := c.Exec(ctx, "savepoint x"); err != nil {
					t.Fatal(err)
				}
				value := any(n)
				if tc.after == changed {
					value = "text"
				}
				if _, err := c.Exec(ctx, "insert into t (a) values ($1)", value); err != nil {
					t.Errorf("session %d: %v", n, err)
				}
				if _, err := c.Exec(ctx, "rollback to x"); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestPoolOldTypes: a session's statement has the types that its driver was told, though the table has others by now and sessions of today prepare the
// same text: what it sends would be taken for something else.
func TestPoolOldTypes(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for i, at := range []string{"at the server that has it", "at another"} {
		table := fmt.Sprintf("old%d", i)
		server.SQL("create table " + table + " (a int8); alter table " + table + " owner to u_scram")
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			f, ctx := start(t, pooled("transaction", 8), server.Addr()), withTimeout(t)
			sessions := func() (all []*pgconn.PgConn) { // on each loop
				for range 4 {
					all = append(all, f.connect().PgConn())
				}
				return all
			}
			run := func(c *pgconn.PgConn, sql string) {
				t.Helper()
				if _, err := c.Exec(ctx, sql).ReadAll(); err != nil {
					t.Fatal(err)
				}
			}
			prepare := func(c *pgconn.PgConn) {
				t.Helper()
				if _, err := c.Prepare(ctx, "in", "insert into "+table+" values ($1)", nil); err != nil {
					t.Fatal(err)
				}
			}
			insert := func(c *pgconn.PgConn, n byte) {
				t.Helper()
				if r := c.ExecPrepared(ctx, "in", [][]byte{{0, 0, 0, 0, 0, 0, 0, n}}, []int16{1}, nil).Read(); r.Err != nil {
					t.Error(r.Err)
				}
			}
			old := sessions()
			for _, c := range old {
				prepare(c)
				insert(c, 7)
			}
			run(f.connect().PgConn(), "alter table "+table+" alter a type float8")
			for _, c := range sessions() {
				if i == 1 {
					run(c, "begin") // and takes a server
				} else {
					prepare(c)
				}
			}
			for _, c := range old {
				insert(c, 8)
			}
			if got := server.SQL("select string_agg(a::text, ' ' order by a) from " + table); got != "7 7 7 7 8 8 8 8" {
				t.Errorf("got %s", got)
			}
		})
	}
}

// TestPoolTypesOfAnother: a session's statement has the types that its own driver was told, not those of a session for which the same text speaks of
// something else, since it has begun with another search_path.
func TestPoolTypesOfAnother(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	server.SQL("create schema n; create schema x; create table n.t (a int); create table x.t (a text); " +
		"grant usage on schema n, x to public; grant all on n.t, x.t to public")
	f, ctx := start(t, pooled("transaction", 8), server.Addr()), withTimeout(t)
	sessions := func(path string) (all []*pgconn.PgConn) {
		for range 2 { // on each loop
			all = append(all, f.connect("search_path="+path).PgConn())
		}
		return all
	}
	prepared := func(path string) []*pgconn.PgConn {
		all := sessions(path)
		for _, c := range all {
			if _, err := c.Prepare(ctx, "in", "insert into t values ($1)", nil); err != nil {
				t.Fatal(err)
			}
		}
		return all
	}
	prepared("n")
	texts := prepared("x")
	for _, c := range sessions("x") { // and takes the server that has it
		if _, err := c.Exec(ctx, "begin").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range texts {
		if r := c.ExecPrepared(ctx, "in", [][]byte{[]byte("word")}, nil, nil).Read(); r.Err != nil {
			t.Error(r.Err)
		}
	}
}

// TestPoolTypesOfUsers: a type that users have made has another number at another server of the same data, and a statement goes on there.
func TestPoolTypesOfUsers(t *testing.T) {
	t.Parallel()
	servers := []*dbtest.Postgres{dbtest.StartPostgres(t), dbtest.StartPostgres(t)}
	servers[0].SQL("create type another as enum ('x')")
	for _, s := range servers {
		s.SQL("create type mood as enum ('calm'); create table feelings (mood mood, n int8); grant all on feelings to public")
	}
	f, ctx := start(t, pooled("transaction", 4), servers[0].Addr(), servers[1].Addr()), withTimeout(t)
	c := f.connect().PgConn()
	f.connect()
	holder := f.connect().PgConn() // on the same loop
	if _, err := c.Prepare(ctx, "in", "insert into feelings values ($1, $2)", nil); err != nil {
		t.Fatal(err)
	}
	insert := func() {
		t.Helper()
		if r := c.ExecPrepared(ctx, "in", [][]byte{[]byte("calm"), {0, 0, 0, 0, 0, 0, 0, 7}}, []int16{0, 1}, nil).Read(); r.Err != nil {
			t.Error(r.Err)
		}
	}
	insert()
	if _, err := holder.Exec(ctx, "begin").ReadAll(); err != nil { // and takes that server
		t.Fatal(err)
	}
	insert()
	for i, s := range servers {
		if got := s.SQL("select n from feelings"); got != "7" {
			t.Errorf("server %d has %q", i, got)
		}
	}
}
