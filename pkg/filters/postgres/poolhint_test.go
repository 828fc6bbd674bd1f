package postgres

import (
	"strings"
	"testing"
)

// TestHints: which texts leave state at a server.
func TestHints(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]hint{
		"select 1":                                             0,
		"update t set x = 1":                                   0,
		"update t set x = 1; set local y to 2":                 0,
		"update t set x = 1; set y to 2":                       hintSet,
		"-- update t\nset y to 2":                              hintSet,
		"/* update t */ set y to 2":                            hintSet,
		"select '; update t'; set y to 2":                      hintSet,
		"set local x = 1":                                      0,
		"set transaction_isolation to serializable":            0,
		"set session transaction_read_only = on":               0,
		"set seed to 0.5":                                      hintSet,
		"SET TimeZone TO 'UTC'":                                0,
		"set search_path to a":                                 hintPath | hintMeaning,
		"set local search_path to a":                           hintMeaning,
		"SET LOCAL Schema 'a'":                                 hintMeaning,
		"set local role joe":                                   hintMeaning,
		"set local session authorization joe":                  hintMeaning,
		"set local statement_timeout to 1":                     0,
		"set role joe":                                         hintSet | hintMeaning,
		"set session authorization joe":                        hintSet | hintMeaning,
		"set session search_path to a":                         hintPath | hintMeaning,
		"set session characteristics as transaction read only": hintSet | hintMeaning,
		"select set_config('search_path', 'a', true)":          hintMeaning,
		"select set_config($1, $2, true)":                      hintMeaning,
		"select set_config('app.tenant', $1, true)":            0,
		"create temp table x (n int)":                          hintTemp,
		"create temporary view x as select 1":                  hintTemp,
		"create temp table x (n int) on commit drop":           hintMeaning,
		"drop table if exists x; create temp table x (n int)":  hintTemp,
		"create temp table x (n int) on commit drop; create temp table y (n int)": hintTemp,
		"create temp table x as select true as t":                                 hintTemp,
		"create /* mine */ temp table x (n int)":                                  hintTemp,
		"create -- mine\n\ttemporary table x (n int)":                             hintTemp,
		"create temp table x (n int) -- on commit drop":                           hintTemp,
		"/* app */ create temp table x (n int) on commit drop":                    hintMeaning,
		"create table /* mine */ pg_temp.x (n int)":                               hintTemp,
		"declare k cursor with /* it */ hold for select 1":                        hintHold,
		"-- app\nselect temp from weather":                                        0,
		"select temp from weather":                                                0,
		"create temp table x (n int); commit; drop table y":                       hintTemp,
		"select 'on commit drop'; create temp table x (n int)":                    hintTemp,
		"create table if not exists pg_temp.x (n int)":                            hintTemp,
		"select * from pg_temp.x":                                                 0,
		"declare k cursor with hold for select 1":                                 hintHold,
		"select pg_try_advisory_lock(1)":                                          hintAdvisory,
		"select pg_advisory_xact_lock(1)":                                         0,
		"select set_config('a', 'b', true)":                                       0,
		"select set_config('a', '),', TRUE ), 1":                                  0,
		"select set_config('a', 'true', false)":                                   hintConfig,
		"select set_config('a', 'b', false) where true":                           hintConfig,
		"select set_config('a', lower('b'), true), set_config('c', 'd', false)":   hintConfig,
		"select set_config('a', 'b', $1)":                                         hintConfig,
		"select '" + strings.Repeat("x", maxHintText):                             hintCut,
	} {
		if got := hintsOf([]byte(sql + "\x00")); got != want {
			t.Errorf("%.60q: %b, want %b", sql, got, want)
		}
	}
}

// TestHintsBehind: what leaves state is seen also where pieces of a long text meet.
func TestHintsBehind(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]hint{
		"select 1 from t where temp < 3 and household":   0,
		"; select Pg_Advisory_Lock(7); select 1":         hintAdvisory,
		"; select pg_advisory_xact_lock(7); select 1":    0,
		"; select set_config('a', 'b', false); select 1": hintConfig,
		"; create  temp table x as select 1; select 1":   hintTemp,
		"; select 1 into Temporary x; select 1":          hintTemp,
	} {
		if got := hintsBehind([]byte(sql)); got != want {
			t.Errorf("%q: %b, want %b", sql, got, want)
		}
		for at := range sql {
			c := &poolClient{unnamed: &unnamed{}, seam: &seam{}, left: 1}
			c.lookOn([]byte(sql[:at/2]))
			c.lookOn([]byte(sql[at/2 : at]))
			c.lookOn([]byte(sql[at:]))
			if got := c.unnamed.hints; got&want != want {
				t.Errorf("%q, and %q: %b, want %b", sql[:at], sql[at:], got, want)
			}
		}
	}
}

// TestDeallocated: the name in DEALLOCATE, as it stands alone.
func TestDeallocated(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"deallocate _pg3_0": "_pg3_0", " DEALLOCATE PREPARE Abc ; ": "abc", `deallocate "Abc"`: "Abc", "deallocate all": "all",
		"deallocate a; select 1": "", "select 1": "", "-- deallocate a": "", "deallocate": "",
	} {
		if got := string(deallocated([]byte(sql))); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
}
