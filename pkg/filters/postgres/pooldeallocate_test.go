package postgres

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPoolDeallocateExecuted: DEALLOCATE by the extended protocol, as psycopg sends it,
// ends the session's statement, wherever that has been prepared, and nobody else's.
func TestPoolDeallocateExecuted(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	ctx := withTimeout(t)
	one, other := f.connect().PgConn(), f.connect().PgConn()
	prepare := func(c *pgconn.PgConn, name string) {
		t.Helper()
		if _, err := c.Prepare(ctx, name, "select 7", nil); err != nil {
			t.Fatal(err)
		}
	}
	run := func(c *pgconn.PgConn, name string) string {
		t.Helper()
		r := c.ExecPrepared(ctx, name, nil, nil, nil).Read()
		if r.Err != nil {
			return dbtest.Code(r.Err)
		}
		return string(r.Rows[0][0])
	}
	deallocate := func(c *pgconn.PgConn, sql string) string {
		t.Helper()
		r := c.ExecParams(ctx, sql, nil, nil, nil, nil).Read()
		if r.Err != nil {
			return dbtest.Code(r.Err)
		}
		return r.CommandTag.String()
	}
	prepare(one, "_pg3_0")
	prepare(other, "mine")
	for _, step := range []struct{ what, got, want string }{
		{"deallocate", deallocate(one, "DEALLOCATE _pg3_0"), "DEALLOCATE"},
		{"what is deallocated", run(one, "_pg3_0"), "26000"},
		{"a second time", deallocate(one, "DEALLOCATE _pg3_0"), "26000"},
		{"another session's of the same text", run(other, "mine"), "7"},
		{"in its words", deallocate(other, `deallocate prepare "mine" ;`), "DEALLOCATE"},
		{"all, of which there are none", deallocate(other, "deallocate all"), "DEALLOCATE ALL"},
	} {
		if step.got != step.want {
			t.Errorf("%s: %s, want %s", step.what, step.got, step.want)
		}
	}
	prepare(one, "_pg3_0")
	if got := run(one, "_pg3_0"); got != "7" {
		t.Errorf("prepared again: %s", got)
	}
	if _, err := one.Exec(ctx, "begin; select 1/0").ReadAll(); dbtest.Code(err) != "22012" {
		t.Fatal(err)
	}
	if got := deallocate(one, "DEALLOCATE _pg3_0"); got != "25P02" {
		t.Errorf("in a transaction that has failed: %s", got)
	}
	if _, err := one.Exec(ctx, "rollback").ReadAll(); err != nil {
		t.Fatal(err)
	}
	if got := run(one, "_pg3_0"); got != "7" {
		t.Errorf("which took nothing: %s", got)
	}
	if got := deallocate(one, "DEALLOCATE _pg3_0"); got != "DEALLOCATE" {
		t.Errorf("after it: %s", got)
	}
}

// TestPoolDeallocatePipelined: within a pipeline, and taken back where an error before
// it has the server skip it.
func TestPoolDeallocatePipelined(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	ctx := withTimeout(t)
	c := f.connect().PgConn()
	for _, name := range []string{"a", "b"} {
		if _, err := c.Prepare(ctx, name, "select '"+name+"'", nil); err != nil {
			t.Fatal(err)
		}
	}
	batch := func(steps ...string) (string, error) {
		b := &pgconn.Batch{}
		for _, s := range steps {
			if len(s) == 1 {
				b.ExecPrepared(s, nil, nil, nil)
			} else {
				b.ExecParams(s, nil, nil, nil, nil)
			}
		}
		results, err := c.ExecBatch(ctx, b).ReadAll()
		got := ""
		for _, r := range results {
			for _, row := range r.Rows {
				got += string(row[0])
			}
		}
		return got, err
	}
	if got, err := batch("a", "select 1/0", "deallocate a", "b"); got != "a" || dbtest.Code(err) != "22012" {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := batch("a", "deallocate a", "b", "select 'x'"); got != "abx" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := batch("b", "a"); got != "b" || dbtest.Code(err) != "26000" {
		t.Errorf("%s, %v", got, err)
	}
}

// TestPoolDeallocateAhead: as a query that is sent ahead, behind others that are not
// answered yet.
func TestPoolDeallocateAhead(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	b := newBare(t, f.dsn())
	b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "a", Query: "select 7"}, &pgproto3.Sync{}}, 1})
	query := func(sql string) pgproto3.FrontendMessage { return &pgproto3.Query{String: sql} }
	got := strings.Join(b.run(unit{[]pgproto3.FrontendMessage{query("begin"), query("deallocate a"), query("deallocate a"), query("rollback")}, 4}), "\n")
	want := strings.Join([]string{
		`"C\x00\x00\x00\nBEGIN\x00"`, "Z T", `"C\x00\x00\x00\x0fDEALLOCATE\x00"`, "Z T",
		`E ERROR 26000 prepared statement "a" does not exist 0`, "Z E", `"C\x00\x00\x00\rROLLBACK\x00"`, "Z I",
	}, "\n")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPoolDeallocateInPieces: a query that is answered without a server takes none,
