package mysql

import (
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
)

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
	eventually(t, "dev to be left", func() bool { return dev.Sessions(dbtest.NativeUser) == 0 })
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
