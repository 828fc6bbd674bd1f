package e2e

import (
	"context"
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// databases are a proxy in front of the PostgreSQL servers of two environments, which differ in everything: address, user, password,
// database and TLS.
type databases struct {
	*Proxy
	dev, prod *dbtest.Postgres
	labels    string
	password  string // file of prod's
	port      int
}

func startDatabases(t *testing.T, rest string) *databases {
	t.Helper()
	pki := redistest.NewPKI(t)
	d := &databases{dev: dbtest.StartPostgres(t), prod: dbtest.StartPostgres(t, dbtest.PostgresTLS(pki)), port: redistest.Port(t)}
	for _, s := range []struct {
		*dbtest.Postgres
		database string
	}{{d.dev, dbtest.DatabaseDev}, {d.prod, dbtest.DatabaseProd}} {
		if _, err := s.TrySQL(s.database, "create table log (worker int, n int, part int)"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	d.labels = writeFile(t, filepath.Join(dir, "labels"), labels("dev"))
	d.password = writeFile(t, filepath.Join(dir, "password"), dbtest.Password+"\n")
	cert, key := pki.Issue("proxy", "localhost")
	_, devPort, _ := net.SplitHostPort(d.dev.Addr())
	_, prodPort, _ := net.SplitHostPort(d.prod.Addr())
	file := writeFile(t, filepath.Join(dir, "mesh.yaml"), strings.NewReplacer(
		"port: PORT}", "port: "+strconv.Itoa(d.port)+"}", "PORT_OF_D", devPort, "PORT_OF_P", prodPort, "PASSWORD", d.password, "AUTHORITY", pki.CAFile, "CERT", cert, "KEY", key,
	).Replace(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: postgres
  listen: {port: PORT}
  environments:
    dev:
      address: "127.0.0.1:PORT_OF_D"
      database: app_dev
      credentials: {username: u_md5, passwordEnv: FIRST_SECRET}
    prod:
      address: "localhost:PORT_OF_P"
      database: app_prod
      credentials: {username: u_tls, passwordFile: PASSWORD}
      tls: {mode: verify-full, caFile: AUTHORITY, certFile: CERT, keyFile: KEY}
`+rest))
	d.Proxy = launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file, "--labels-file", d.labels)
	d.awaitReady()
	return d
}

func (d *databases) dsn() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=app password=x dbname=app sslmode=disable", d.port)
}

func (d *databases) connect() *pgx.Conn {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, d.dsn())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

const whoWhere = "select current_user || '@' || current_database()"

// who asks a session who it is, and where.
func who(ctx context.Context, conn *pgx.Conn) (string, error) {
	var s string
	err := conn.QueryRow(ctx, whoWhere).Scan(&s)
	return s, err
}

func sqlState(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return fmt.Sprint(err)
}

// TestPostgresEnvironmentChange: clients work, the pod's label changes, and each transaction is committed where it began or its client is
// told 57P01 between two; afterwards all are in the other environment, over TLS, as another user, in another database.
func TestPostgresEnvironmentChange(t *testing.T) {
	t.Parallel()
	d := startDatabases(t, "  drainDeadline: 20s\n")
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	open := d.connect()
	if _, err := open.Exec(ctx, "begin; insert into log values (0, 0, 0), (0, 0, 1)"); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	committed := map[string]*atomic.Int64{"u_md5@app_dev": new(atomic.Int64), "u_tls@app_prod": new(atomic.Int64)}
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
	enough("u_md5@app_dev")
	writeFile(t, d.labels, labels("prod"))
	enough("u_tls@app_prod")
	if got, err := who(ctx, open); got != "u_md5@app_dev" {
		t.Errorf("an open transaction goes on at %q, %v", got, err)
	}
	if _, err := open.Exec(ctx, "commit"); err != nil {
		t.Errorf("its commit: %v", err)
	}
	if _, err := who(ctx, open); sqlState(err) != "57P01" {
		t.Errorf("after it: %v", err)
	}
	stop.Store(true)
	wg.Wait()
	for where, n := range map[*dbtest.Postgres]int64{d.dev: committed["u_md5@app_dev"].Load() + 1, d.prod: committed["u_tls@app_prod"].Load()} {
		database := dbtest.DatabaseDev
		if where == d.prod {
			database = dbtest.DatabaseProd
		}
		got, err := where.TrySQL(database, "select count(*), count(*) filter (where n <> 2) from (select count(*) as n from log group by worker, n) x")
		if want := fmt.Sprintf("%d|0", n); got != want {
			t.Errorf("%s: transactions and torn ones: %s, %v, want %s", database, got, err, want)
		}
	}
	for _, series := range []string{"dragoman_postgres_sessions_total", "dragoman_postgres_query_duration_seconds_count", `class="57"`} {
		if err := d.shows("/metrics", series); err != nil {
			t.Error(err)
		}
	}
}

// work commits transactions until it is stopped, and connects again whenever it is told to.
func (d *databases) work(ctx context.Context, worker int, stop *atomic.Bool, committed map[string]*atomic.Int64) {
	n := 0
	for !stop.Load() {
		conn, err := pgx.Connect(ctx, d.dsn())
		if err != nil {
			d.t.Errorf("connecting: %v", err)
			return
		}
		for err == nil && !stop.Load() {
			n++
			var where string
			err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
				for part := range 2 {
					if _, err := tx.Exec(ctx, "insert into log values ($1, $2, $3)", worker, n, part); err != nil {
						return err
					}
				}
				return tx.QueryRow(ctx, whoWhere).Scan(&where)
			})
			if err == nil {
				committed[where].Add(1)
			}
		}
		if err != nil && sqlState(err) != "57P01" {
			d.t.Errorf("worker %d: %v", worker, err)
		}
		_ = conn.Close(ctx)
	}
}

// TestPostgresRotation: another password in the file is used by the next session, and sessions that are open stay. A wrong one is told by
// the server itself, and the log says where to look.
func TestPostgresRotation(t *testing.T) {
	t.Parallel()
	d := startDatabases(t, "")
	writeFile(t, d.labels, labels("prod"))
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	redistest.Eventually(t, readyLimit, "prod", func() error {
		if got, err := who(ctx, d.connect()); got != "u_tls@app_prod" {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	conn := d.connect()
	d.prod.SQL("alter role u_tls password 'another'")
	if _, err := pgx.Connect(ctx, d.dsn()); sqlState(err) != "28P01" {
		t.Errorf("with the old password: %v", err)
	}
	d.awaitLog("the environment's credentials")
	writeFile(t, d.password, "another")
	if got, err := who(ctx, d.connect()); got != "u_tls@app_prod" {
		t.Errorf("with the new one: %q, %v", got, err)
	}
	if got, err := who(ctx, conn); got != "u_tls@app_prod" {
		t.Errorf("a session that was open: %q, %v", got, err)
	}
	for _, secret := range []string{"another", dbtest.Password} {
		if strings.Contains(string(d.Output()), secret) || strings.Contains(d.Get("/config_dump"), secret) {
			t.Error("a password is shown")
		}
	}
}

// TestPostgresNodeClients runs the drivers of Node, which send ahead, listen, copy and cancel.
func TestPostgresNodeClients(t *testing.T) {
	t.Parallel()
	dir := installNodeClients(t)
	for _, script := range []string{"pg.mjs", "postgres.mjs"} {
		t.Run(script, func(t *testing.T) {
			t.Parallel()
			d := startDatabases(t, "")
			out, stderr := runClient(t, "", "node", filepath.Join(dir, script), "127.0.0.1", strconv.Itoa(d.port))
			if !strings.HasSuffix(out, "all passed\n") {
				t.Errorf("%s:\n%s%s", script, out, stderr)
			}
		})
	}
}
