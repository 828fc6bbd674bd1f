package mysql

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestReadOnly: what access: ReadOnly keeps an app from, and what it does not: who asks for a transaction that writes gets one, unless the
// environment's user has no right to write.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	server.SQL("create table t (n int); create procedure writes() insert into t values (1)")
	tests := []struct {
		name, sql string
		want      string // the error's number where the user could write; "": it does
	}{
		{"a write", "insert into t values (1)", "1792"},
		{"another", "replace into t values (1)", "1792"},
		{"several statements", "select 1; insert into t values (1)", "1792"},
		{"in a transaction", "begin; insert into t values (1); commit", "1792"},
		{"in a comment", "/*! insert into t values (1) */", "1792"},
		{"in a comment of MariaDB's", "/*M!100000 insert into t values (1) */", "1792"},
		{"a table", "create table x (n int)", "1792"},
		{"the end of a table", "truncate table t", "1792"},
		{"a procedure", "call writes()", "1792"},
		{"a text that is prepared", "execute immediate 'insert into t values (1)'", "1792"},
		{"LOAD DATA", "load data local infile '/etc/hostname' into table t", "1792"},
		{"asked for: the session", "set session transaction read write; insert into t values (1)", ""},
		{"asked for: the transaction", "set transaction read write; insert into t values (1)", ""},
		{"asked for: its beginning", "start transaction read write; insert into t values (1); commit", ""},
		{"asked for: the setting", "set tx_read_only = 0; insert into t values (1)", ""},
		{"asked for: in a comment", "/*!50000 set tx_read_only = 0 */; insert into t values (1)", ""},
	}
	cfg := config()
	cfg.ReadOnly = true
	may, mayNot := start(t, cfg, server.Addr()), start(t, cfg, server.Addr())
	mayNot.world.Set("user", dbtest.ReadOnlyUser)
	attempt := func(f *fixture, sql string) string {
		conn := f.connect("multiStatements=true", "allowAllFiles=true")
		defer conn.Close()
		if _, err := conn.ExecContext(withTimeout(t), sql); err != nil {
			return dbtest.Code(err)
		}
		return ""
	}
	for _, tt := range tests {
		if got := attempt(may, tt.sql); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if wrote := server.SQL("delete from t returning 1") != ""; wrote != (tt.want == "") {
			t.Errorf("%s: written %v", tt.name, wrote)
		}
		if got := attempt(mayNot, tt.sql); got == "" || !strings.Contains("1792 1142 1044 1370", got) { // no right to
			t.Errorf("%s, by a user who may not: got %q", tt.name, got)
		}
	}
	if got := server.SQL("select count(*) from t"); got != "0" {
		t.Errorf("who may not write has written %s rows", got)
	}
}
