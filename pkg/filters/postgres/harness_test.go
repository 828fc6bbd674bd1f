package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
	"github.com/dragoman-mesh/dragoman/pkg/netloop"
	"github.com/dragoman-mesh/dragoman/pkg/xds/resource"
)

// cluster is a filters.Cluster whose table a test sets.
type cluster struct {
	name  string
	table atomic.Pointer[filters.Table]
}

func (c *cluster) Name() string                              { return c.name }
func (c *cluster) Table() *filters.Table                     { return c.table.Load() }
func (c *cluster) Report(*filters.Endpoint, filters.Outcome) {}
func (c *cluster) Refresh(string)                            {}

// lead makes a cluster of endpoints. cfg is for TLS that begins in mid-connection.
func (c *cluster) lead(cfg *tls.Config, addresses ...string) {
	t := &filters.Table{Version: 1, Options: &filters.UpstreamOptions{ConnectTimeout: 2 * time.Second, StartTLS: cfg != nil}}
	for _, a := range addresses {
		e := &filters.Endpoint{Network: "tcp", Address: a, Weight: 1, TLS: cfg}
		if strings.HasPrefix(a, "/") {
			e.Network = "unix"
		}
		e.SetHealthy(true)
		t.Shards = append(t.Shards, filters.Shard{Name: a, Primary: e})
	}
	c.table.Store(t)
}

// world is what a filter finds around it.
type world struct {
	mu       sync.Mutex
	clusters map[string]*cluster
	secrets  map[string]string
}

func (w *world) Cluster(name string) (filters.Cluster, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.clusters[name]
	return c, ok
}

var errNoSecret = errors.New("no such secret")

func (w *world) Secret(name string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v, ok := w.secrets[name]
	if !ok {
		return "", errNoSecret
	}
	return v, nil
}

func (w *world) set(name, value string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[name] = value
}

// fixture is a running filter on a listener.
type fixture struct {
	tb      testing.TB
	tracer  trace.Tracer // nil: nobody collects spans
	world   *world
	builder *Builder
	group   *netloop.Group
	addr    string
	ln      *netloop.Listener
	filter  atomic.Pointer[Filter]
	log     *logged
}

// logged keeps what is logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
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
	main := &cluster{name: "main"}
	main.lead(nil, addresses...)
	f := &fixture{tb: tb, tracer: tracer, log: &logged{}, world: &world{
		clusters: map[string]*cluster{"main": main},
		secrets:  map[string]string{"user": dbtest.SCRAMUser, "password": dbtest.Password},
	}}
	f.builder = NewBuilder(slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	tune(f.builder)
	group, err := netloop.NewGroup(netloop.GroupOptions{Loops: 2})
	if err != nil {
		tb.Fatal(err)
	}
	f.group = group
	group.Start()
	f.filter.Store(f.build(cfg))
	f.listen("tcp", "127.0.0.1:0", nil)
	tb.Cleanup(func() {
		f.ln.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := group.Stop(ctx); err != nil {
			tb.Error(err)
		} else if n := f.builder.Dials.Open(); n != 0 {
			tb.Errorf("%d turns to connect are not given back", n)
		}
		if tb.Failed() {
			tb.Logf("log of the filter:\n%s", f.log)
		}
	})
	return f
}

// listen puts another socket in front of the filter, with TLS if cfg is not nil.
func (f *fixture) listen(network, addr string, cfg *tls.Config) {
	f.tb.Helper()
	if f.ln != nil {
		f.ln.Close()
	}
	ln, err := netloop.Listen(f.group, network, addr, netloop.ListenOptions{TLS: cfg, StartTLS: true},
		func(_ *netloop.Loop, c *netloop.Conn) netloop.Driver { return f.filter.Load().Accept(c) })
	if err != nil {
		f.tb.Fatal(err)
	}
	f.ln, f.addr = ln, ln.Addr()
}

func (f *fixture) build(cfg *resource.PostgresFilter) *Filter {
	f.tb.Helper()
	n, err := f.builder.Build(cfg, filters.Context{
		Listener: "default/orders", Clusters: f.world, Secrets: f.world, Loops: f.group.Loops, Tracer: f.tracer,
	})
	if err != nil {
		f.tb.Fatal(err)
	}
	return n.(*Filter)
}

// swap puts another configuration in the place of the one before, as a listener
// does, and returns a channel that is closed when all have left that.
func (f *fixture) swap(cfg *resource.PostgresFilter, r filters.Retirement) <-chan struct{} {
	f.tb.Helper()
	var old *Filter
	done := make(chan struct{})
	if cfg != nil {
		next := f.build(cfg)
		old = f.filter.Swap(next)
		r.Next = next
	} else {
		old = f.filter.Load()
		f.ln.Close()
	}
	for _, l := range f.group.Loops() { // every loop has come round
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		if err := l.Call(ctx, func() {}); err != nil {
			f.tb.Fatal(err)
		}
		cancel()
	}
	r.Done = func() { close(done) }
	old.Retire(r)
	return done
}

func (f *fixture) main() *cluster { return f.world.clusters["main"] }

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
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(f.builder)
	families, err := r.Gather()
	if err != nil {
		f.tb.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "dragoman_postgres_"+name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetValue()] = true
			}
			all := true
			for _, l := range labels {
				all = all && has[l]
			}
			if all {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	redistest.Eventually(tb, 60*time.Second, what, func() error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	})
}

// trusting is a client's configuration that trusts the authority.
func trusting(tb testing.TB, pki *redistest.PKI, name string) *tls.Config {
	tb.Helper()
	pem, err := os.ReadFile(pki.CAFile)
	if err != nil {
		tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12}
}

// deadlineOf is when a context ends.
func deadlineOf(ctx context.Context) time.Time {
	at, _ := ctx.Deadline()
	return at
}
