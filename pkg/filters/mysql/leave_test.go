package mysql

import (
	"context"
	"database/sql"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/mysqlproto"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// twoEnvironments starts a filter that leads to dev, and makes prod.
func twoEnvironments(t *testing.T) (f *fixture, dev, prod *dbtest.MariaDB, next *resource.MySQLFilter) {
	t.Helper()
	dev, prod = dbtest.StartMariaDB(t), dbtest.StartMariaDB(t)
	for _, s := range []*dbtest.MariaDB{dev, prod} {
		s.SQL("create table log (worker int, n int, part int)")
	}
	dev.SQL("create table env as select 'dev' as name")
	prod.SQL("create table env as select 'prod' as name")
	f = start(t, config(), dev.Addr())
	f.world.Add("prod").Lead(nil, prod.Addr())
	next = config()
	next.Cluster = "prod"
	return f, dev, prod, next
}

// sessionsAt is how many sessions of the filter a server has.
func sessionsAt(s *dbtest.MariaDB) string {
	return s.SQL("select count(*) from information_schema.processlist where user = '" + dbtest.NativeUser + "'")
}

// running reports whether a server is busy with a statement.
func running(s *dbtest.MariaDB, statement string) func() bool {
	return func() bool {
		return s.SQL("select count(*) from information_schema.processlist where info = '"+statement+"'") == "1"
	}
}

// TestDrainUnderLoad: the environment changes while clients work. Each
// transaction is committed where it began or its client is told 1053 between
// two of them; afterwards all are in the new environment.
func TestDrainUnderLoad(t *testing.T) {
	t.Parallel()
	f, dev, prod, next := twoEnvironments(t)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	var stop atomic.Bool
	var inDev, inProd, told atomic.Int64
	for worker := range 8 {
		db := f.open("multiStatements=true")
		wg.Go(func() {
			for n := 1; !stop.Load(); n++ {
				env, err := transaction(ctx, db, worker, n)
				switch {
				case err == nil:
					map[string]*atomic.Int64{"dev": &inDev, "prod": &inProd}[env].Add(1)
				case numberOf(err) == "1053":
					told.Add(1)
				default:
					t.Errorf("worker %d: %v", worker, err)
					return
				}
			}
		})
	}
	eventually(t, "work to be done in dev", func() bool { return inDev.Load() > 100 })
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	select {
	case <-done:
	case <-time.After(15 * time.Second):
		t.Error("sessions do not leave")
	}
	at := dev.SQL("select count(*) from log")
	eventually(t, "work to be done in prod", func() bool { return inProd.Load() > 100 })
	stop.Store(true)
	wg.Wait()
	if got := dev.SQL("select count(*) from log"); got != at {
		t.Errorf("work was done in dev after all had left: %s rows, and then %s", at, got)
	}
	for name, s := range map[string]*dbtest.MariaDB{"dev": dev, "prod": prod} {
		if torn := s.SQL("select count(*) from (select 1 from log group by worker, n having count(*) <> 2) x"); torn != "0" {
			t.Errorf("%s: %s transactions are torn", name, torn)
		}
	}
	got := [2]string{dev.SQL("select count(*) div 2 from log"), prod.SQL("select count(*) div 2 from log")}
	if want := [2]string{strconv.FormatInt(inDev.Load(), 10), strconv.FormatInt(inProd.Load(), 10)}; got != want {
		t.Errorf("committed in dev and prod: %v, the clients say %v", got, want)
	}
	if f.metric("closed_total", "drained") == 0 || f.metric("closed_total", "retired") != 0 {
		t.Error("sessions were not drained, or were cut")
	}
}

// transaction writes twice and says in which environment.
func transaction(ctx context.Context, db *sql.DB, worker, n int) (env string, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = tx.Rollback() }()
	for part := range 2 {
		if _, err := tx.ExecContext(ctx, "insert into log values (?, ?, ?)", worker, n, part); err != nil {
			return "", err
		}
	}
	if err := tx.QueryRowContext(ctx, "select name from env").Scan(&env); err != nil {
		return "", err
	}
	return env, tx.Commit()
}

