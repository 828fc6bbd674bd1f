package mysql

import (
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

// TestSessionsStay: a change that does not concern a session costs none.
func TestSessionsStay(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	f := start(t, config(), server.Addr())
	conn := f.connect()
	id := query[int](t, conn, "select connection_id()")
	same := config()
	same.Limits.MaxSessions = 5
	select {
	case <-f.swap(same, filters.Retirement{Deadline: time.Minute}):
	case <-time.After(10 * time.Second):
		t.Fatal("the old filter is not left")
	}
	if got := query[int](t, conn, "select connection_id()"); got != id {
		t.Errorf("thread %d became %d", id, got)
	}
	other := config()
	other.Login.Database = dbtest.DatabaseDev
	<-f.swap(other, filters.Retirement{Deadline: time.Minute})
	if err := conn.PingContext(withTimeout(t)); err == nil {
		t.Error("with another database the session goes on")
	}
	late := f.connect()
	f.main().Lead(nil)
	f.Filter().(filters.Mover).EndpointsMoved(200 * time.Millisecond)
	eventually(t, "the session to end", func() bool { return f.metric("downstream_connections") == 0 })
	if err := late.PingContext(withTimeout(t)); err == nil {
		t.Error("with its endpoint gone the session goes on")
	}
}

// TestChangeWhileHeld: a client that is still waiting when the environment
// changes is let in where the new one leads.
func TestChangeWhileHeld(t *testing.T) {
	t.Parallel()
	f, _, _, next := twoEnvironments(t)
	f.main().Lead(nil)
	came := make(chan string, 1)
	go func() {
		got, err := f.client("select name from env")
		if err != nil {
			got = err.Error()
		}
		came <- got
	}()
	eventually(t, "the client to come", func() bool { return f.metric("downstream_connections") == 1 })
	<-f.swap(next, filters.Retirement{Deadline: time.Minute})
	if got := <-came; got != "prod" {
		t.Errorf("got %q", got)
	}
}

// TestChangeWhileGreeted: a client that has had the greeting of one environment,
// and has not answered yet, is let in where the new one leads.
func TestChangeWhileGreeted(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	c := f.dial()
	c.greet()
	done := f.swap(next, filters.Retirement{Deadline: time.Minute})
	c.respond(nil)
	if b := c.read(); b[0] != 0 {
		t.Fatalf("%q", b)
	}
	if got := c.value("select name from env"); got != "prod" {
		t.Errorf("the client is in %q", got)
	}
	<-done
	eventually(t, "dev to be left", func() bool { return sessionsAt(dev) == "0" })
}

// TestChangeToLess: a client that has agreed upon more than the new environment's
// server knows has to begin anew.
func TestChangeToLess(t *testing.T) {
	t.Parallel()
	f, _, _, next := twoEnvironments(t)
	f.world.At("prod").Lead(nil, dbtest.StartFakeMySQL(t, dbtest.CachingSHA2, nil).Addr())
	c := f.dial()
	c.greet()
	f.swap(next, filters.Retirement{Deadline: time.Minute})
	c.respond(nil)
	if e, err := mysqlproto.ParseError(c.read()); err != nil || e.Errno != mysqlproto.ErrnoServerShutdown {
		t.Errorf("the client gets %v, %v", e, err)
	}
}
