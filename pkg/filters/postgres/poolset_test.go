package postgres

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