// TestDrain: where a session ends when its environment does.
func TestDrain(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	idle, inTransaction, busy, failed := f.connect(), f.connect(), f.connect(), f.connect()
	execute(t, inTransaction, "begin")
	execute(t, inTransaction, "insert into log values (1, 1, 1)")
	execute(t, idle, "select 1")
	if _, err := failed.ExecContext(withTimeout(t), "selec 1"); numberOf(err) != "1064" {
		t.Fatal(err)
	}
	direct, err := sql.Open("mysql", dbtest.EmptyUser+"@tcp("+dev.Addr()+")/"+dbtest.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	lock, err := direct.Conn(withTimeout(t))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	execute(t, lock, "select get_lock('busy', 0)")
	answer := make(chan error, 1)
	go func() {
		_, err := busy.ExecContext(context.Background(), "select get_lock('busy', 600)")
		answer <- err
	}()
	eventually(t, "the query to run", func() bool {
		return dev.SQL("select count(*) from information_schema.processlist where info like 'select get_lock%' and state = 'User lock'") == "1"
	})
	done := f.swap(next, filters.Retirement{Deadline: 20 * time.Second})
	// An error does not tell whether a transaction is open: the server is asked.
	eventually(t, "the idle sessions to be ended", func() bool { return f.metric("closed_total", "drained") == 2 })
	for name, conn := range map[string]*sql.Conn{"idle": idle, "after an error": failed} {
		if err := conn.PingContext(withTimeout(t)); err == nil {
			t.Errorf("%s: the session goes on", name)
		}
	}
	if got := f.must("select name from env"); got != "prod" {
		t.Errorf("a new session is in %q", got)
	}
	if got := query[string](t, inTransaction, "select name from env"); got != "dev" {
		t.Errorf("the transaction goes on in %q", got)
	}
	execute(t, inTransaction, "commit")
	if err := inTransaction.PingContext(withTimeout(t)); err == nil {
		t.Error("after the commit the session goes on")
	}
	execute(t, lock, "select release_lock('busy')")
	if err := <-answer; err != nil {
		t.Errorf("the answer of the query: %v", err)
	}
	<-done
	if got := dev.SQL("select count(*) from log"); got != "1" {
		t.Errorf("dev has %s rows", got)
	}
	eventually(t, "dev to be left", func() bool { return sessionsAt(dev) == "0" })
	if got := f.metric("errors_total", "1053", "08"); got != 4 {
		t.Errorf("%v sessions were told 1053", got)
	}
}

// TestErrorInTransaction: a session in a transaction in which a statement has
// failed is not ended before the transaction is.
func TestErrorInTransaction(t *testing.T) {
	t.Parallel()
	f, dev, _, next := twoEnvironments(t)
	conn := f.connect()
	execute(t, conn, "begin")
	execute(t, conn, "insert into log values (1, 1, 1)")
	if _, err := conn.ExecContext(withTimeout(t), "selec 1"); numberOf(err) != "1064" {
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

// TestDeadlineAndCut: what does not come to an end is ended, and its query too.
func TestDeadlineAndCut(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]filters.Retirement{
		"deadline": {Deadline: 300 * time.Millisecond},
		"cut":      {Cut: true, Deadline: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, dev, _, next := twoEnvironments(t)
			busy, open := f.connect(), f.connect()
			execute(t, open, "begin")
			execute(t, open, "insert into log values (1, 1, 1)")
			answer := make(chan error, 1)
			go func() {
				_, err := busy.ExecContext(context.Background(), "select sleep(600)")
				answer <- err
			}()
			eventually(t, "the query to run", running(dev, "select sleep(600)"))
			select {
			case <-f.swap(next, r):
			case <-time.After(10 * time.Second):
				t.Fatal("sessions stay")
			}
			if err := <-answer; numberOf(err) != "1053" {
				t.Errorf("the query: %v", err)
			}
			if _, err := open.ExecContext(withTimeout(t), "commit"); err == nil {
				t.Error("the transaction is committed")
			}
			eventually(t, "dev to be left", func() bool { return sessionsAt(dev) == "0" })
			if got := dev.SQL("select count(*) from log"); got != "0" {
				t.Errorf("dev has %s rows", got)
			}
		})
	}
}

// TestShutdown: the proxy's own end is as one of the server.
func TestShutdown(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	f := start(t, config(), server.Addr())
	idle, open := f.connect(), f.connect()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	execute(t, idle, "select 1")
	execute(t, open, "begin")
	execute(t, open, "insert into mysql.time_zone values (null, 'N')")
	drained := make(chan error, 1)
	go func() { drained <- f.builder.Drain(ctx) }()
	eventually(t, "the idle session to end", func() bool { return f.metric("closed_total", "drained") == 1 })
	if err := idle.PingContext(ctx); err == nil {
		t.Error("an idle session goes on")
	}
	execute(t, open, "rollback")
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// TestIdleTimeout ends a session that is quiet, and none that works.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	server := dbtest.StartMariaDB(t)
	cfg := config()
	cfg.Limits.IdleTimeout = 2 * time.Second
	f := start(t, cfg, server.Addr())
	conn := f.connect()
	execute(t, conn, "select sleep(3)")
	eventually(t, "the session to end", func() bool { return f.metric("closed_total", "idle_timeout") == 1 })
	if err := conn.PingContext(withTimeout(t)); err == nil {
		t.Error("a session that is quiet goes on")
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
