package e2e

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// databaseKind is what these tests have to know of a kind of server, its protocol and its drivers.
type databaseKind struct {
	protocol string
	settings string                                                // of the protocol, in the document
	start    func(t *testing.T, pki *redistest.PKI) *dbtest.Server // with TLS if there is an authority
	open     func(ctx context.Context, dsn string) (dbtest.Session, error)
	work     func(ctx context.Context, dsn string, w *dbtest.Work) error
	dsn      string // with a port

	devUser  string // who logs in by another method than prod's
	who      string // asks for user@database
	change   string // another password of a user
	denied   string // code of a login with a wrong password
	retired  string // code of a session that is over
	unasked  bool   // the driver shows that code where the session was told while it had asked for nothing
	counters []string
	scripts  []string // clients of Node, and what they do
	java     javaClient
	// pair starts a primary, which has a table log, and its standby. The user may write at a primary only.
	pair  func(t *testing.T) (user string, primary, standby *dbtest.Server, promote func())
	where string // asks for the server's port
}

// databaseKinds are those by name.
func databaseKinds() map[string]*databaseKind {
	return map[string]*databaseKind{"PostgreSQL": postgresKind(), "MariaDB": mariadbKind()}
}

func postgresKind() *databaseKind {
	return &databaseKind{
		protocol: "postgres",
		start: func(t *testing.T, pki *redistest.PKI) *dbtest.Server {
			t.Helper()
			return &dbtest.StartPostgres(t, dbtest.PostgresTLS(pki)).Server
		},
		open: dbtest.ConnectPostgres, work: dbtest.WorkPostgres,
		dsn:     "host=127.0.0.1 port=%d user=app password=x dbname=app sslmode=disable",
		devUser: dbtest.MD5User, who: "select current_user || '@' || current_database()",
		change: "alter role %s password '%s'", denied: "28P01", retired: "57P01", unasked: true,
		counters: []string{"dragoman_postgres_sessions_total", "dragoman_postgres_query_duration_seconds_count", `class="57"`},
		scripts:  []string{"pg.mjs", "postgres.mjs"}, // which send ahead, listen, copy and cancel
		pair:     postgresPair, where: "select current_setting('port')",
	}
}

func mariadbKind() *databaseKind {
	return &databaseKind{
		protocol: "mysql", settings: "appDatabases: [shop]",
		start: func(t *testing.T, pki *redistest.PKI) *dbtest.Server {
			t.Helper()
			return &dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki)).Server
		},
		open: dbtest.ConnectMySQL, work: dbtest.WorkMySQL,
		dsn:     "app:x@tcp(127.0.0.1:%d)/app?timeout=" + readyLimit.String(),
		devUser: dbtest.Ed25519User, who: "select concat(substring_index(current_user(), '@', 1), '@', database())",
		change: "alter user %s identified by '%s'", denied: "1045", retired: "1053",
		counters: []string{"dragoman_mysql_sessions_total", "dragoman_mysql_query_duration_seconds_count", `reason="drained"`},
		scripts:  []string{"mysql2.mjs", "mariadb.mjs"}, // which change users, send ahead, kill and stream
		java:     javaClient{"MariaDB.java", "/usr/share/java/mariadb-java-client.jar"},
		pair:     mariadbPair, where: "select @@port",
	}
}

// over reports whether an error says that a session had ended before it asked.
func (k *databaseKind) over(err error) bool {
	return err != nil && (!k.unasked || dbtest.Code(err) == k.retired)
}

// databases are a proxy in front of the servers of two environments, which differ in everything: address, user, method, password, database and TLS.
type databases struct {
	*Proxy
	*databaseKind
	dev, prod *dbtest.Server
	labels    string
	password  string // file of prod's
	port      int
}

