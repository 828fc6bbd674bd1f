package postgres

import (
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestReadOnly: what access: ReadOnly keeps an app from, and what it does not: who asks for a transaction that writes gets one, unless the
// environment's user has no right to write.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	const setup = `create table t (n int); create sequence s; grant usage on sequence s to public;
		create function writes() returns int language sql as 'insert into t values (1) returning n'`
	tests := map[string]struct {
		sql  string
		want string // the SQLSTATE where the user could write; "": it does
	}{
		"a write":                       {"insert into t values (1)", "25006"},
		"a write in a query":            {"with x as (insert into t values (1) returning 1) select * from x", "25006"},
		"several statements":            {"select 1; insert into t values (1)", "25006"},
		"in a transaction":              {"begin; insert into t values (1); commit", "25006"},
		"a table":                       {"create table x ()", "25006"},
		"a table of a query":            {"select 1 into x", "25006"},
		"COPY":                          {"copy t from stdin", "25006"},
		"COPY from a program":           {"copy t from program 'echo 1'", "42501"}, // a right of few
		"COPY to a program":             {"copy t to program 'true'", "42501"},
		"a function":                    {"select writes()", "25006"},
		"a block":                       {"do 'begin insert into t values (1); end'", "25006"},
		"a sequence":                    {"select nextval('s')", "25006"},
		"the start-up's setting, again": {"set default_transaction_read_only to off|reset default_transaction_read_only|insert into t values (1)", "25006"},
		"everything reset":              {"set default_transaction_read_only to off|discard all|insert into t values (1)", "25006"},
		"asked for: the transaction":    {"begin; set transaction read write; insert into t values (1); commit", ""},
		"asked for: its beginning":      {"start transaction read write; insert into t values (1); commit", ""},
		"asked for: the session":        {"set session characteristics as transaction read write|insert into t values (1)", ""},
		"asked for: the setting":        {"set default_transaction_read_only to off|insert into t values (1)", ""},
		"asked for: set_config":         {"select set_config('default_transaction_read_only', 'off', false)|insert into t values (1)", ""},
	}
	for mode, change := range modes() {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartPostgres(t)
			server.SQL(setup)
			cfg := config()
			cfg.ReadOnly = true
			change(cfg)
			may, mayNot := start(t, cfg, server.Addr()), start(t, cfg, server.Addr())
			mayNot.world.Set("user", dbtest.ReadOnlyUser)
			for name, tt := range tests {
				if got := attempt(t, may, tt.sql); got != tt.want {
					t.Errorf("%s: got %q, want %q", name, got, tt.want)
				}
				if wrote := server.SQL("delete from t returning 1") != ""; wrote != (tt.want == "") {
					t.Errorf("%s: written %v", name, wrote)
				}
				if got := attempt(t, mayNot, tt.sql); got != "25006" && got != "42501" {
					t.Errorf("%s, by a user who may not: got %q", name, got)
				}
			}
			if got := server.SQL("select count(*) from t"); got != "0" {
				t.Errorf("who may not write has written %s rows", got)
			}
		})
	}
}

// attempt runs what is divided by | in a session, and gives the SQLSTATE of what fails.
func attempt(t *testing.T, f *fixture, sql string) string {
	t.Helper()
	conn := f.connect()
	defer func() { _ = conn.Close(withTimeout(t)) }()
	for text := range strings.SplitSeq(sql, "|") {
		if _, err := conn.PgConn().Exec(withTimeout(t), text).ReadAll(); err != nil {
			return dbtest.Code(err)
		}
	}
	return ""
}
