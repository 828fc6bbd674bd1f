package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// TestPlainSet: what is remembered as a setting, and what is not.
func TestPlainSet(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"SET extra_float_digits = 3":                           "extra_float_digits",
		" set session Search_Path to a, \"b c\" ; ":            "search_path",
		"set client_min_messages='warning'":                    "client_min_messages",
		"set my.Thing.part to 'x'":                             "my.thing.part",
		"set x = 1; select 2":                                  "",
		"set local x = 1":                                      "",
		"set session characteristics as transaction read only": "",
		"set session authorization joe":                        "",
		"set role = joe":                                       "",
		"set role joe":                                         "",
		"set timezone = 'UTC'":                                 "",
		"set seed to 0.5":                                      "",
		"set transaction_read_only = on":                       "",
		"set transaction_timeout = 5":                          "transaction_timeout",
		"set x":                                                "",
		"set x = /* ; */ 1":                                    "",
		"set x = $$a$$":                                        "",
		"settle = 1":                                           "",
		"update t set x = 1":                                   "",
		"/* */ set x = 1":                                      "",
	} {
		got, ok := plainSet([]byte(sql))
		if diff := cmp.Diff(want, got.name); diff != "" || ok != (want != "") {
			t.Errorf("%q: %v\n%s", sql, ok, diff)
		}
	}
}

// TestAssignments: the statements between what a server has and what a session
// wants.
func TestAssignments(t *testing.T) {
	t.Parallel()
	of := func(texts ...string) (l *assignments) {
		for _, sql := range texts {
			a, ok := plainSet([]byte(sql))
			if !ok {
				t.Fatal(sql)
			}
			l, _ = l.with(a)
		}
		return l
	}
	for _, tc := range []struct {
		want, have *assignments
		sql        string
	}{
		{nil, nil, ""},
		{of("set a = 1"), nil, "set a = 1;"},
		{nil, of("set a = 1"), "RESET a;"},
		{of("set a = 1", "set b = 2"), of("set c = 3", "set a = 1"), "RESET c;set b = 2;"},
		{of("set a = 1", "set a = 2"), of("set a = 1"), "set a = 2;"},
	} {
		if got := string(tc.want.appendChange(nil, tc.have)); got != tc.sql {
			t.Errorf("got %q, want %q", got, tc.sql)
		}
	}
}

// TestPoolSettingRefused: where a connection does not take a session's setting because
// of what another has done there, it is the connection that ends, and the session gets
// another.
func TestPoolSettingRefused(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	setter := f.connect("default_query_exec_mode=simple_protocol")
	f.connect()
	other := f.connect("default_query_exec_mode=simple_protocol") // on the same loop
	ctx := withTimeout(t)
	if _, err := setter.Exec(ctx, "set temp_buffers to 200"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		// From now on this server refuses to change the setting.
		if _, err := other.Exec(ctx, "begin; create temp table brief (n int) on commit drop; insert into brief values (1); commit"); err != nil {
			t.Fatal(err)
		}
		if got := one[string](t, setter, "show temp_buffers"); got != "1600kB" {
			t.Errorf("the session that has set it has %s", got)
		}
		if got := one[string](t, other, "show temp_buffers"); got != "8MB" {
			t.Errorf("another session has %s", got)
		}
	}
}
