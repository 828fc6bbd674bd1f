package filtertest

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// testSessionsStay: a change that does not concern a session costs none.
func testSessionsStay(t *testing.T, p *Protocol) {
	f := p.start(t, p.Server(t).Addr())
	conn := f.Connect()
	id := value(t, conn, p.Statements.Session)
	awaitLeft(t, f.Swap(p.Config(func(c *resource.DatabaseFilter) { c.Limits.MaxSessions = 5 }), filters.Retirement{Deadline: time.Minute}))
	if got := value(t, conn, p.Statements.Session); got != id {
		t.Errorf("session %s became %s", id, got)
	}
	other := p.Config(func(c *resource.DatabaseFilter) { c.Login.Database = dbtest.DatabaseDev })
	awaitLeft(t, f.Swap(other, filters.Retirement{Deadline: time.Minute}))
	p.ended(t, "with another database", conn, "select 1", p.Codes.Retired)
	late := f.Connect()
	f.World.At(Main).Lead(nil)
	f.Filter().(filters.Mover).EndpointsMoved(200 * time.Millisecond)
	Eventually(t, "the session to end", func() bool { return f.Metric("downstream_connections") == 0 })
	p.ended(t, "with its endpoint gone", late, "select 1", p.Codes.Retired)
}

// testChangeWhileHeld: a client that is still waiting when the environment changes is let in where the new one leads.
func testChangeWhileHeld(t *testing.T, p *Protocol) {
	f, _, _, next := p.twoEnvironments(t)
	f.World.At(Main).Lead(nil)
	came := come(f, "select name from env")
	Eventually(t, "the client to come", func() bool { return f.Metric("downstream_connections") == 1 })
	awaitLeft(t, f.Swap(next, filters.Retirement{Deadline: time.Minute}))
	if got := <-came; got != "prod" {
		t.Errorf("got %q", got)
	}
}

