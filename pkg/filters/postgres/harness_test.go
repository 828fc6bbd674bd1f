package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
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

// config is the one that most tests use: user u_scram, in database app.
func config() *resource.PostgresFilter {
	return &resource.PostgresFilter{DatabaseFilter: resource.DatabaseFilter{
		Cluster:   "main",
		Login:     resource.DatabaseLogin{Username: resource.SecretKey{Name: "user"}, Password: resource.SecretKey{Name: "password"}, Database: dbtest.Database},
		Limits:    resource.DatabaseLimits{MaxWait: 5 * time.Second, MaxWaiting: 100},
		SlowQuery: -1,
	}}
}

// start runs a filter in front of the addresses.
func start(tb testing.TB, cfg *resource.PostgresFilter, addresses ...string) *fixture {
	tb.Helper()
	return startTuned(tb, func(*Builder) {}, cfg, addresses...)
}

// startTuned is start with a builder that is changed before it is used.
func startTuned(tb testing.TB, tune func(*Builder), cfg *resource.PostgresFilter, addresses ...string) *fixture {
	tb.Helper()
	return launch(tb, tune, nil, cfg, addresses...)
}

// launch is startTuned with somebody who makes spans.
func launch(tb testing.TB, tune func(*Builder), tracer trace.Tracer, cfg *resource.PostgresFilter, addresses ...string) *fixture {
	tb.Helper()
	f := &fixture{tb: tb, log: &filtertest.Log{}, world: filtertest.NewWorld(dbtest.SCRAMUser, addresses...)}
	f.builder = NewBuilder(f.log.Logger())
	tune(f.builder)
	f.Stand = filtertest.Start(tb, filtertest.Options{
		Builder: f.builder, Database: f.builder.Builder, Metrics: "dragoman_postgres_", World: f.world, Log: f.log, Tracer: tracer,
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
func (f *fixture) swap(cfg *resource.PostgresFilter, r filters.Retirement) <-chan struct{} {
	f.tb.Helper()
	if cfg == nil {
		return f.Retire(r)
	}
	return f.Swap(cfg, r)
}

func (f *fixture) main() *filtertest.Cluster { return f.world.At(filtertest.Main) }

// dsn is how a client of libpq's kind gets here.
func (f *fixture) dsn(options ...string) string {
	host, port, err := net.SplitHostPort(f.addr)
	if err != nil {
		host, port = f.addr, "5432"
	}
	return strings.Join(append([]string{"host=" + host, "port=" + port, "user=app", "password=none", "dbname=placeholder", "sslmode=disable", "connect_timeout=10"}, options...), " ")
}

// psql runs statements and returns what they print.
func (f *fixture) psql(sql string, options ...string) (string, error) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", f.dsn(options...))
	cmd.Stdin = strings.NewReader(sql)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("psql: %w: %s", err, out)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// must runs statements that have to succeed.
func (f *fixture) must(sql string, options ...string) string {
	f.tb.Helper()
	out, err := f.psql(sql, options...)
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

// deadlineOf is when a context ends.
func deadlineOf(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}
