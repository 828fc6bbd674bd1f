package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/dragoman-mesh/dragoman/bench/gauge"
	"github.com/dragoman-mesh/dragoman/internal/dbtest"
)

// Names of the contenders.
const (
	dragoman       = "dragoman"
	dragomanPool   = "dragoman-session"     // with a pool
	dragomanTrans  = "dragoman-transaction" // the same
	pgbouncer      = "pgbouncer-session"
	pgbouncerTrans = "pgbouncer-transaction"
	haproxy        = "haproxy" // mode tcp, one thread
	relay          = gauge.Relay
	direct         = "direct" // nothing in between
)

func contenderNames() []string {
	return []string{dragoman, dragomanPool, dragomanTrans, pgbouncer, pgbouncerTrans, haproxy, relay, direct}
}

func isDragoman(name string) bool { return strings.HasPrefix(name, dragoman) }

// contender is something that takes sessions of a database on a port.
type contender struct {
	name string
	port int
	proc *gauge.Process // whose CPU and memory count; nil for direct
}

// Name is the contender's.
func (c *contender) Name() string { return c.name }

// contender returns the running one of a name, started if need be; nil if there
// is none for that kind of server.
func (tb *testbed) contender(ctx context.Context, name string, s server) (*contender, error) {
	key := fmt.Sprint(name, s)
	if c, ok := tb.running[key]; ok {
		return c, nil
	}
	c, err := tb.launch(ctx, name, s)
	if err != nil {
		return nil, err
	}
	tb.running[key] = c
	return c, nil
}

// launch starts a fresh instance of a contender.
func (tb *testbed) launch(ctx context.Context, name string, s server) (*contender, error) {
	to := tb.postgres.Port()
	if s == mariadb {
		if err := tb.needMariaDB(ctx); err != nil {
			return nil, err
		}
		to = tb.mariadb.Port()
	}
	if name == direct {
		return &contender{name: name, port: to}, nil
	}
	port, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	c := &contender{name: name, port: port}
	switch name {
	case dragoman, dragomanPool, dragomanTrans:
		return tb.startDragoman(ctx, c, s, to)
	case haproxy:
		err = tb.startHAProxy(ctx, c, to)
	case relay:
		err = tb.run(ctx, c, tb.relay, strconv.Itoa(port), strconv.Itoa(to))
	case pgbouncer:
		err = tb.startPgbouncer(ctx, c, s, to, "session")
	case pgbouncerTrans:
		err = tb.startPgbouncer(ctx, c, s, to, "transaction")
	default:
		err = fmt.Errorf("no contender %q: want some of %s", name, strings.Join(contenderNames(), ","))
	}
	if err != nil || c.proc == nil {
		return nil, err
	}
	return c, nil
}

// run starts a program and waits until it takes connections.
func (tb *testbed) run(ctx context.Context, c *contender, program string, args ...string) error {
	var err error
	if c.proc, err = tb.start(fmt.Sprintf("%s-%d", c.name, c.port), program, args...); err != nil {
		return err
	}
	return c.proc.Await(ctx, func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", c.address())
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func (c *contender) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)) }

func (tb *testbed) startHAProxy(ctx context.Context, c *contender, to int) error {
	path, err := tb.write(fmt.Sprintf("haproxy-%d.cfg", c.port), haproxyConfig(c.port, to))
	if err != nil {
		return err
	}
	return tb.run(ctx, c, "haproxy", "-db", "-f", path)
}

func haproxyConfig(port, to int) string {
	return fmt.Sprintf(`global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen bench
  bind 127.0.0.1:%d
  server database 127.0.0.1:%d
`, port, to)
}

// startPgbouncer has it log in as our proxy does, whatever the client says. It
// does not run as root.
func (tb *testbed) startPgbouncer(ctx context.Context, c *contender, s server, to int, mode string) error {
	if s != postgres {
		return nil
	}
	path, err := tb.write(fmt.Sprintf("pgbouncer-%d.ini", c.port), pgbouncerConfig(c.port, to, mode))
	if err != nil {
		return err
	}
	args := []string{path}
	if os.Getuid() == 0 {
		args = append(args, "-u", "postgres")
	}
	return tb.run(ctx, c, "pgbouncer", args...)
}

func pgbouncerConfig(port, to int, mode string) string {
	return fmt.Sprintf(`[databases]
%s = host=127.0.0.1 port=%d user=%s password='%s'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = %d
max_client_conn = %d
log_connections = 0
log_disconnections = 0
`, dbtest.Database, to, dbtest.SCRAMUser, dbtest.Password, port, mode, maxIdle, maxIdle+100)
}

// startDragoman returns nil if the proxy does not know the protocol.
func (tb *testbed) startDragoman(ctx context.Context, c *contender, s server, to int) (*contender, error) {
	password, err := tb.write("password", dbtest.Password+"\n")
	if err != nil {
		return nil, err
	}
	path, err := tb.write(fmt.Sprintf("mesh-%d.yaml", c.port), meshConfig(s, c.port, to, password)+poolConfig(c.name))
	if err != nil {
		return nil, err
	}
	if err := tb.accepts(ctx, path); err != nil {
		if s == mariadb {
			tb.skip("MariaDB through " + c.name + ": " + err.Error())
			return nil, nil
		}
		return nil, err
	}
	admin, err := gauge.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", admin)
	args := append([]string{"run", "-f", path, "--loops", "1", "--admin-address", address}, tb.args...)
	if err := tb.run(ctx, c, tb.proxy, args...); err != nil {
		return nil, err
	}
	return c, gauge.Serving(ctx, c.proc, address, tb.profiles)
}

// poolConfig gives the pools of two contenders room for all sessions, as
// pgbouncer's have.
func poolConfig(name string) string {
	switch name {
	case dragomanPool:
		return fmt.Sprintf("  postgres: {pool: {mode: Session, size: %d}}\n", maxIdle)
	case dragomanTrans:
		return fmt.Sprintf("  postgres: {pool: {mode: Transaction, size: %d}}\n", maxIdle)
	}
	return ""
}

func meshConfig(s server, port, to int, passwordFile string) string {
	protocol, user := "postgres", dbtest.SCRAMUser
	if s == mariadb {
		protocol, user = "mysql", dbtest.NativeUser
	}
	return fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: bench}
spec:
  protocol: %s
  listen: {port: %d}
  environments:
    dev:
      address: "127.0.0.1:%d"
      database: %s
      credentials: {username: %s, passwordFile: %s}
  defaultEnvironment: dev
`, protocol, port, to, dbtest.Database, user, passwordFile)
}

// skip notes, once, what is not measured.
func (tb *testbed) skip(what string) {
	gauge.Note("skipped: %s", what)
	tb.skipped = append(tb.skipped, what)
}