// though it comes in pieces.
func TestPoolDeallocateInPieces(t *testing.T) {
	t.Parallel()
	s := newStage(t, pooled("transaction", 1))
	s.begin(hello(t))
	s.script("c > P a\x00select 7\x00\x00\nc > S")
	s.servers[0].TakeOutput()
	s.script("s > 1\ns > Z I\nc < 1\nc < Z I")
	s.pieces = 7
	s.script("c > Q deallocate a\nc < C DEALLOCATE\nc < Z I")
	s.join(hello(t))
	s.script("c > Q select 2\ns < Q select 2")
}

// TestPoolForgottenTwice: a statement that is prepared under two names behind what ends all statements, before that is answered, is one statement.
func TestPoolForgottenTwice(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, end := range []string{"discard all", "deallocate all"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			cfg := pooled("transaction", 1)
			cfg.Pool.MaxStatements = 1
			b := newBare(t, start(t, cfg, server.Addr()).dsn())
			parse := func(name, sql string) pgproto3.FrontendMessage { return &pgproto3.Parse{Name: name, Query: sql} }
			b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: "listen news"}}, 1}) // what the session prepares from now on is its alone
			b.run(unit{[]pgproto3.FrontendMessage{parse("", end), &pgproto3.Bind{}, &pgproto3.Execute{}, parse("a", "select 7"), parse("b", "select 7"), &pgproto3.Sync{}}, 1})
			for _, sql := range []string{"select 8", "select 9"} {
				b.run(unit{[]pgproto3.FrontendMessage{parse(sql, sql), &pgproto3.Sync{}}, 1})
			}
			for _, name := range []string{"a", "b", "select 8"} {
				got := strings.Join(b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{}}, 1}), "\n")
				if want := map[bool]string{true: "8", false: "7"}[name == "select 8"]; !strings.Contains(got, `\x01`+want) {
					t.Errorf("%s: %s", name, got)
				}
			}
		})
	}
}

// TestPoolPreparedBehindDeallocateAll: a name that is taken anew behind what ends all statements, without waiting for that, is the new one's, and
// what others prepare is not in its way.
func TestPoolPreparedBehindDeallocateAll(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, end := range []string{"discard all", "deallocate all"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 1), server.Addr())
			b := newBare(t, f.dsn())
			f.connect()
			other := f.connect().PgConn() // on the same loop
			say := func(ready int, m ...pgproto3.FrontendMessage) string {
				return strings.Join(b.run(unit{m, ready}), "\n")
			}
			say(1, &pgproto3.Parse{Name: "a", Query: "select 1"}, &pgproto3.Sync{})
			say(2, &pgproto3.Query{String: end}, &pgproto3.Parse{Name: "a", Query: "select 2"}, &pgproto3.Sync{})
			if got := say(1, &pgproto3.Bind{PreparedStatement: "a"}, &pgproto3.Execute{}, &pgproto3.Sync{}); !strings.Contains(got, `\x012`) {
				t.Errorf("the name is another's: %s", got)
			}
			if _, err := other.Prepare(withTimeout(t), "b", "select 1", nil); err != nil {
				t.Errorf("another session: %v", err)
			}
		})
	}
}

// TestPoolCloseSkippedBehindDeallocateAll: where an error has the server skip Close, a statement that was ended before stays so.
func TestPoolCloseSkippedBehindDeallocateAll(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for _, end := range []string{"discard all", "deallocate all"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			b := newBare(t, start(t, pooled("transaction", 1), server.Addr()).dsn())
			say := func(m ...pgproto3.FrontendMessage) string { return strings.Join(b.run(unit{m, 1}), "\n") }
			say(&pgproto3.Parse{Name: "a", Query: "select 1"}, &pgproto3.Sync{})
			say(append(executed(end), &pgproto3.Parse{Query: "selec"}, &pgproto3.Close{ObjectType: 'S', Name: "a"}, &pgproto3.Sync{})...)
			if got := say(&pgproto3.Parse{Name: "a", Query: "select 2"}, &pgproto3.Sync{}); strings.Contains(got, "E ") {
				t.Errorf("the name is taken: %s", got)
			}
		})
	}
}
