package postgres

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPoolPgbenchOfOneThread: many clients of one thread, which prepares statements one by one
// while transactions of others are open, get along with few connections.
func TestPoolPgbenchOfOneThread(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 2), server.Addr())
	run := func(args ...string) string {
		out, err := exec.CommandContext(withTimeout(t), server.Program("pgbench"), append(args, f.dsn())...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return string(out)
	}
	run("-i", "-q")
	for _, mode := range []string{"simple", "extended", "prepared"} {
		if out := run("-n", "-M", mode, "-c", "8", "-j", "1", "-t", "5"); !strings.Contains(out, "actually processed: 40/40") {
			t.Errorf("%s: %s", mode, out)
		}
	}
}

// TestPoolParseAhead: what a server has taken before is prepared without a
// connection, until a table is changed.
func TestPoolParseAhead(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 1), server.Addr())
	f.must("create table t (n int)")
	first := []*bare{newBare(t, f.dsn()), newBare(t, f.dsn())} // one on each loop, which have statements of their own
	second, holder := newBare(t, f.dsn()), newBare(t, f.dsn())
	parse := func(name string) unit {
		return unit{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: name, Query: "select n from t"}, &pgproto3.Sync{}}, 1}
	}
	execute := func(name string) unit {
		return unit{[]pgproto3.FrontendMessage{&pgproto3.Bind{PreparedStatement: name}, &pgproto3.Execute{}, &pgproto3.Sync{}}, 1}
	}
	query := func(sql string) unit { return unit{[]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, 1} }
	done := []string{`"1\x00\x00\x00\x04"`, "Z I"}
	for _, b := range first {
		if diff := cmp.Diff(done, b.run(parse("a"))); diff != "" {
			t.Fatal(diff)
		}
	}
	holder.run(query("begin"))
	if diff := cmp.Diff(done, second.run(parse("b"))); diff != "" {
		t.Fatal(diff)
	}
	holder.run(query("drop table t"))
	holder.run(query("commit"))
	for i, b := range first {
		b.run(query(fmt.Sprintf("create table other%d ()", i))) // what is changed on one loop is not known on another
	}
	if got := strings.Join(second.run(parse("c")), " "); !strings.Contains(got, "42P01") {
		t.Errorf("after the table is gone: %s", got)
	}
	if got := strings.Join(second.run(execute("b")), " "); !strings.Contains(got, "42P01") {
		t.Errorf("after the table is gone: %s", got)
	}
}