// testDrainUnderLoad: the environment changes while clients work. Each transaction is committed where it began or its client is told between two of
// them; afterwards all are in the new environment.
func testDrainUnderLoad(t *testing.T, p *Protocol) {
	f, dev, prod, next := p.twoEnvironments(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var stop atomic.Bool
	servers := map[string]*dbtest.Server{"dev": dev, "prod": prod}
	committed := map[string]*atomic.Int64{"dev": {}, "prod": {}}
	for worker := range 8 {
		wg.Go(func() {
			w := dbtest.Work{
				Worker: worker, Where: "select name from env", More: func() bool { return !stop.Load() }, Done: func(env string) { committed[env].Add(1) },
			}
			if err := f.Work(ctx, &w); err != nil {
				t.Errorf("worker %d: %v", worker, err)
			}
		})
	}
	Eventually(t, "work to be done in dev", func() bool { return committed["dev"].Load() > 100 })
	awaitLeft(t, f.Swap(next, filters.Retirement{Deadline: 20 * time.Second}))
	// The server's count: a client may have its answer, and not have counted it yet.
	at := dev.SQL("select count(*) from log")
	Eventually(t, "work to be done in prod", func() bool { return committed["prod"].Load() > 100 })
	stop.Store(true)
	wg.Wait()
	if got := dev.SQL("select count(*) from log"); got != at {
		t.Errorf("work was done in dev after all had left: %s rows, and then %s", at, got)
	}
	for env, s := range servers {
		if torn := s.SQL("select count(*) from (select 1 from log group by worker, n having count(*) <> 2) x"); torn != "0" {
			t.Errorf("%s: %s transactions are torn", env, torn)
		}
		if got, want := s.SQL("select count(*) from log"), strconv.FormatInt(2*committed[env].Load(), 10); got != want {
			t.Errorf("%s has %s rows, the clients say %s", env, got, want)
		}
	}
	if f.Metric("closed_total", "drained") == 0 || f.Metric("closed_total", "retired") != 0 {
		t.Error("sessions were not drained, or were cut")
	}
}

// testDrain: where a session ends when its environment does.
func testDrain(t *testing.T, p *Protocol) {
	f, dev, _, next := p.twoEnvironments(t)
	idle, inTransaction, busy, failed := f.Connect(), f.Connect(), f.Connect(), f.Connect()
	execute(t, idle, "select 1")
	execute(t, inTransaction, "begin")
	execute(t, inTransaction, "insert into log values (1, 1, 1)")
	if err := failed.Exec(Context(t), "selec 1"); dbtest.Code(err) != p.Codes.Syntax {
		t.Fatal(err)
	}
	lock := p.start(t, dev.Addr()).Connect()
	execute(t, lock, p.Statements.Lock)
	answer := ask(t, busy, dev, p.Statements.Await)
	left := f.Swap(next, filters.Retirement{Deadline: 20 * time.Second})
	// An error need not tell whether a transaction is open: the server is asked.
	Eventually(t, "the idle sessions to be ended", func() bool { return f.Metric("closed_total", "drained") == 2 })
	p.ended(t, "idle", idle, "select 1", p.Codes.Retired)
	p.ended(t, "after an error", failed, "select 1", p.Codes.Retired)
	if got := f.Must("select name from env"); got != "prod" {
		t.Errorf("a new session is in %q", got)
	}
	if got := value(t, inTransaction, "select name from env"); got != "dev" {
		t.Errorf("the transaction goes on in %q", got)
	}
	execute(t, inTransaction, "commit")
	p.ended(t, "after the commit", inTransaction, "select 1", p.Codes.Retired)
	execute(t, lock, p.Statements.Unlock)
	if err := <-answer; err != nil {
		t.Errorf("the answer of the statement: %v", err)
	}
	p.ended(t, "after the answer", busy, "select 1", p.Codes.Retired)
	awaitLeft(t, left)
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	if got := dev.SQL("select count(*) from log"); got != "1" {
		t.Errorf("dev has %s rows", got)
	}
	Eventually(t, "dev to be left", func() bool { return dev.Sessions(p.User) == 0 })
	if got := f.Metric("errors_total", p.Codes.Retired, p.Codes.Class); got != 4 {
		t.Errorf("%v sessions were told %s", got, p.Codes.Retired)
	}
}

// testDeadline: what does not come to an end until the deadline is ended then.
func testDeadline(t *testing.T, p *Protocol) {
	testCutShort(t, p, filters.Retirement{Deadline: 300 * time.Millisecond})
}

// testCut: with Cut nothing comes to its end.
func testCut(t *testing.T, p *Protocol) {
	testCutShort(t, p, filters.Retirement{Cut: true, Deadline: time.Minute})
}

// testCutShort: sessions are ended, and their queries at the server too.
func testCutShort(t *testing.T, p *Protocol, r filters.Retirement) {
	f, dev, _, next := p.twoEnvironments(t)
	busy, open := f.Connect(), f.Connect()
	execute(t, open, "begin")
	execute(t, open, "insert into log values (1, 1, 1)")
	answer := ask(t, busy, dev, fmt.Sprintf(p.Statements.Sleep, 600))
	awaitLeft(t, f.Swap(next, r))
	if err := <-answer; dbtest.Code(err) != p.Codes.Retired {
		t.Errorf("the query: %v", err)
	}
	p.ended(t, "the transaction", open, "commit", p.Codes.Retired)
	Eventually(t, "dev to be left", func() bool { return dev.Sessions(p.User) == 0 })
	if got := dev.SQL("select count(*) from log"); got != "0" {
		t.Errorf("dev has %s rows", got)
	}
}

// testShutdown: the proxy's own end is as one of the server.
func testShutdown(t *testing.T, p *Protocol) {
	server := p.Server(t)
	server.SQL("create table t (n int)")
	f := p.start(t, server.Addr())
	idle, open := f.Connect(), f.Connect()
	execute(t, idle, "select 1")
	execute(t, open, "begin")
	execute(t, open, "insert into t values (1)")
	drained := make(chan error, 1)
	go func() { drained <- f.Drain(Context(t)) }()
	Eventually(t, "the idle session to end", func() bool { return f.Metric("closed_total", "drained") == 1 })
	p.ended(t, "an idle session", idle, "select 1", p.Codes.Retired)
	execute(t, open, "commit")
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if got := server.SQL("select n from t"); got != "1" {
		t.Errorf("what an open transaction has written: %q", got)
	}
}
