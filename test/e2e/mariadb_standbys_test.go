package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// pair is a proxy in front of a MariaDB server and its replica, with a port for reads. The user may not write where read_only is set.
type pair struct {
	*Proxy
	a, b            *dbtest.MariaDB // a is the primary, to begin with
	port, readsPort int
}

func startPair(t *testing.T) *pair {
	t.Helper()
	d := &pair{port: redistest.Port(t), readsPort: redistest.Port(t)}
	d.a = dbtest.StartMariaDB(t, dbtest.MariaDBPrimary())
	d.b = d.a.Replica()
	d.a.SQL("CREATE TABLE log (worker INT, n INT, part INT) ENGINE=InnoDB; CREATE USER plain IDENTIFIED BY '" + dbtest.Password + "'; GRANT SELECT, INSERT ON app.* TO plain")
	redistest.Eventually(t, readyLimit, "the user to be replicated", func() error {
		if n, err := d.b.TrySQL(dbtest.Database, "SELECT COUNT(*) FROM mysql.user WHERE user = 'plain'"); n != "1" {
			return fmt.Errorf("%q, %w", n, err)
		}
		return nil
	})
	file := writeFile(t, filepath.Join(t.TempDir(), "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: mysql
  listen: {port: %d}
  readOnly: {port: %d}
  limits: {maxWait: 30s}
  drainDeadline: 10s
  mysql:
    healthCheck: {interval: 200ms, timeout: 1s}
  environments:
    prod:
      address: %q
      standbys: [{address: %q}]
      database: app
      credentials: {username: plain, passwordEnv: FIRST_SECRET}
  defaultEnvironment: prod
`, d.port, d.readsPort, d.a.Addr(), d.b.Addr()))
	d.Proxy = launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file)
	d.awaitReady()
	return d
}

// connect returns one session, and what ends it.
func (d *pair) connect(ctx context.Context, port int) (*sql.Conn, func(), error) {
	db, err := sql.Open("mysql", fmt.Sprintf("app:x@tcp(127.0.0.1:%d)/app", port))
	if err != nil {
		return nil, func() {}, err
	}
	db.SetMaxOpenConns(1)
	conn, err := db.Conn(ctx)
	end := func() {
		if conn != nil {
			_ = conn.Close()
		}
		_ = db.Close()
	}
	return conn, end, err
}

func portOf(ctx context.Context, conn *sql.Conn) (port int, err error) {
	err = conn.QueryRowContext(ctx, "SELECT @@port").Scan(&port)
	return port, err
}

// write commits transactions and connects again whenever that fails, until it is stopped.
func (d *pair) write(worker int, stop *atomic.Bool, committed *sync.Map) {
	for n := 0; !stop.Load(); {
		var conn *sql.Conn
		end := func() {}
		err := within(func(ctx context.Context) (err error) {
			conn, end, err = d.connect(ctx, d.port)
			return err
		})
		for err == nil && !stop.Load() {
			n++
			var port int
			err = within(func(ctx context.Context) (err error) {
				port, err = d.transaction(ctx, conn, worker, n)
				return err
			})
			if err == nil {
				count, _ := committed.LoadOrStore(port, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
			}
		}
		if errors.Is(err, context.DeadlineExceeded) {
			d.t.Errorf("worker %d is left without an answer: %v", worker, err)
		}
		end()
	}
}

func (d *pair) transaction(ctx context.Context, conn *sql.Conn, worker, n int) (port int, err error) {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }()
	for part := range 2 {
		if _, err := tx.ExecContext(ctx, "INSERT INTO log VALUES (?, ?, ?)", worker, n, part); err != nil {
			return 0, err
		}
	}
	if err := tx.QueryRowContext(ctx, "SELECT @@port").Scan(&port); err != nil {
		return 0, err
	}
	return port, tx.Commit()
}

func (d *pair) awaitWork(committed *sync.Map, at *dbtest.MariaDB, more int64) {
	d.t.Helper()
	count, _ := committed.LoadOrStore(at.Port(), new(atomic.Int64))
	want := count.(*atomic.Int64).Load() + more
	redistest.Eventually(d.t, clientLimit, "transactions at "+at.Addr(), func() error {
		if n := count.(*atomic.Int64).Load(); n < want {
			return fmt.Errorf("%d, want %d", n, want)
		}
		return nil
	})
}

// TestMariaDBSwitchover: clients write, the primary is made read only and the replica takes writes; everybody goes on there. The port for reads
// leads to the one that does not write. Then the new primary dies and the old one is told to write again.
func TestMariaDBSwitchover(t *testing.T) {
	t.Parallel()
	d := startPair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientLimit)
	defer cancel()
	reader, end, err := d.connect(ctx, d.readsPort)
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	if port, err := portOf(ctx, reader); err != nil || port != d.b.Port() {
		t.Errorf("a session of the port for reads is at %d, %v", port, err)
	}
	var refusal *mysql.MySQLError
	if _, err := reader.ExecContext(ctx, "INSERT INTO log VALUES (1, 1, 1)"); !errors.As(err, &refusal) || refusal.Number != 1290 && refusal.Number != 1792 {
		t.Errorf("a write over the port for reads: %v", err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	committed := &sync.Map{}
	for worker := range 3 {
		wg.Go(func() { d.write(worker, &stop, committed) })
	}
	defer func() { stop.Store(true); wg.Wait() }()
	d.awaitWork(committed, d.a, 20)
	d.a.SQL("SET GLOBAL read_only = 1")
	redistest.Eventually(t, readyLimit, "the replica to have all", func() error {
		want := d.a.SQL("SELECT @@gtid_binlog_pos")
		if got := d.b.SQL("SELECT @@gtid_slave_pos"); got != want {
			return fmt.Errorf("%s, want %s", got, want)
		}
		return nil
	})
	d.b.SQL("STOP SLAVE; SET GLOBAL read_only = 0")
	d.awaitWork(committed, d.b, 20)
	d.awaitShows("/clusters", "::"+d.b.Addr()+"::role::primary")
	d.b.Kill()
	d.a.SQL("SET GLOBAL read_only = 0")
	d.awaitWork(committed, d.a, 20)
	stop.Store(true)
	wg.Wait()
	if got := d.a.SQL("SELECT COUNT(*) FROM (SELECT worker, n FROM log GROUP BY worker, n HAVING COUNT(*) <> 2) x"); got != "0" {
		t.Errorf("%s torn transactions", got)
	}
	redistest.Eventually(t, readyLimit, "no session but that of the health check to be left", func() error {
		if n := d.a.SQL("SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'plain'"); n != "1" {
			return errors.New(n + " sessions")
		}
		return nil
	})
}

// TestMariaDBFrozenPrimary: the primary does not answer any more. Once another takes writes, a query that waits for the old one is ended, a
// session that is about to begin there begins at the new one, and so does the next.
func TestMariaDBFrozenPrimary(t *testing.T) {
	t.Parallel()
	d := startPair(t)
	ctx, cancel := context.WithTimeout(context.Background(), 3*clientLimit)
	defer cancel()
	busy, end, err := d.connect(ctx, d.port)
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	if port, err := portOf(ctx, busy); err != nil || port != d.a.Port() {
		t.Errorf("before: port %d, %v", port, err)
	}
	d.a.Freeze()
	answer := make(chan error, 1)
	go func() {
		_, err := portOf(ctx, busy)
		answer <- err
	}()
	entered := make(chan error, 1)
	go func() {
		conn, end, err := d.connect(ctx, d.port)
		defer end()
		port := 0
		if err == nil {
			port, err = portOf(ctx, conn)
		}
		if err == nil && port != d.b.Port() {
			err = fmt.Errorf("it is at port %d", port)
		}
		entered <- err
	}()
	d.awaitShows("/clusters", "::"+d.a.Addr()+"::health_flags::/failed_active_hc")
	d.b.SQL("STOP SLAVE; SET GLOBAL read_only = 0")
	var refusal *mysql.MySQLError
	if err := <-answer; !errors.As(err, &refusal) || refusal.Number != 1053 {
		t.Errorf("a query that waits for the frozen server: %v", err)
	}
	if err := <-entered; err != nil {
		t.Errorf("a session that began at the frozen server: %v", err)
	}
	next, end, err := d.connect(ctx, d.port)
	defer end()
	if err != nil {
		t.Fatal(err)
	}
	if port, err := portOf(ctx, next); err != nil || port != d.b.Port() {
		t.Errorf("a new session is at port %d, %v", port, err)
	}
}
