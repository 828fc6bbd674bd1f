package network

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// database is a proxy in front of a server, of which the tests know no more than SQL.
type database struct {
	*proxy
	protocol     string
	addr         string // of the proxy
	server       netip.AddrPort
	sql          func(string) string // at the server itself
	transactions string              // counts those that the server has open
	connect      func(ctx context.Context, from *net.Dialer) (session, error)
}

// session runs statements.
type session func(sql string) error

// databases are those to test: each kind of server, and each way in which sessions have one.
func databases() map[string]func(*testing.T) *database {
	return map[string]func(*testing.T) *database{
		"PostgreSQL":             func(t *testing.T) *database { return startPostgres(t, "{}") },
		"PostgreSQL with a pool": func(t *testing.T) *database { return startPostgres(t, "{pool: {mode: Transaction}}") },
		"MariaDB":                startMariaDB,
	}
}

func startPostgres(t *testing.T, spec string) *database {
	t.Helper()
	s := dbtest.StartPostgres(t)
	d := &database{
		protocol: "postgres", server: netip.MustParseAddrPort(s.Addr()), sql: s.SQL,
		transactions: "select count(*) from pg_stat_activity where usename = '" + dbtest.SCRAMUser + "' and xact_start is not null",
	}
	d.start(t, spec, dbtest.SCRAMUser)
	d.connect = func(ctx context.Context, from *net.Dialer) (session, error) {
		config, err := pgx.ParseConfig("postgres://app@" + d.addr + "/app?sslmode=disable")
		if err != nil {
			return nil, err
		}
		config.DialFunc = from.DialContext
		conn, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = conn.PgConn().Conn().Close() })
		return func(sql string) error {
			_, err := conn.Exec(ctx, sql)
			return err
		}, nil
	}
	return d
}

func startMariaDB(t *testing.T) *database {
	t.Helper()
	s := dbtest.StartMariaDB(t, dbtest.MariaDBSetting("innodb-lock-wait-timeout", "900"))
	d := &database{
		protocol: "mysql", server: netip.MustParseAddrPort(s.Addr()), sql: s.SQL,
		transactions: "select count(*) from information_schema.innodb_trx",
	}
	d.start(t, "{}", dbtest.NativeUser)
	d.connect = func(ctx context.Context, from *net.Dialer) (session, error) {
		config := mysql.NewConfig()
		config.User, config.Net, config.Addr, config.DBName, config.DialFunc = "app", "tcp", d.addr, "app", from.DialContext
		connector, err := mysql.NewConnector(config)
		if err != nil {
			return nil, err
		}
		db := sql.OpenDB(connector)
		t.Cleanup(func() { _ = db.Close() })
		conn, err := db.Conn(ctx)
		if err != nil {
			return nil, err
		}
		return func(sql string) error {
			_, err := conn.ExecContext(ctx, sql)
			return err
		}, nil
	}
	return d
}

// start starts the proxy, and fills a table.
func (d *database) start(t *testing.T, spec, user string) {
	t.Helper()
	d.sql("create table stock (n int primary key, m int)")
	d.sql("insert into stock values (1, 0), (2, 0), (3, 0)")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte(dbtest.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	at, port := suite.Addresses(t, 1)[0], redistest.Port(t)
	d.addr = netip.AddrPortFrom(at, uint16(port)).String()
	d.proxy = run(t, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: stock}
spec:
  protocol: %s
  listen: {address: %s, port: %d, %s}
  %s
  %s: %s
  environments: {test: {address: %q, database: app, credentials: {username: %s, passwordFile: %s}}}
  defaultEnvironment: test
`, d.protocol, at, port, keepalive, keepalive, d.protocol, spec, d.server, user, password))
}

// session begins one from a host.
func (d *database) session(h *host) session {
	d.t.Helper()
	s, err := d.connect(d.t.Context(), h.dialer())
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

// must runs statements that have to succeed.
func (d *database) must(s session, statements ...string) {
	d.t.Helper()
	for _, sql := range statements {
		if err := s(sql); err != nil {
			d.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// open waits until the server has so many transactions.
func (d *database) open(n int) {
	d.t.Helper()
	redistest.Eventually(d.t, limit, fmt.Sprintf("%d transactions", n), func() error {
		if got := d.sql(d.transactions); got != fmt.Sprint(n) {
			return errors.New(got)
		}
		return nil
	})
}

// sessions waits until the proxy has so many.
func (d *database) sessions(n int) {
	d.t.Helper()
	d.shows(fmt.Sprintf(`dragoman_%s_downstream_connections{listener="default/stock"} %d`, d.protocol, n))
}

// update changes, and so locks, one row.
func update(n int) string { return fmt.Sprintf("update stock set m = m + 1 where n = %d", n) }

// TestAppIsCutOff pulls the cable of an app whose sessions are idle, in a transaction, waiting for the server, and about to be answered. None keeps
// anything of the server: what they had locked is free, and what they waited for is given up.
func TestAppIsCutOff(t *testing.T) {
	t.Parallel()
	for name, start := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			far, near := newHost(t), newHost(t)
			holding, letting := d.session(near), d.session(near)
			d.must(holding, "begin", update(2))
			d.must(letting, "begin", update(3))
			idle, inside, waiting, answered := d.session(far), d.session(far), d.session(far), d.session(far)
			d.must(idle, update(1))
			d.must(inside, "begin", update(1))
			for n, s := range map[int]session{2: waiting, 3: answered} {
				go func() { _ = s(update(n)) }() // there will be no answer
			}
			d.open(5)
			d.sessions(6)

			nettest.Cut(t, far.addr, 0)
			d.must(letting, "commit")
			d.must(letting, update(1)) // once the transaction inside is given up
			d.sessions(2)
			d.open(1)
			d.must(holding, "commit")
			d.must(letting, update(2))
		})
	}
}

// TestServerIsCutOff pulls the cable of the server: who waits for an answer is told, whether the server has got the statement or not, and so is who
// comes anew. When the cable is back, all works.
func TestServerIsCutOff(t *testing.T) {
	t.Parallel()
	for name, start := range databases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t)
			app := newHost(t)
			inside, waiting := d.session(app), d.session(app)
			d.must(inside, "begin", update(1))
			told := make(chan error, 1)
			go func() { told <- waiting(update(1)) }()
			d.open(2)

			mend := nettest.Cut(t, d.server.Addr(), d.server.Port())
			if err := inside(update(2)); err == nil {
				t.Error("a statement that did not arrive has succeeded")
			}
			if err := <-told; err == nil {
				t.Error("a statement whose answer did not arrive has succeeded")
			}
			if s, err := d.connect(t.Context(), app.dialer()); err == nil {
				if err := s(update(3)); err == nil {
					t.Error("a statement of a session that came later has succeeded")
				}
			}
			mend()
			redistest.Eventually(t, limit, "the server to work again", func() error {
				s, err := d.connect(t.Context(), app.dialer())
				if err != nil {
					return err
				}
				return s(update(3))
			})
		})
	}
}
