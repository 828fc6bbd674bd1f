package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// server is a kind of database.
type server uint8

const (
	postgres server = iota
	mariadb
)

// maxIdle bounds the idle sessions: each costs a process of the server.
const maxIdle = 5000

// testbed holds what a run starts: a folder, servers and contenders.
type testbed struct {
	*host
	dir      string
	proxy    string // the proxy's executable
	args     []string
	relay    string // the relay's executable
	profiles string // folder; "": none
	idle     int    // sessions that a server has room for, beside those of the loads
	postgres *dbtest.Postgres
	mariadb  *dbtest.MariaDB // nil until it is needed
	running  map[string]*contender
	skipped  []string // what was not measured, and why
}

// host is what the servers of package dbtest ask of a test. A failure ends the
// run, whatever is under way.
type host struct {
	cleanups []func()
}

// failure is what Fatalf throws.
type failure struct{ error }

func (*host) Helper()                           {}
func (h *host) Cleanup(fn func())               { h.cleanups = append(h.cleanups, fn) }
func (*host) Logf(format string, args ...any)   { gauge.Note(format, args...) }
func (*host) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

func (h *host) close() {
	for _, fn := range slices.Backward(h.cleanups) {
		fn()
	}
	h.cleanups = nil
}

// onTestbed starts the servers, calls fn and ends everything.
func onTestbed(ctx context.Context, o *options, fn func(*testbed) (*results, error)) (r *results, err error) {
	err = gauge.InFolder(ctx, func(dir string) error {
		r, err = inFolder(ctx, dir, o, fn)
		return err
	})
	return r, err
}

func inFolder(ctx context.Context, dir string, o *options, fn func(*testbed) (*results, error)) (r *results, err error) {
	tb := &testbed{host: &host{}, dir: dir, args: o.ProxyArgs, idle: o.idle, running: map[string]*contender{}}
	defer func() {
		if thrown := recover(); thrown != nil {
			f, ok := thrown.(failure)
			if !ok {
				panic(thrown)
			}
			err = f.error
		}
		tb.close()
	}()
	if err := os.Chmod(dir, 0o755); err != nil { // pgbouncer reads its file as another user
		return nil, err
	}
	if slices.ContainsFunc(o.Contenders, isDragoman) {
		if err := o.EnsureProxy(ctx, dir); err != nil {
			return nil, err
		}
	}
	if err := o.EnsureRelay(ctx, dir); err != nil {
		return nil, err
	}
	tb.proxy, tb.relay, tb.profiles = o.Proxy, o.Relay, o.Profiles
	if err := tb.prepare(o); err != nil {
		return nil, err
	}
	return fn(tb)
}

func (tb *testbed) prepare(o *options) error {
	tb.postgres = dbtest.StartPostgres(tb, dbtest.PostgresSetting("max_connections", strconv.Itoa(o.idle+200)),
		dbtest.PostgresSetting("shared_buffers", "256MB"), dbtest.PostgresSetting("max_wal_size", "2GB"))
	tb.postgres.SQL("create table sink (line text)")
	init := exec.Command(tb.postgres.Program("pgbench"), "-q", "-i", "-s", "5", "-h", "127.0.0.1", "-p", strconv.Itoa(tb.postgres.Port()),
		"-U", dbtest.SCRAMUser, dbtest.Database)
	init.Env = append(os.Environ(), "PGPASSWORD="+dbtest.Password)
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("filling the database: %w: %s", err, out)
	}
	return nil
}

// needMariaDB starts that server once, and fills it.
func (tb *testbed) needMariaDB(ctx context.Context) error {
	if tb.mariadb != nil {
		return nil
	}
	tb.mariadb = dbtest.StartMariaDB(tb, dbtest.MariaDBSetting("innodb-buffer-pool-size", "256M"), dbtest.MariaDBSetting("max-connections", strconv.Itoa(tb.idle+200)))
	args := append(sysbenchArgs(tb.mariadb.Port()), "prepare")
	if out, err := exec.CommandContext(ctx, "sysbench", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("filling MariaDB: %w: %s", err, out)
	}
	return nil
}

// start runs a program with its own log file, until the end of the run.
func (tb *testbed) start(name, program string, args ...string) (*gauge.Process, error) {
	p, err := gauge.Start(name, tb.path(name+".log"), program, args...)
	if err != nil {
		return nil, err
	}
	tb.Cleanup(p.Stop)
	return p, nil
}

func (tb *testbed) path(name string) string { return filepath.Join(tb.dir, name) }

// write stores a configuration file, which others may read, and returns its path.
func (tb *testbed) write(name, text string) (string, error) {
	path := tb.path(name)
	return path, os.WriteFile(path, []byte(text), 0o644)
}

// accepts asks the proxy whether it knows what a document says.
func (tb *testbed) accepts(ctx context.Context, path string) error {
	out, err := exec.CommandContext(ctx, tb.proxy, "validate", "-f", path).CombinedOutput()
	if err == nil {
		return nil
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == gauge.ExitUsage {
		reason, _, _ := strings.Cut(string(out), "\n")
		if i := strings.Index(reason, "spec."); i >= 0 { // behind the file's name, which is another one each time
			reason = reason[i:]
		}
		return fmt.Errorf("the proxy refuses the document: %s", reason)
	}
	return fmt.Errorf("running proxy validate: %w: %s", err, out)
}
