package mysql

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// states are what a session may be in the middle of, and how a client gets there.
var states = map[string]func(*bare){
	"greeted": nil,
	"idle":    func(*bare) {},
	"in a transaction": func(c *bare) {
		c.ask(mysqlproto.ComQuery, "begin")
		c.ask(mysqlproto.ComQuery, "insert into t values ('x')")
	},
	"half of a head":           func(c *bare) { c.raw("\x07\x00") },
	"half of a command":        func(c *bare) { c.raw("\xc8\x00\x00\x00\x03select 1 /*") },
	"a packet to be continued": func(c *bare) { c.raw("\xff\xff\xff\x00\x03select 1 /*" + strings.Repeat("x", 1<<24-13)) },
	"half of long data": func(c *bare) {
		id := string(c.ask(mysqlproto.ComStmtPrepare, "insert into t values (?)")[1:5])
		c.read()
		c.raw("\x00\x00\x10\x00\x18" + id + "\x00\x00" + strings.Repeat("x", 1<<10))
	},
	"long data": func(c *bare) {
		id := string(c.ask(mysqlproto.ComStmtPrepare, "insert into t values (?)")[1:5])
		c.read()
		c.raw("\x0a\x00\x00\x00\x18" + id + "\x00\x00xyz")
	},
	"an open cursor": func(c *bare) {
		id := string(c.ask(mysqlproto.ComStmtPrepare, "select seq from seq_1_to_100000")[1:5])
		c.read()
		c.ask(mysqlproto.ComStmtExecute, id+"\x01\x01\x00\x00\x00")
	},
	"an upload": func(c *bare) {
		c.ask(mysqlproto.ComQuery, "load data local infile 'x' into table t")
		c.write([]byte("one\ntwo\n"))
	},
	"half of a packet of an upload": func(c *bare) {
		c.ask(mysqlproto.ComQuery, "load data local infile 'x' into table t")
		c.raw("\xff\x00\x00\x02one")
	},
	"rows that nobody reads": func(c *bare) {
		c.ask(mysqlproto.ComQuery, "select repeat('x', 10000) from seq_1_to_100000")
	},
	"between two results": func(c *bare) { c.ask(mysqlproto.ComQuery, "do 1; select sleep(600)") },
	"busy":                func(c *bare) { c.raw("\x12\x00\x00\x00\x03select sleep(600)") },
	"locked, and ahead of it": func(c *bare) {
		c.ask(mysqlproto.ComQuery, "lock tables t write")
		c.raw("\x12\x00\x00\x00\x03select sleep(600)\x01\x00\x00\x00\x0e")
	},
}

// raw sends bytes that need be no packet.
func (c *bare) raw(b string) {
	c.tb.Helper()
	if _, err := io.WriteString(c.conn, b); err != nil {
		c.tb.Fatal(err)
	}
}