// startDatabases starts them. rest is put behind the document.
func startDatabases(t *testing.T, kind *databaseKind, rest string) *databases {
	t.Helper()
	pki := redistest.NewPKI(t)
	d := &databases{databaseKind: kind, dev: kind.start(t, nil), prod: kind.start(t, pki), port: redistest.Port(t)}
	for database, s := range map[string]*dbtest.Server{dbtest.DatabaseDev: d.dev, dbtest.DatabaseProd: d.prod} {
		if _, err := s.TrySQL(database, "create table log (worker int, n int, part int)"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	d.labels = filetest.Put(t, filepath.Join(dir, "labels"), labels("dev"))
	d.password = filetest.Put(t, filepath.Join(dir, "password"), dbtest.Password+"\n")
	cert, key := pki.Issue("proxy", "localhost")
	file := filetest.Put(t, filepath.Join(dir, "mesh.yaml"), fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: orders}
spec:
  protocol: %s
  listen: {port: %d}
  %s: {%s}
  environments:
    dev:
      address: %q
      database: app_dev
      credentials: {username: %s, passwordEnv: FIRST_SECRET}
    prod:
      address: %q
      database: app_prod
      credentials: {username: u_tls, passwordFile: %s}
      tls: {mode: verify-full, caFile: %s, certFile: %s, keyFile: %s}
`, kind.protocol, d.port, kind.protocol, kind.settings, d.dev.Addr(), kind.devUser, net.JoinHostPort("localhost", strconv.Itoa(d.prod.Port())), d.password, pki.CAFile, cert, key)+rest)
	d.Proxy = launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file, "--labels-file", d.labels)
	d.awaitReady()
	return d
}

// address is how a driver gets to the proxy.
func (d *databases) address() string { return fmt.Sprintf(d.dsn, d.port) }

// connect opens a session, which ends with the test.
func (d *databases) connect(ctx context.Context) dbtest.Session {
	d.t.Helper()
	s, err := d.open(ctx, d.address())
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestDatabaseEnvironmentChange: clients work, the pod's label changes, and each transaction is committed where it began or its client is told between
// two that its session is over; afterwards all are in the other environment, over TLS, as another user, in another database.
func TestDatabaseEnvironmentChange(t *testing.T) {
	t.Parallel()
	for name, kind := range databaseKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environmentChange(t, startDatabases(t, kind, "  drainDeadline: 20s\n"))
		})
	}
}

func environmentChange(t *testing.T, d *databases) {
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	open := d.connect(ctx)
	for _, sql := range []string{"begin", "insert into log values (0, 0, 0), (0, 0, 1)"} {
		if err := open.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	inDev, inProd := d.devUser+"@app_dev", "u_tls@app_prod"
	committed := map[string]*atomic.Int64{inDev: {}, inProd: {}}
	for worker := range 4 {
		w := dbtest.Work{Worker: worker + 1, Where: d.who, More: func() bool { return !stop.Load() }, Done: func(at string) { committed[at].Add(1) }}
		wg.Go(func() {
			if err := d.work(ctx, d.address(), &w); err != nil {
				t.Errorf("worker %d: %v", w.Worker, err)
			}
		})
	}
	enough := func(where string) {
		redistest.Eventually(t, readyLimit, "work to be done at "+where, func() error {
			if n := committed[where].Load(); n < 50 {
				return fmt.Errorf("%d transactions", n)
			}
			return nil
		})
	}
	enough(inDev)
	filetest.Put(t, d.labels, labels("prod"))
	enough(inProd)
	if got, err := open.Value(ctx, d.who); got != inDev {
		t.Errorf("an open transaction goes on at %q, %v", got, err)
	}
	if err := open.Exec(ctx, "commit"); err != nil {
		t.Errorf("its commit: %v", err)
	}
	if _, err := open.Value(ctx, d.who); !d.over(err) {
		t.Errorf("after it: %v", err)
	}
	stop.Store(true)
	wg.Wait()
	for _, in := range []struct {
		server   *dbtest.Server
		database string
		want     int64
	}{{d.dev, dbtest.DatabaseDev, committed[inDev].Load() + 1}, {d.prod, dbtest.DatabaseProd, committed[inProd].Load()}} {
		got, err := in.server.TrySQL(in.database, "select concat(count(*), ' ', count(case when n <> 2 then 1 end)) from (select count(*) as n from log group by worker, n) x")
		if want := fmt.Sprintf("%d 0", in.want); got != want {
			t.Errorf("%s: transactions and torn ones: %s, %v, want %s", in.database, got, err, want)
		}
	}
	for _, series := range d.counters {
		if err := d.shows("/metrics", series); err != nil {
			t.Error(err)
		}
	}
}

// TestDatabaseRotation: another password in the file is used by the next session, and sessions that are open stay. A wrong one is told by the server
// itself, and the log says where to look.
func TestDatabaseRotation(t *testing.T) {
	t.Parallel()
	for name, kind := range databaseKinds() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rotation(t, startDatabases(t, kind, ""))
		})
	}
}

func rotation(t *testing.T, d *databases) {
	const inProd = "u_tls@app_prod"
	filetest.Put(t, d.labels, labels("prod"))
	ctx, cancel := context.WithTimeout(context.Background(), readyLimit)
	defer cancel()
	redistest.Eventually(t, readyLimit, "prod", func() error {
		if got, err := d.connect(ctx).Value(ctx, d.who); got != inProd {
			return fmt.Errorf("%q, %w", got, err)
		}
		return nil
	})
	old := d.connect(ctx)
	d.prod.SQL(fmt.Sprintf(d.change, dbtest.TLSUser, "another"))
	if _, err := d.open(ctx, d.address()); dbtest.Code(err) != d.denied {
		t.Errorf("with the old password: %v", err)
	}
	d.awaitLog("the environment's credentials")
	filetest.Put(t, d.password, "another")
	if got, err := d.connect(ctx).Value(ctx, d.who); got != inProd {
		t.Errorf("with the new one: %q, %v", got, err)
	}
	if got, err := old.Value(ctx, d.who); got != inProd {
		t.Errorf("a session that was open: %q, %v", got, err)
	}
	for _, secret := range []string{"another", dbtest.Password} {
		if strings.Contains(string(d.Output()), secret) || strings.Contains(d.Get("/config_dump"), secret) {
			t.Error("a password is shown")
		}
	}
}

// TestDatabaseNodeClients runs the drivers of Node.
func TestDatabaseNodeClients(t *testing.T) {
	t.Parallel()
	dir := installNodeClients(t)
	for _, kind := range databaseKinds() {
		for _, script := range kind.scripts {
			t.Run(script, func(t *testing.T) {
				t.Parallel()
				d := startDatabases(t, kind, "")
				out, stderr := runClient(t, "", "node", filepath.Join(dir, script), "127.0.0.1", strconv.Itoa(d.port))
				if !strings.HasSuffix(out, "all passed\n") {
					t.Errorf("%s:\n%s%s", script, out, stderr)
				}
			})
		}
	}
}
