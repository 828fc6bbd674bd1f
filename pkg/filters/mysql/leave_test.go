package mysql

import (
	"strconv"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// twoEnvironments starts a filter that leads to dev, and makes prod.
func twoEnvironments(t *testing.T) (f *fixture, dev, prod *dbtest.MariaDB, next *resource.MySQLFilter) {
	t.Helper()
	dev, prod = dbtest.StartMariaDB(t), dbtest.StartMariaDB(t)
	f = start(t, config())
	filtertest.TwoEnvironments(f.world, &dev.Server, &prod.Server)
	next = config()
	next.Cluster = "prod"
	return f, dev, prod, next
}

// TestErrorInTransaction: a session in a transaction in which a statement has
// failed is not ended before the transaction is.
func TestErrorInTransaction(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	conn := f.connect()
	execute(t, conn, "begin")
	execute(t, conn, "insert into log values (1, 1, 1)")
	if _, err := conn.ExecContext(withTimeout(t), "selec 1"); dbtest.Code(err) != "1064" {
		t.Fatal(err)
	}
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	if got := query[string](t, conn, "select name from env"); got != "dev" {
		t.Errorf("the transaction goes on in %q", got)
	}
	execute(t, conn, "commit")
	<-done
	if got := dev.SQL("select count(*) from log"); got != "1" {
		t.Errorf("dev has %s rows", got)
	}
}

// TestDrainOfAlwaysAhead: a client that never waits for an answer comes to its end
// too, and each of its commands is either answered or was never begun.
func TestDrainOfAlwaysAhead(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	go func() { // until the connection ends
		insert := mysqlproto.AppendPacket(nil, 0, append([]byte{byte(mysqlproto.ComQuery)}, "insert into log values (1, 1, 1)"...))
		for {
			if _, err := c.conn.Write(insert); err != nil {
				return
			}
		}
	}()
	answers := 0
	var done <-chan struct{}
	for {
		c.seq = 1
		b := c.read()
		if b[0] == 0xff {
			if e, err := mysqlproto.ParseError(b); err != nil || e.Errno != mysqlproto.ErrnoServerShutdown {
				t.Errorf("the client gets %v, %v", e, err)
			}
			break
		}
		if answers++; answers == 100 {
			done = f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
		}
	}
	<-done
	if got := dev.SQL("select count(*) from log"); got != strconv.Itoa(answers) {
		t.Errorf("%s commands were begun, %d answered", got, answers)
	}
	if f.metric("closed_total", "drained") != 1 {
		t.Error("the session was cut")
	}
}

// TestCursorIsNotTorn: a session whose client fetches rows bit by bit is not ended before the last of them, or before the client gives the rest up,
// whatever becomes of another cursor meanwhile.
func TestCursorIsNotTorn(t *testing.T) {
	t.Parallel()
	for name, gaveUp := range map[string]bool{"to the last row": false, "given up": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _, _, next := twoEnvironments(t)
			c := f.login(mysqlproto.PluginNative, nil)
			c.read()
			open := func(sql string) (id string) {
				id = string(c.ask(mysqlproto.ComStmtPrepare, sql)[1:5])
				c.read() // the column
				c.ask(mysqlproto.ComStmtExecute, id+"\x01\x01\x00\x00\x00")
				c.read()
				if b := c.read(); b[0] != 0xfe {
					t.Fatalf("no cursor: %q", b)
				}
				return id
			}
			id, other := open("select 1 as n union select 2 union select 3"), open("select 4")
			for b := c.ask(mysqlproto.ComStmtFetch, other+"\x09\x00\x00\x00"); b[0] != 0xfe; b = c.read() { //nolint:revive // to its end
			}
			c.seq = 0
			c.write([]byte(string([]byte{byte(mysqlproto.ComStmtClose)}) + other))
			fetch := func() (rows int) {
				for b := c.ask(mysqlproto.ComStmtFetch, id+"\x01\x00\x00\x00"); b[0] != 0xfe; b = c.read() {
					if b[0] == 0xff {
						t.Fatalf("%q", b)
					}
					rows++
				}
				return rows
			}
			fetch()
			done := f.swap(next, filters.Retirement{Deadline: time.Minute})
			if gaveUp {
				if n := fetch(); n != 1 {
					t.Errorf("%d rows", n)
				}
				c.seq = 0
				c.write([]byte(string([]byte{byte(mysqlproto.ComStmtClose)}) + id)) // has no answer
			} else {
				rows := 0
				for n := fetch(); n > 0; n = fetch() {
					rows += n
				}
				if rows != 2 {
					t.Errorf("%d more rows", rows)
				}
			}
			c.seq = 1
			if e, err := mysqlproto.ParseError(c.read()); err != nil || e.Errno != mysqlproto.ErrnoServerShutdown {
				t.Errorf("the client gets %v, %v", e, err)
			}
			<-done
		})
	}
}
