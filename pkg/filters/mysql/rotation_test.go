package mysql

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// refetching has another password once it is asked to get it anew.
type refetching struct {
	*filtertest.World
	next  string
	asked atomic.Int64
}

func (r *refetching) Refetch(name string) {
	if name == "password" {
		r.asked.Add(1)
		r.Set(name, r.next)
	}
}

// rotate changes the password at a server, of which the proxy does not know.
func rotate(server *dbtest.MariaDB, password string) {
	server.SQL("alter user " + dbtest.NativeUser + "@'%' identified by '" + password + "'")
}

// denied is how many logins a server has refused.
func denied(server *dbtest.Server) (n int) {
	_, _ = fmt.Sscan(server.SQL("select variable_value from information_schema.global_status where variable_name = 'access_denied_errors'"), &n)
	return n
}

// beginChange asks for a session as new.
func (c *bare) beginChange() {
	c.tb.Helper()
	change := mysqlproto.ChangeUser{User: "app", Database: "placeholder", Charset: 45, AuthPlugin: mysqlproto.PluginNative}
	payload, err := change.AppendTo(nil, bareCaps)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.seq = 0
	c.write(payload)
}

// begin sends a query, whose answer is for later.
func (c *bare) begin(query string) {
	c.tb.Helper()
	c.seq = 0
	c.write(append([]byte{byte(mysqlproto.ComQuery)}, query...))
}

// TestChangeUserRotation: COM_CHANGE_USER meets a password that has been changed at the server first. The app does not notice: it has a session
// as new, and the number that it knows it by kills it.
func TestChangeUserRotation(t *testing.T) {
	t.Parallel()
	for _, refetched := range []bool{true, false} {
		t.Run(fmt.Sprintf("refetched %v", refetched), func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartMariaDB(t)
			f := start(t, config(), server.Addr())
			source := &refetching{World: f.world, next: "rotated"}
			if refetched {
				f.PutWith(config(), source)
			}
			c := f.login(mysqlproto.PluginNative, nil)
			c.read()
			c.value("select @mark := 5")
			before := denied(&server.Server)
			rotate(server, "rotated")
			c.beginChange()
			if !refetched { // the new one comes while the app waits
				eventually(t, "the old password to be refused", func() bool { return denied(&server.Server) != before })
				f.world.Set("password", "rotated")
			}
			if b := c.read(); b[0] != 0 {
				t.Fatalf("%q", b)
			}
			want := dbtest.NativeUser + "@% " + dbtest.Database + " none"
			if got := c.value("select concat(current_user(), ' ', database(), ' ', ifnull(@mark, 'none'))"); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			if got := source.asked.Load(); refetched && got != 1 {
				t.Errorf("the secret was got %d times", got)
			}
			c.begin("select sleep(600)")
			eventually(t, "the query to run", func() bool { return server.Running("select sleep(600)") })
			execute(t, f.connect(), fmt.Sprint("kill query ", c.greeting.ThreadID))
			if row := readSleep(c); row != "1317" {
				t.Errorf("the interrupted sleep: %q", row)
			}
			c.beginChange() // on the new connection
			if b := c.read(); b[0] != 0 {
				t.Errorf("%q", b)
			}
		})
	}
}

// TestChangeUserDenied: credentials that stay wrong end the session with the server's error.
func TestChangeUserDenied(t *testing.T) {
	t.Parallel()
	f := startTuned(t, func(b *Builder) { b.otherLimit = 300 * time.Millisecond }, config(), dbtest.StartMariaDB(t).Addr())
	c := f.login(mysqlproto.PluginNative, nil)
	c.read()
	f.world.Set("password", "other")
	c.beginChange()
	if b := c.read(); b[0] != 0xff || !strings.Contains(string(b), "Access denied") {
		t.Errorf("%q", b)
	}
	eventually(t, "the session to end", func() bool { return f.metric("downstream_connections") == 0 })
}

// TestChangeUserAway: what may become of a session that waits for other credentials: its client goes, its environment does, or its server is gone
// when they come.
func TestChangeUserAway(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	f, g := start(t, config(), server.Addr()), start(t, config(), server.Addr())
	var waiting []*bare
	for _, at := range []*fixture{f, f, g} {
		c := at.login(mysqlproto.PluginNative, nil)
		c.read()
		waiting = append(waiting, c)
	}
	rotate(server, "rotated")
	before := denied(&server.Server)
	for _, c := range waiting {
		c.beginChange()
	}
	eventually(t, "the old password to be refused", func() bool { return denied(&server.Server) == before+3 })
	_ = waiting[0].conn.Close()
	eventually(t, "the session to be forgotten", func() bool { return f.metric("downstream_connections") == 1 })
	g.swap(nil, filters.Retirement{Cut: true})
	if b := waiting[2].read(); b[0] != 0xff || !strings.Contains(string(b), "the environment of this session is no more") {
		t.Errorf("the environment is gone: %q", b)
	}
	server.Kill()
	f.world.Set("password", "rotated")
	if b := waiting[1].read(); b[0] != 0xff || !strings.Contains(string(b), "does not log in anew") {
		t.Errorf("the server is gone: %q", b)
	}
	for _, at := range []*fixture{f, g} {
		eventually(t, "all to be forgotten", func() bool { return at.metric("downstream_connections") == 0 })
	}
}

// TestKillRotation: the password of an environment that the listener has left is changed there while a statement runs. KILL reaches it nevertheless,
// that of another client and the proxy's own for a client that is gone.
func TestKillRotation(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	next.Login.Password.Name = "password-prod"
	f.world.Set("password-prod", dbtest.Password)
	var victims [2]*bare
	for i := range victims {
		victims[i] = f.login(mysqlproto.PluginNative, nil)
		victims[i].read()
		victims[i].begin(fmt.Sprint("select sleep(60", i, ")"))
		eventually(t, "the query to run", func() bool { return dev.Running(fmt.Sprint("select sleep(60", i, ")")) })
	}
	before := denied(&dev.Server)
	rotate(dev, "rotated")
	f.swap(next, filters.Retirement{Deadline: time.Minute})
	far, killed := f.connect(), make(chan error, 1)
	go func() {
		_, err := far.ExecContext(withTimeout(t), fmt.Sprint("kill query ", victims[0].greeting.ThreadID))
		killed <- err
	}()
	eventually(t, "the old password to be refused", func() bool { return denied(&dev.Server) != before })
	f.world.Set("password", "rotated")
	if err := <-killed; err != nil {
		t.Error(err)
	}
	if row := readSleep(victims[0]); row != "1317" {
		t.Errorf("the interrupted sleep: %q", row)
	}
	_ = victims[1].conn.Close()
	eventually(t, "the proxy's own KILL", func() bool { return !dev.Running("select sleep(601)") })
}
