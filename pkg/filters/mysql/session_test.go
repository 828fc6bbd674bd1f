package mysql

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestLogin: an app that knows nothing gets a session of the environment's user,
// in its database, whatever way the server asks for the password.
func TestLogin(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	for _, user := range []string{dbtest.NativeUser, dbtest.Ed25519User, dbtest.EmptyUser} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			f := start(t, config(), server.Addr())
			f.world.Set("user", user)
			if user == dbtest.EmptyUser {
				f.world.Set("password", "")
			}
			if got := f.must("select current_user(), database()"); got != user+"@%\t"+dbtest.Database {
				t.Errorf("the mariadb client gets %q", got)
			}
			if got := query[string](t, f.connect(), "select concat(current_user(), ' ', database())"); got != user+"@% "+dbtest.Database {
				t.Errorf("go-sql-driver gets %q", got)
			}
		})
	}
}

// TestProtocol: what a session may consist of comes through as it is.
func TestProtocol(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	f := start(t, config(), server.Addr())
	conn := f.connect("multiStatements=true", "interpolateParams=false")
	ctx := withTimeout(t)
	if got := query[string](t, conn, "select concat(?, database())", "in "); got != "in "+dbtest.Database {
		t.Errorf("a parameter: %q", got)
	}
	execute(t, conn, "create table list (n int, text longtext)")
	st, err := conn.PrepareContext(ctx, "insert into list values (?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		if _, err := st.ExecContext(ctx, i, strings.Repeat("x", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	rows, err := conn.QueryContext(ctx, "select n, text from list order by n; select count(*), '' from list; insert into list values (-1, ''); select 7, 'end'")
	if err != nil {
		t.Fatal(err)
	}
	var results []string
	for more := true; more; more = rows.NextResultSet() {
		n, count, text := 0, 0, ""
		for rows.Next() {
			if err := rows.Scan(&n, &text); err != nil {
				t.Fatal(err)
			}
			count++
		}
		results = append(results, fmt.Sprint(count, " ", n))
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(results, ", "); got != "300 299, 1 300, 1 7" && got != "300 299, 1 300, 0 0, 1 7" {
		t.Errorf("several results: %s", got)
	}
	const big = 40 << 20 // more than a packet holds
	if n := query[int](t, conn, "select length(?)", strings.Repeat("y", big)); n != big {
		t.Errorf("a large parameter: %d", n)
	}
	if s := query[string](t, conn, "select repeat('z', 41943040)"); len(s) != big {
		t.Errorf("a large value: %d", len(s))
	}
	if _, err := conn.ExecContext(ctx, "selec 1"); dbtest.Code(err) != "1064" {
		t.Errorf("an error: %v", err)
	}
	if err := conn.PingContext(context.Background()); err != nil {
		t.Error(err)
	}
	if got := f.must("show status like 'Compression'", "--compress"); got != "Compression\tOFF" { // which the filter does not offer
		t.Errorf("with compression asked for: %q", got)
	}
	if f.metric("queries_total") < 300 || f.metric("errors_total", "1064", "42") != 1 || f.metric("query_duration_seconds") == 0 {
		t.Error("queries and errors are not counted")
	}
}
