package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

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
		"set session characteristics as transaction isolation level  Repeatable Read;":       "default_transaction_isolation",
		"set session characteristics as transaction isolation level serializable, read only": "",
		"set session authorization joe":  "",
		"set role = joe":                 "",
		"set role joe":                   "",
		"set timezone = 'UTC'":           "",
		"set seed to 0.5":                "",
		"set transaction_read_only = on": "",
		"set transaction_timeout = 5":    "transaction_timeout",
		"set x":                          "",
		"set x = /* ; */ 1":              "",
		"set x = $$a$$":                  "",
		"settle = 1":                     "",
		"set my.own to 'é'":              "",
		`set my.own to 'a\\b'`:           "",
		"update t set x = 1":             "",
		"/* */ set x = 1":                "",
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

// TestPoolSetExecuted: a SET by the extended protocol, as pgjdbc and Npgsql say it, is the session's wherever that goes on, and costs it no connection
// of its own; not one that came to nothing, or that was never executed.
func TestPoolSetExecuted(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	show := "select current_setting('work_mem') || ' ' || current_setting('default_transaction_isolation') || ' ' || current_setting('search_path')"
	for name, tc := range map[string]struct {
		says []string // a pipeline each; what is not to be executed ends with a question mark
		want string
		pins bool
	}{
		"nothing":                       {nil, `4MB read committed "$user", public`, false},
		"a setting":                     {[]string{"set work_mem to '5MB'"}, `5MB read committed "$user", public`, false},
		"some":                          {[]string{"set work_mem to '5MB'", "SET SESSION search_path TO 'pg_catalog'", "set work_mem to '6MB'"}, "6MB read committed pg_catalog", false},
		"isolation":                     {[]string{"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE"}, `4MB serializable "$user", public`, false},
		"isolation, and back":           {[]string{"set session characteristics as transaction isolation level serializable", "set session characteristics as transaction isolation level read  committed"}, `4MB read committed "$user", public`, false},
		"in a transaction":              {[]string{"begin", "set work_mem to '5MB'", "rollback"}, `4MB read committed "$user", public`, true},
		"that is refused":               {[]string{"set work_mem to 'much'"}, `4MB read committed "$user", public`, false},
		"before an error":               {[]string{"set work_mem to '5MB'; select 1/0"}, `4MB read committed "$user", public`, false},
		"before something else":         {[]string{"set work_mem to '5MB'; select 1"}, `5MB read committed "$user", public`, false},
		"before a transaction":          {[]string{"set work_mem to '5MB'; begin", "rollback"}, `4MB read committed "$user", public`, true},
		"twice":                         {[]string{"set work_mem to '5MB'; set work_mem to '6MB'"}, `6MB read committed "$user", public`, true},
		"before it is taken back":       {[]string{"set work_mem to '5MB'; reset work_mem"}, `4MB read committed "$user", public`, true},
		"and all taken back":            {[]string{"set work_mem to '5MB'", "reset all"}, `4MB read committed "$user", public`, false},
		"before a commit, and an error": {[]string{"set work_mem to '5MB'; commit; select 1/0"}, `5MB read committed "$user", public`, true},
		"taken back before an error":    {[]string{"set work_mem to '5MB'", "reset all; commit; select 1/0"}, `4MB read committed "$user", public`, true},
		"that is never executed":        {[]string{"set work_mem to '5MB'?"}, `4MB read committed "$user", public`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := start(t, pooled("transaction", 1), server.Addr()), withTimeout(t)
			conn := f.connect().PgConn()
			f.connect()
			other := f.connect().PgConn() // on the same loop
			for _, line := range tc.says {
				if sql, ok := strings.CutSuffix(line, "?"); ok {
					if _, err := conn.Prepare(ctx, "", sql, nil); err != nil {
						t.Fatal(err)
					}
					continue
				}
				var b pgconn.Batch
				for sql := range strings.SplitSeq(line, "; ") {
					b.ExecParams(sql, nil, nil, nil, nil)
				}
				_, _ = conn.ExecBatch(ctx, &b).ReadAll()
			}
			if got := f.metric("pool_pinned_total"); got != 0 != tc.pins {
				t.Errorf("it has kept its connection %v times", got)
			}
			if !tc.pins {
				if r := other.ExecParams(ctx, show, nil, nil, nil, nil).Read(); r.Err != nil || string(r.Rows[0][0]) != `4MB read committed "$user", public` {
					t.Errorf("another session has %s, %v", r.Rows, r.Err)
				}
			}
			if r := conn.ExecParams(ctx, show, nil, nil, nil, nil).Read(); r.Err != nil || string(r.Rows[0][0]) != tc.want {
				t.Errorf("got %s, %v, want %s", r.Rows, r.Err, tc.want)
			}
		})
	}
}

