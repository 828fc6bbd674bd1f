package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// TestPoolCredentials: connections that were begun with other credentials than
// those of now leave.
func TestPoolCredentials(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 2), server.Addr())
	conn := f.connect("default_query_exec_mode=simple_protocol")
	if got := one[string](t, conn, "select current_user::text"); got != dbtest.SCRAMUser {
		t.Error(got)
	}
	f.world.Set("user", dbtest.MD5User)
	eventually(t, "the connection to leave", func() bool { return server.Sessions(dbtest.SCRAMUser) == 0 })
	if got := one[string](t, conn, "select current_user::text"); got != dbtest.MD5User {
		t.Error(got)
	}
}

// TestPoolEnvironmentChange: sessions that have nothing at a server go on in the
// new environment between two transactions, and their clients do not notice;
// nothing is torn.
func TestPoolEnvironmentChange(t *testing.T) {
	t.Parallel()
	f, dev, prod, next := twoEnvironments(t)
	next.Pool = pooled("transaction", 3).Pool
	first := pooled("transaction", 3)
	<-f.swap(first, filters.Retirement{Deadline: time.Second})
	var wg sync.WaitGroup
	var stop atomic.Bool
	var inDev, inProd, lost atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for worker := range 8 {
		wg.Go(func() {
			conn, err := pgx.Connect(ctx, f.dsn("default_query_exec_mode=simple_protocol"))
			if err != nil {
				t.Errorf("connecting: %v", err)
				return
			}
			defer conn.Close(ctx)
			for n := 0; !stop.Load(); n++ {
				env, err := dbtest.PostgresTransaction(ctx, conn, "select name from env", worker, n, false)
				if err != nil {
					lost.Add(1)
					t.Errorf("worker %d: %v", worker, err)
					return
				}
				map[string]*atomic.Int64{"dev": &inDev, "prod": &inProd}[env].Add(1)
			}
		})
	}
	eventually(t, "all to work in dev", func() bool { return inDev.Load() > 100 && f.metric("sessions_total") >= 8 })
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("sessions do not leave")
	}
	eventually(t, "work to be done in prod", func() bool { return inProd.Load() > 100 || lost.Load() > 0 })
	stop.Store(true)
	wg.Wait()
	for name, s := range map[string]*dbtest.Postgres{"dev": dev, "prod": prod} {
		if torn := s.SQL("select count(*) from (select 1 from log group by worker, n having count(*) <> 2) x"); torn != "0" {
			t.Errorf("%s: %s transactions are torn", name, torn)
		}
	}
	eventually(t, "dev to be left", func() bool { return dev.Sessions(dbtest.SCRAMUser) == 0 })
	if f.metric("pool_moved_total") < 8 {
		t.Errorf("%v sessions were moved", f.metric("pool_moved_total"))
	}
}

// TestPoolNewLimits: connections live on where only limits change.
func TestPoolNewLimits(t *testing.T) {
	t.Parallel()
	server := dbtest.StartPostgres(t)
	f := start(t, pooled("transaction", 2), server.Addr())
	conn := f.connect()
	pid := one[int](t, conn, "select pg_backend_pid()")
	<-f.swap(pooled("transaction", 7), filters.Retirement{Deadline: 10 * time.Second})
	if got := one[int](t, conn, "select pg_backend_pid()"); got != pid {
		t.Error("the connection is another")
	}
	<-f.swap(config(), filters.Retirement{Deadline: 10 * time.Second})
	if _, err := conn.Exec(withTimeout(t), "select 1"); dbtest.Code(err) != "57P01" {
		t.Errorf("without a pool: %v", err)
	}
	eventually(t, "the pool's connections to be closed", func() bool { return server.Sessions(dbtest.SCRAMUser) == 0 })
}

// TestPoolChangeToReadOnly: a session that goes on in an environment which is read
// only has what that says, not what was so where it comes from.
func TestPoolChangeToReadOnly(t *testing.T) {
	t.Parallel()
	f, _, prod, next := twoEnvironments(t)
	next.Pool, next.ReadOnly = pooled("transaction", 3).Pool, true
	<-f.swap(pooled("transaction", 3), filters.Retirement{Deadline: time.Second})
	conn := f.connect("default_query_exec_mode=simple_protocol")
	if got := one[string](t, conn, "select name || current_setting('default_transaction_read_only') from env"); got != "devoff" {
		t.Fatal(got)
	}
	<-f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	if got := one[string](t, conn, "select name || current_setting('default_transaction_read_only') from env"); got != "prodon" {
		t.Errorf("in the new environment: %s", got)
	}
	if got := conn.PgConn().ParameterStatus("default_transaction_read_only"); got != "on" {
		t.Errorf("the client is told %q", got)
	}
	if _, err := conn.Exec(withTimeout(t), "insert into log values (1, 1, 1)"); dbtest.Code(err) != "25006" {
		t.Errorf("writing: %v", err)
	}
	if got := prod.SQL("select count(*) from log"); got != "0" {
		t.Errorf("%s rows were written", got)
	}
}
