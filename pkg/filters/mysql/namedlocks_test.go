package mysql

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestNamedLocks: a session that has locks by GET_LOCK, or open handlers, is not ended before it has given them back.
func TestNamedLocks(t *testing.T) {
	t.Parallel()
	f, _, _, next := twoEnvironments(t)
	for name, tc := range map[string]struct{ take, between, release []string }{
		"one":               {[]string{"select get_lock('a', 10)"}, nil, []string{"select release_lock('a')"}},
		"not as a query":    {[]string{"/* app */ DO GET_LOCK ('a', 10)"}, nil, []string{"do release_lock('a')"}},
		"two":               {[]string{"select get_lock('a', 10)", "select get_lock('a', 10), get_lock('b', 10)"}, []string{"select release_lock('a')"}, []string{"select release_lock('a') + release_lock('b')"}},
		"all":               {[]string{"select get_lock('a', 10)", "select get_lock('b', 10)"}, nil, []string{"select release_all_locks()"}},
		"another's release": {[]string{"select get_lock('a', 10)"}, []string{"select release_lock('other')"}, []string{"select release_lock('a')"}},
		"prepared":          {[]string{"prepared: select get_lock(?, 10)"}, []string{"prepared: select release_lock(concat(?, 'x'))"}, []string{"prepared: select release_lock(?)"}},
		"handlers":          {[]string{"handler env open", "HANDLER log OPEN AS l;"}, []string{"handler env read first", "handler env close"}, []string{"handler l close"}},
	} {
		t.Run(name, func(t *testing.T) {
			f.Put(config())
			conn, drained := f.connect(), f.metric("closed_total", "drained")
			for _, text := range tc.take {
				drainRows(t, conn, text)
			}
			done := f.swap(next, filters.Retirement{Deadline: time.Minute})
			for _, text := range append(tc.between, "select 1", "select 2") {
				drainRows(t, conn, text)
			}
			if got := query[string](t, conn, "select name from env"); got != "dev" {
				t.Errorf("goes on in %q", got)
			}
			for _, text := range tc.release {
				drainRows(t, conn, text)
			}
			<-done
			if f.metric("closed_total", "drained") != drained+1 {
				t.Error("the session was cut")
			}
		})
	}
}

// TestNoNamedLocks: what looks like a lock, and is none, keeps no session.
func TestNoNamedLocks(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	theirs := start(t, config(), dev.Addr()).connect()
	drainRows(t, theirs, "select get_lock('theirs', 10)")
	for name, texts := range map[string][]string{
		"another has it":       {"select get_lock('theirs', 0)"},
		"and it is prepared":   {"prepared: select get_lock(concat('theirs', left(?, 0)), 0)"},
		"a name that is none":  {"prepared: select get_lock(nullif(?, 'a'), 0)"},
		"an error":             {"fails: select get_lock('a', 0, 0)"},
		"a handler of nothing": {"fails: handler nowhere open"},
		"all given back":       {"select get_lock('a', 10)", "select release_all_locks()"},
		"a literal":            {"select 'get_lock(' -- get_lock('a')"},
		"given back at once":   {"select get_lock('a', 10) + release_lock('a')"},
	} {
		t.Run(name, func(t *testing.T) {
			f.Put(config())
			conn, drained := f.connect(), f.metric("closed_total", "drained")
			for _, text := range texts {
				if text, fails := strings.CutPrefix(text, "fails: "); fails {
					if _, err := conn.ExecContext(withTimeout(t), text); err == nil {
						t.Error("no error")
					}
				} else {
					drainRows(t, conn, text)
				}
			}
			<-f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
			if f.metric("closed_total", "drained") != drained+1 {
				t.Error("the session was cut")
			}
		})
	}
}

// drainRows asks, and reads all that comes; what is behind "prepared: " has a parameter, and is closed behind it.
func drainRows(t *testing.T, conn *sql.Conn, text string) {
	t.Helper()
	text, prepared := strings.CutPrefix(text, "prepared: ")
	var args []any
	if prepared {
		args = append(args, "a")
	}
	rows, err := conn.QueryContext(context.WithoutCancel(withTimeout(t)), text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	for rows.Next() {
	}
	if err := rows.Close(); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func TestLockCalls(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]lockCall{
		"select get_lock('a', 1)": {1, 0, false}, "DO Release_Lock('a')": {0, 1, false}, "set @a = get_lock('a', 1), @b = get_lock ('b', 1)": {2, 0, false},
		"select release_all_locks()": {0, 0, true}, "(select get_lock(`x`, 1))": {1, 0, false}, "/* x */ select get_lock('a',1)": {1, 0, false},
		"select forget_lock('a')": {}, "select get_lock": {}, "select 'get_lock(1)'": {}, "insert into t values (get_lock('a', 1))": {},
		"create procedure p() do get_lock('a', 1)": {}, "select is_used_lock('a')": {}, "select _get_lock(1)": {}, "": {}, "_": {},
	} {
		if got := lockCallOf([]byte(text), false); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}