// TestPoolSetBehindClose: pgjdbc closes what it does not need any more at the beginning of what it asks for next.
func TestPoolSetBehindClose(t *testing.T) {
	t.Parallel()
	f := start(t, pooled("transaction", 1), dbtest.StartPostgres(t).Addr())
	b := newBare(t, f.dsn())
	b.run(unit{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "S_1", Query: "select 1"}, &pgproto3.Sync{}}, 1})
	for i := range 3 {
		b.run(unit{[]pgproto3.FrontendMessage{
			&pgproto3.Close{ObjectType: 'S', Name: "S_1"}, &pgproto3.Close{ObjectType: 'P', Name: "C_1"},
			&pgproto3.Parse{Query: fmt.Sprintf("set work_mem to '%dMB'", 5+i)}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{},
		}, 1})
	}
	if n := f.metric("pool_pinned_total"); n != 0 {
		t.Errorf("it has kept its connection %v times", n)
	}
}

// TestPoolSetBeside: what is executed is what counts, also where something else is the unnamed statement.
func TestPoolSetBeside(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	mine, others := &pgproto3.Parse{Query: "set work_mem to '5MB'"}, "set temp_buffers to '9MB'"
	for name, units := range map[string][]unit{
		"a named statement": {
			{[]pgproto3.FrontendMessage{&pgproto3.Parse{Name: "a", Query: others}, &pgproto3.Sync{}}, 1},
			{[]pgproto3.FrontendMessage{mine, &pgproto3.Bind{PreparedStatement: "a"}, &pgproto3.Execute{}, &pgproto3.Sync{}}, 1},
		},
		"the next one": {
			{[]pgproto3.FrontendMessage{mine, &pgproto3.Parse{Query: others}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}}, 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := start(t, pooled("transaction", 1), server.Addr())
			b := newBare(t, f.dsn())
			f.connect()
			other := f.connect() // on the same loop
			for _, u := range units {
				b.run(u)
			}
			if n := f.metric("pool_pinned_total"); n != 1 {
				t.Fatalf("it has kept its connection %v times", n)
			}
			b.front.Send(&pgproto3.Terminate{})
			if err := b.front.Flush(); err != nil {
				t.Fatal(err)
			}
			show := one[string](t, other, "select current_setting('work_mem') || ' ' || current_setting('temp_buffers')")
			if show != "4MB 8MB" {
				t.Errorf("another session has %s", show)
			}
		})
	}
}

// TestPoolResetsOfDrivers: what drivers send to make a session as new costs it no connection of its own, and takes back what it has set.
func TestPoolResetsOfDrivers(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	for name, reset := range map[string]string{
		"Npgsql":                          "DISCARD ALL",
		"Npgsql with prepared statements": "CLOSE ALL;SET SESSION AUTHORIZATION DEFAULT;RESET ALL;SELECT pg_advisory_unlock_all();DISCARD SEQUENCES;DISCARD TEMP",
		"asyncpg":                         "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := start(t, pooled("transaction", 1), server.Addr()), withTimeout(t)
			conn := f.connect().PgConn()
			f.connect()
			other := f.connect() // on the same loop
			for range 2 {
				for _, sql := range []string{"set work_mem to '5MB'", "select 1", reset} {
					if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
						t.Fatalf("%s: %v", sql, err)
					}
				}
				r := conn.ExecParams(ctx, "select current_setting('work_mem')", nil, nil, nil, nil).Read()
				if r.Err != nil || string(r.Rows[0][0]) != "4MB" {
					t.Errorf("%s, %v", r.Rows, r.Err)
				}
				if got := one[string](t, other, "select current_setting('work_mem')"); got != "4MB" {
					t.Errorf("another session has %s", got)
				}
			}
			if n := f.metric("pool_pinned_total"); n != 0 {
				t.Errorf("it has kept its connection %v times", n)
			}
		})
	}
}

// TestResetsAll: a text that takes back all settings for certain.
func TestResetsAll(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"reset all": true, "RESET  ALL ;": true, "close all;\nReset All;discard temp": true, "reset all\x00": true,
		"reset work_mem": false, "-- reset all\nreset work_mem": false, "reset work_mem /*; reset all */": false,
		"select '; reset all ;'": false, "select $$;reset all;$$": false, "reset allx": false, "": false,
	} {
		if got := resetsAll([]byte(sql)); got != want {
			t.Errorf("%q: %v", sql, got)
		}
	}
}
