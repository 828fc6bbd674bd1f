package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// stock is a proxy in front of the MariaDB servers of two environments, which differ in everything: address, user, method, password,
// database and TLS.
type stock struct {
	*Proxy
	dev, prod *dbtest.MariaDB
	labels    string
	password  string // file of prod's
	port      int
}

func startStock(t *testing.T, rest string) *stock {
	t.Helper()
	pki := redistest.NewPKI(t)
	d := &stock{dev: dbtest.StartMariaDB(t), prod: dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki)), port: redistest.Port(t)}
	for _, s := range []struct {
		*dbtest.MariaDB
		database string
	}{{d.dev, dbtest.DatabaseDev}, {d.prod, dbtest.DatabaseProd}} {
		if _, err := s.TrySQL(s.database, "create table log (worker int, n int, part int)"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	d.labels = writeFile(t, filepath.Join(dir, "labels"), labels("dev"))
	d.password = writeFile(t, filepath.Join(dir, "password"), dbtest.Password+"\n")
	_, prodPort, _ := net.SplitHostPort(d.prod.Addr())
	file := writeFile(t, filepath.Join(dir, "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: stock}
spec:
  protocol: mysql
  listen: {port: %d}
  mysql: {appDatabases: [shop]}
  environments:
    dev:
      address: %q
      database: app_dev
      credentials: {username: u_ed25519, passwordEnv: FIRST_SECRET}
    prod:
      address: "localhost:%s"
      database: app_prod
      credentials: {username: u_tls, passwordFile: %s}
      tls: {mode: verify-full, caFile: %s}
`, d.port, d.dev.Addr(), prodPort, d.password, pki.CAFile)+rest)
	d.Proxy = launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file, "--labels-file", d.labels)
	d.awaitReady()
	return d
}

func (d *stock) open() *sql.DB {
	d.t.Helper()
	db, err := sql.Open("mysql", fmt.Sprintf("app:x@tcp(127.0.0.1:%d)/app?timeout=%v", d.port, readyLimit))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = db.Close() })
	return db
}

const stockWho = "select concat(substring_index(current_user(), '@', 1), '@', database())"

// querier is a pool, one connection of it, or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func stockAt(ctx context.Context, q querier) (where string, err error) {
	err = q.QueryRowContext(ctx, stockWho).Scan(&where)
	return where, err
}

func mysqlNumber(err error) uint16 {
	if e, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return e.Number
	}
	return 0
}

// TestMySQLEnvironmentChange: clients work, the pod's label changes, and each transaction is committed where it began or its client is
// told 1053 between two; afterwards all are in the other environment, over TLS, as another user, in another database.
func TestMySQLEnvironmentChange(t *testing.T) {
	t.Parallel()
	d := startStock(t, "  drainDeadline: 20s\n")
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	open, err := d.open().BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := open.ExecContext(ctx, "insert into log values (0, 0, 0), (0, 0, 1)"); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	committed := map[string]*atomic.Int64{"u_ed25519@app_dev": new(atomic.Int64), "u_tls@app_prod": new(atomic.Int64)}
	for worker := range 4 {
		wg.Go(func() { d.work(ctx, worker+1, &stop, committed) })
	}
	enough := func(where string) {
		redistest.Eventually(t, readyLimit, "work to be done at "+where, func() error {
			if n := committed[where].Load(); n < 50 {
				return fmt.Errorf("%d transactions", n)
			}
			return nil
		})
	}
	enough("u_ed25519@app_dev")
	writeFile(t, d.labels, labels("prod"))
	enough("u_tls@app_prod")
	if got, err := stockAt(ctx, open); got != "u_ed25519@app_dev" {
		t.Errorf("an open transaction goes on at %q, %v", got, err)
	}
	if err := open.Commit(); err != nil {
		t.Errorf("its commit: %v", err)
	}
	stop.Store(true)
	wg.Wait()
	for where, n := range map[*dbtest.MariaDB]int64{d.dev: committed["u_ed25519@app_dev"].Load() + 1, d.prod: committed["u_tls@app_prod"].Load()} {
		database := dbtest.DatabaseDev
		if where == d.prod {
			database = dbtest.DatabaseProd
		}
		got, err := where.TrySQL(database, "select count(*), sum(n <> 2) from (select count(*) as n from log group by worker, n) x")
		if want := fmt.Sprintf("%d\t0", n); got != want {
			t.Errorf("%s: transactions and torn ones: %s, %v, want %s", database, got, err, want)
		}
	}
	for _, series := range []string{"dragoman_mysql_sessions_total", "dragoman_mysql_query_duration_seconds_count", `reason="drained"`} {
		if err := d.shows("/metrics", series); err != nil {
			t.Error(err)
		}
	}
}

// work commits transactions until it is stopped.
func (d *stock) work(ctx context.Context, worker int, stop *atomic.Bool, committed map[string]*atomic.Int64) {
	db := d.open()
	for n := 1; !stop.Load(); n++ {
		where, err := func() (where string, err error) {
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
			if where, err = stockAt(ctx, tx); err != nil {
				return "", err
			}
			return where, tx.Commit()
		}()
		switch {
		case err == nil:
			committed[where].Add(1)
		case mysqlNumber(err) != 1053:
			d.t.Errorf("worker %d: %v", worker, err)
			return
		}
	}
}

// TestMySQLRotation: another password in the file is used by the next session, and sessions that are open stay. A wrong one is told by
// the server itself, and the log says where to look.
func TestMySQLRotation(t *testing.T) {
	t.Parallel()
	d := startStock(t, "")
	writeFile(t, d.labels, labels("prod"))
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	redistest.Eventually(t, readyLimit, "prod", func() error {
		if got, err := stockAt(ctx, d.open()); got != "u_tls@app_prod" {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	conn, err := d.open().Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	d.prod.SQL("alter user u_tls identified by 'another'")
	if _, err := stockAt(ctx, d.open()); mysqlNumber(err) != 1045 {
		t.Errorf("with the old password: %v", err)
	}
	d.awaitLog("the environment's credentials")
	writeFile(t, d.password, "another")
	if got, err := stockAt(ctx, d.open()); got != "u_tls@app_prod" {
		t.Errorf("with the new one: %q, %v", got, err)
	}
	if got, err := stockAt(ctx, conn); got != "u_tls@app_prod" {
		t.Errorf("a session that was open: %q, %v", got, err)
	}
	for _, secret := range []string{"another", dbtest.Password} {
		if strings.Contains(string(d.Output()), secret) || strings.Contains(d.Get("/config_dump"), secret) {
			t.Error("a password is shown")
		}
	}
}

// TestMySQLNodeClients runs the drivers of Node, which change users, send ahead, kill and stream.
func TestMySQLNodeClients(t *testing.T) {
	t.Parallel()
	dir := installNodeClients(t)
	for _, script := range []string{"mysql2.mjs", "mariadb.mjs"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			d := startStock(t, "")
			out, stderr := runClient(t, "", "node", filepath.Join(dir, script), "127.0.0.1", strconv.Itoa(d.port))
			if !strings.HasSuffix(out, "all passed\n") {
				t.Errorf("%s:\n%s%s", script, out, stderr)
			}
		})
	}
}
