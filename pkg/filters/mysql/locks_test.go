package mysql

import (
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestLockedTables: a session that has locked tables is not ended before it unlocks them.
func TestLockedTables(t *testing.T) {
	t.Parallel()
	for name, locks := range map[string]string{"tables": "/* app */ LOCK TABLES log WRITE, env READ", "all": "flush tables with read lock;"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, dev, _, next := twoEnvironments(t)
			dev.SQL("grant reload on *.* to " + dbtest.NativeUser)
			conn := f.connect()
			execute(t, conn, locks)
			done := f.swap(next, filters.Retirement{Deadline: time.Minute})
			for range 3 {
				if got := query[string](t, conn, "select name from env"); got != "dev" {
					t.Errorf("goes on in %q", got)
				}
			}
			execute(t, conn, "unlock tables")
			<-done
			if f.metric("closed_total", "drained") != 1 {
				t.Error("the session was cut")
			}
		})
	}
}

// TestUnlockedInOtherWays: a session that has given its tables back is ended like any other, however it did so.
func TestUnlockedInOtherWays(t *testing.T) {
	t.Parallel()
	for name, locks := range map[string][]string{
		"with a prepared statement": {"lock tables log write", "prepare: unlock tables"},
		"in the same command":       {"lock tables log write; select 1; unlock tables"},
		"by a transaction":          {"lock tables log write", "start transaction", "commit"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _, _, next := twoEnvironments(t)
			conn := f.connect("multiStatements=true")
			for _, text := range locks {
				text, prepared := strings.CutPrefix(text, "prepare: ")
				if !prepared {
					execute(t, conn, text)
					continue
				}
				st, err := conn.PrepareContext(withTimeout(t), text)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := st.ExecContext(withTimeout(t)); err != nil {
					t.Fatal(err)
				}
			}
			<-f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
			if f.metric("closed_total", "drained") != 1 {
				t.Error("the session was cut")
			}
		})
	}
}

func TestTableLocks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]lockSet{
		"lock tables t write": lockTables, "LOCK TABLE t READ": lockTables, "-- x\n lock/* y */tables`t` read": lockTables,
		"flush tables with read lock": lockFlush, "FLUSH LOCAL TABLES a, b WITH READ LOCK ; ": lockFlush, "flush tables t for export": lockFlush,
		"flush tables": 0, "lock instance for backup": 0, "select 'lock tables'": 0, "locks": 0, "": 0,
		"lock tables t write; delete from t; UNLOCK TABLES": 0, "lock tables t write; delete from t": lockTables,
	} {
		var l locks
		if l.note([]byte(text), false, true); l.held != want {
			t.Errorf("%q: %b, want %b", text, l.held, want)
		}
	}
	for text, want := range map[string]lockSet{
		"unlock tables": 0, "UNLOCK TABLE;": 0, "begin": lockFlush, "start transaction": lockFlush, "start slave": lockTables | lockFlush,
		"select 1": lockTables | lockFlush, "begin work": lockFlush, "unlock instance": lockTables | lockFlush, "commit": lockTables | lockFlush,
	} {
		l := locks{held: lockTables | lockFlush}
		if l.note([]byte(text), false, true); l.held != want {
			t.Errorf("after %q: %b, want %b", text, l.held, want)
		}
	}
	var l locks
	l.note([]byte("lock tables t write"), false, true)
	if l.failed(); l.held != 0 {
		t.Error("held, although the server has refused")
	}
}
