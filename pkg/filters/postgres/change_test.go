package postgres

import (
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestSessionsStay: a change that does not concern a session costs none.
func TestSessionsStay(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	conn := f.connect()
	pid := one[int](t, conn, "select pg_backend_pid()")
	same := config()
	same.Limits.MaxSessions = 5
	select {
	case <-f.swap(same, filters.Retirement{Deadline: time.Minute}):
	case <-time.After(10 * time.Second):
		t.Fatal("the old filter is not left")
	}
	if got := one[int](t, conn, "select pg_backend_pid()"); got != pid {
		t.Errorf("backend %d became %d", pid, got)
	}
	other := config()
	other.Login.Database = dbtest.DatabaseDev
	<-f.swap(other, filters.Retirement{Deadline: time.Minute})
	if _, err := conn.Exec(withTimeout(t), "select 1"); codeOf(err) != "57P01" {
		t.Errorf("with another database: %v", err)
	}
	late := f.connect()
	f.main().Lead(nil)
	f.Filter().(filters.Mover).EndpointsMoved(200 * time.Millisecond)
	eventually(t, "the session to end", func() bool { return f.metric("downstream_connections") == 0 })
	if _, err := late.Exec(withTimeout(t), "select 1"); codeOf(err) != "57P01" {
		t.Errorf("with its endpoint gone: %v", err)
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
		got, err := f.psql("select name from env")
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
