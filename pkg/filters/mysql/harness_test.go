package mysql

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// fixture is a running filter on a listener.
type fixture struct {
	*filtertest.Stand
	tb      testing.TB
	world   *filtertest.World
	builder *Builder
	addr    string
	log     *filtertest.Log
}

// config is the one that most tests use: user u_native, in database app.
func config() *resource.MySQLFilter {
	return &resource.MySQLFilter{DatabaseFilter: resource.DatabaseFilter{
		Cluster:   "main",
		Login:     resource.DatabaseLogin{Username: resource.SecretKey{Name: "user"}, Password: resource.SecretKey{Name: "password"}, Database: dbtest.Database},
		Limits:    resource.DatabaseLimits{MaxWait: 5 * time.Second, MaxWaiting: 100},
		SlowQuery: -1,
	}}
}

// start runs a filter in front of the addresses.
func start(tb testing.TB, cfg *resource.MySQLFilter, addresses ...string) *fixture {
	tb.Helper()
	return startTuned(tb, func(*Builder) {}, cfg, addresses...)
}

// startTuned is start with a builder that is changed before it is used.
func startTuned(tb testing.TB, tune func(*Builder), cfg *resource.MySQLFilter, addresses ...string) *fixture {
	tb.Helper()
	return launch(tb, tune, nil, cfg, addresses...)
}

// launch is startTuned with somebody who makes spans.
func launch(tb testing.TB, tune func(*Builder), tracer trace.Tracer, cfg *resource.MySQLFilter, addresses ...string) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, log: &filtertest.Log{}, world: filtertest.NewWorld(dbtest.NativeUser, addresses...)}
	f.builder = NewBuilder(f.log.Logger())
	tune(f.builder)
	f.Stand = filtertest.Start(tb, filtertest.Options{
		Builder: f.builder, Database: f.builder.Builder, Metrics: "dragoman_mysql_", World: f.world, Log: f.log, Tracer: tracer,
	})
	f.Put(cfg)
	f.listen("tcp", "127.0.0.1:0", nil)
	return f
}

// listen puts another socket in front of the filter, with TLS if cfg is not nil.
func (f *fixture) listen(network, addr string, cfg *tls.Config) {
	f.tb.Helper()
	f.addr = f.Listen(network, addr, cfg)
}

// swap puts another configuration in the place of the one before, or nothing.
func (f *fixture) swap(cfg *resource.MySQLFilter, r filters.Retirement) <-chan struct{} {
	f.tb.Helper()
	if cfg == nil {
		return f.Retire(r)
	}
	return f.Swap(cfg, r)
}

func (f *fixture) main() *filtertest.Cluster { return f.world.At(filtertest.Main) }

// dsn is how go-sql-driver gets here. Options are as in "multiStatements=true".
func (f *fixture) dsn(options ...string) string {
	network := "tcp"
	if strings.HasPrefix(f.addr, "/") {
		network = "unix"
	}
	return "app:none@" + network + "(" + f.addr + ")/placeholder?" + strings.Join(append([]string{"timeout=20s", "readTimeout=60s"}, options...), "&")
}

// open gives a pool of go-sql-driver's.
func (f *fixture) open(options ...string) *sql.DB {
	f.tb.Helper()
	db, err := sql.Open("mysql", f.dsn(options...))
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { _ = db.Close() })
	return db
}

// connect opens a session by go-sql-driver.
func (f *fixture) connect(options ...string) *sql.Conn {
	f.tb.Helper()
	conn, err := f.open(options...).Conn(withTimeout(f.tb))
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// client runs statements by the mariadb client and returns what they print:
// columns divided by tabs.
func (f *fixture) client(sql string, options ...string) (string, error) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	args := []string{"--no-defaults", "-N", "-B", "-u", "app", "-pnone", "-D", "placeholder"}
	if strings.HasPrefix(f.addr, "/") {
		args = append(args, "-S", f.addr)
	} else {
		host, port, _ := net.SplitHostPort(f.addr)
		args = append(args, "-h", host, "-P", port)
	}
	cmd := exec.CommandContext(ctx, redistest.Binary(f.tb, "mariadb"), append(args, options...)...)
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("mariadb: %w: %s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// must runs statements that have to succeed.
func (f *fixture) must(sql string, options ...string) string {
	f.tb.Helper()
	out, err := f.client(sql, options...)
	if err != nil {
		f.tb.Fatal(err)
	}
	return out
}

// metric reads one counter or gauge, by the end of its name and its labels.
func (f *fixture) metric(name string, labels ...string) float64 {
	f.tb.Helper()
	return f.Metric(name, labels...)
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	filtertest.Eventually(tb, what, ok)
}

func withTimeout(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// query runs what has one row with one column.
func query[T any](t testing.TB, conn *sql.Conn, text string, args ...any) T {
	t.Helper()
	var v T
	if err := conn.QueryRowContext(withTimeout(t), text, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

// exec runs what has to succeed.
func execute(t testing.TB, conn *sql.Conn, text string, args ...any) {
	t.Helper()
	if _, err := conn.ExecContext(withTimeout(t), text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