// TestEndsInAnyState: whatever a session is in the middle of, when its client, its server or its environment goes, or the server stands still, both of its
// connections end, and nothing of it is left in the proxy or at the server.
func TestEndsInAnyState(t *testing.T) {
	t.Parallel()
	type scene struct {
		server *dbtest.MariaDB
		f      *fixture
		c      *bare
	}
	cut := func(s *scene, r filters.Retirement) {
		next := config()
		next.Login.Database = dbtest.DatabaseDev
		s.f.swap(next, r)
	}
	faults := map[string]struct {
		do      func(*scene)
		after   func(*scene) // once the client has seen its end
		unasked bool         // it is the client that goes
	}{
		"the client is gone":   {do: func(s *scene) { _ = s.c.conn.Close() }, unasked: true},
		"the client is reset":  {do: func(s *scene) { _ = s.c.conn.(*net.TCPConn).SetLinger(0); _ = s.c.conn.Close() }, unasked: true},
		"the client is silent": {do: func(s *scene) { _ = s.c.conn.(*net.TCPConn).CloseWrite() }},
		"the session is killed": {do: func(s *scene) {
			_, _ = s.server.TrySQL(dbtest.Database, "kill user "+dbtest.NativeUser)
			_ = s.c.conn.(*net.TCPConn).CloseWrite() // one that has not logged in is nobody's
		}},
		"the environment is cut":  {do: func(s *scene) { cut(s, filters.Retirement{Cut: true}) }},
		"the environment is left": {do: func(s *scene) { cut(s, filters.Retirement{Deadline: 300 * time.Millisecond}) }},
		"left at a frozen server": {do: func(s *scene) { s.server.Freeze(); cut(s, filters.Retirement{Deadline: 300 * time.Millisecond}) }, after: func(s *scene) { s.server.Thaw() }},
		"the client, a frozen server": {
			do: func(s *scene) { s.server.Freeze(); _ = s.c.conn.Close() }, unasked: true,
			after: func(s *scene) {
				eventually(s.f.tb, "the session to be forgotten", func() bool { return s.f.metric("downstream_connections") == 0 })
				s.server.Thaw()
			},
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartMariaDB(t)
			server.SQL("create table t (x text)")
			for state, enter := range states {
				t.Run(state, func(t *testing.T) {
					s := &scene{server: server, f: start(t, config(), server.Addr())}
					s.c = s.f.dial()
					s.c.caps = mysqlproto.LocalFiles
					s.c.greet()
					if enter != nil {
						s.c.respond(nil)
						s.c.read()
						enter(s.c)
					}
					fault.do(s)
					if !fault.unasked {
						if _, err := io.Copy(io.Discard, s.c.conn); errors.Is(err, os.ErrDeadlineExceeded) {
							t.Error("the client is left without an end")
						}
						_ = s.c.conn.Close()
					}
					if fault.after != nil {
						fault.after(s)
					}
					s.f.nothingLeft(server)
				})
			}
		})
	}
}

// nothingLeft waits until all sessions have ended, and with them all that was theirs.
func (f *fixture) nothingLeft(server *dbtest.MariaDB) {
	f.tb.Helper()
	left := ""
	defer func() {
		if f.tb.Failed() {
			f.tb.Log(left)
		}
	}()
	eventually(f.tb, "nothing to be left", func() bool {
		down, up := 0, 0
		for _, l := range f.Group.Loops() {
			stats, err := l.ReadStats(withTimeout(f.tb))
			if err != nil {
				f.tb.Fatal(err)
			}
			down, up = down+stats.Downstream, up+stats.Upstream
		}
		f.builder.threads.mu.Lock()
		threads := len(f.builder.threads.byID)
		f.builder.threads.mu.Unlock()
		sessions := f.metric("downstream_connections")
		left = fmt.Sprintf("connections of %d clients and to %d servers, %v sessions, %d threads, %d turns, %d sessions at the server",
			down, up, sessions, threads, f.builder.Dials.Open(), server.Sessions(dbtest.NativeUser))
		return left == "connections of 0 clients and to 0 servers, 0 sessions, 0 threads, 0 turns, 0 sessions at the server"
	})
}

// TestOwnKillWithoutRoom: the statement of a client that is gone ends as soon as there is room at the server for the proxy to say so.
func TestOwnKillWithoutRoom(t *testing.T) {
	t.Parallel()
	const room, user = 10, "plain" // administrators have room of their own
	server := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("max-connections", fmt.Sprint(room)))
	server.SQL("create user " + user + " identified by '" + dbtest.Password + "'; grant select on app.* to " + user)
	f := start(t, config(), server.Addr())
	f.world.Set("user", user)
	busy := f.login(mysqlproto.PluginNative, nil)
	busy.read()
	busy.begin("select sleep(600)")
	eventually(t, "the query to run", func() bool { return server.Running("select sleep(600)") })
	var others []*bare
	for range room - 1 {
		c := f.login(mysqlproto.PluginNative, nil)
		c.read()
		others = append(others, c)
	}
	_ = busy.conn.Close()
	eventually(t, "the server to have no room", func() bool { return strings.Contains(f.log.String(), "no room for a KILL") })
	for _, c := range others[:3] {
		_ = c.conn.Close()
	}
	eventually(t, "the statement to end", func() bool {
		n, err := server.TrySQL(dbtest.Database, "select count(*) from information_schema.processlist where info = 'select sleep(600)'")
		return err == nil && n == "0"
	})
}
