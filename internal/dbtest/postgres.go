package dbtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Password is what every user of this package has, on every server, unless it is said otherwise.
const Password = "s3cret, horse & battery"

// UnicodePassword is UnicodeUser's: SASLprep changes it (a Roman numeral, a soft hyphen, a non-breaking space).
const UnicodePassword = "Ⅸ p\u00adässw\u00a0rd"

// Users of a PostgreSQL server, by how they have to authenticate over TCP. Over the unix socket all are trusted. Each may use the databases
// app, app_dev and app_prod.
const (
	TrustUser     = "u_trust"
	CleartextUser = "u_cleartext"
	MD5User       = "u_md5"
	SCRAMUser     = "u_scram"
	UnicodeUser   = "u_unicode" // by SCRAM, with UnicodePassword
	TLSUser       = "u_tls"     // by SCRAM, and over TLS only
	NoTLSUser     = "u_notls"   // by SCRAM, and not over TLS
	CertUser      = "u_cert"    // by a client's certificate with this common name
	ReadOnlyUser  = "u_readonly"
	ReplicaUser   = "u_replica" // by SCRAM, and for replication too
	Superuser     = "postgres"  // by SCRAM
)

// Databases of every server.
const (
	Database     = "app"
	DatabaseDev  = "app_dev"
	DatabaseProd = "app_prod"
)

// Postgres is a running PostgreSQL server.
type Postgres struct {
	Server
	options postgresOptions
}

type postgresOptions struct {
	pki      *redistest.PKI
	settings []string
	hba      []string
	primary  *Postgres
}

// PostgresOption changes how a server is started.
type PostgresOption func(*postgresOptions)

// PostgresTLS makes the server offer TLS with the authority's certificate, and know the clients' certificates by its authority.
func PostgresTLS(pki *redistest.PKI) PostgresOption {
	return func(o *postgresOptions) { o.pki = pki }
}

// PostgresSetting sets one parameter of the server's configuration.
func PostgresSetting(name, value string) PostgresOption {
	return func(o *postgresOptions) { o.settings = append(o.settings, name+" = '"+value+"'") }
}

// PostgresHBA puts a line before those of this package in pg_hba.conf.
func PostgresHBA(line string) PostgresOption {
	return func(o *postgresOptions) { o.hba = append(o.hba, line) }
}

// StartPostgres starts a PostgreSQL server on a port of its own, with the users and databases of this package, and returns when it answers.
// It writes nothing to disk that has to survive a crash of the machine.
func StartPostgres(tb TB, opts ...PostgresOption) *Postgres {
	tb.Helper()
	p := newPostgres(tb, opts)
	if err := p.copyTemplate(p.template()); err != nil {
		tb.Fatalf("copying a database: %v", err)
	}
	p.run()
	return p
}

// Standby starts a server that follows p and takes reads. It is up to date when Standby returns.
func (p *Postgres) Standby(opts ...PostgresOption) *Postgres {
	p.tb.Helper()
	s := newPostgres(p.tb, append([]PostgresOption{func(o *postgresOptions) { o.pki = p.options.pki }}, opts...))
	s.options.primary = p
	bin := filepath.Join(filepath.Dir(s.bin), "pg_basebackup")
	if out, err := s.account.run("", bin, "-h", p.dir, "-p", strconv.Itoa(p.port), "-U", ReplicaUser, "-D", filepath.Join(s.dir, "data"),
		"-R", "-X", "stream", "-c", "fast", "--no-sync"); err != nil {
		p.tb.Fatalf("copying the primary: %v %s", err, out)
	}
	s.run()
	redistest.Eventually(p.tb, startLimit, "the standby to have all that the primary has", func() error {
		want := p.SQL("select pg_current_wal_lsn()")
		if got, err := s.TrySQL(Database, "select pg_last_wal_replay_lsn() >= '"+want+"'"); err != nil || got != "t" {
			return fmt.Errorf("it has not replayed up to %s: %q %w", want, got, err)
		}
		return nil
	})
	return s
}

// Promote makes a standby a primary, and returns when it takes writes.
func (p *Postgres) Promote() {
	p.tb.Helper()
	if got := p.SQL("select pg_promote(true, 60)"); got != "t" {
		p.tb.Fatalf("promoting %s: %q", p.Addr(), got)
	}
}

// Stop ends the server in good order: sessions are told 57P01 and closed.
func (p *Postgres) Stop() { p.end(p.process(), sigFast) }

// SocketPath returns the server's unix socket.
func (p *Postgres) SocketPath() string { return filepath.Join(p.dir, ".s.PGSQL."+strconv.Itoa(p.port)) }

// Program returns the path of a program of the server's version, such as "pgbench".
func (p *Postgres) Program(name string) string { return filepath.Join(filepath.Dir(p.bin), name) }

func newPostgres(tb TB, opts []PostgresOption) *Postgres {
	tb.Helper()
	p := &Postgres{Server: Server{tb: tb, account: accountFor(tb, "postgres"), counts: counts{
		sessions: "select count(*) from pg_stat_activity where usename",
		running:  "select count(*) from pg_stat_activity where state = 'active' and query",
	}}}
	for _, opt := range opts {
		opt(&p.options)
	}
	p.reread = "select pg_reload_conf()"
	p.bin = newest(tb, "/usr/lib/postgresql/*/bin/postgres", "postgresql")
	p.dir = p.account.mkdir(tb)
	p.port = redistest.Port(tb)
	p.killed = p.removeSharedMemory
	p.client = func(database string) (string, []string) {
		return p.Program("psql"), []string{"-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", p.dir, "-p", strconv.Itoa(p.port), "-U", Superuser, "-d", database}
	}
	p.ready = func() error {
		conn, err := net.DialTimeout("unix", p.SocketPath(), time.Second)
		if err != nil {
			return err
		}
		_ = conn.Close()
		_, err = p.TrySQL("postgres", "select 1")
		return err
	}
	return p
}

// removeSharedMemory removes what a PostgreSQL server that was killed leaves behind: a small segment of shared memory, whose id is the last
// thing in the seventh line of postmaster.pid. The kernel has room for some thousands.
func (p *Postgres) removeSharedMemory() {
	content, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	lines := strings.Split(string(content), "\n")
	if err != nil || len(lines) < 7 {
		return // it had not come so far
	}
	fields := strings.Fields(lines[6])
	if len(fields) != 2 {
		return
	}
	if id, err := strconv.Atoi(fields[1]); err == nil {
		const remove = 0 // IPC_RMID
		_, _, _ = syscall.Syscall(syscall.SYS_SHMCTL, uintptr(id), remove, 0)
	}
}

// run writes the configuration and starts the server.
func (p *Postgres) run() {
	p.tb.Helper()
	if p.options.pki != nil {
		if err := p.install(p.options.pki); err != nil {
			p.tb.Fatalf("installing certificates: %v", err)
		}
	}
	data := filepath.Join(p.dir, "data")
	if err := p.account.write(filepath.Join(data, "postgresql.conf"), []byte(p.conf())); err != nil {
		p.tb.Fatalf("writing postgresql.conf: %v", err)
	}
	if err := p.account.write(filepath.Join(data, "pg_hba.conf"), []byte(strings.Join(append(p.options.hba, hbaLines...), "\n")+"\n")); err != nil {
		p.tb.Fatalf("writing pg_hba.conf: %v", err)
	}
	p.args = []string{"-D", data}
	p.start()
}

func (p *Postgres) conf() string {
	lines := []string{
		"listen_addresses = '127.0.0.1'",
		fmt.Sprintf("port = %d", p.port),
		"unix_socket_directories = '" + p.dir + "'",
		"max_connections = 100",
		"shared_buffers = '16MB'",
		"dynamic_shared_memory_type = 'mmap'",
		"fsync = off", "synchronous_commit = off", "full_page_writes = off",
		"wal_level = 'logical'", "max_wal_senders = 8", "wal_keep_size = '64MB'", "hot_standby = on", "max_wal_size = '256MB'",
		"autovacuum = off", "log_min_messages = 'warning'", "timezone = 'UTC'", "lc_messages = 'C'",
	}
	if p.options.pki != nil {
		lines = append(lines, "ssl = on", "ssl_cert_file = '"+p.dir+"/server.crt'", "ssl_key_file = '"+p.dir+"/server.key'", "ssl_ca_file = '"+p.dir+"/ca.crt'")
	}
	if p.options.primary != nil {
		lines = append(lines, fmt.Sprintf("primary_conninfo = 'host=%s port=%d user=%s'", p.options.primary.dir, p.options.primary.port, ReplicaUser))
	}
	return strings.Join(append(lines, p.options.settings...), "\n") + "\n"
}

// template returns a data directory with the users and databases of this package.
func (p *Postgres) template() string {
	p.tb.Helper()
	version, err := p.account.run("", p.bin, "--version")
	if err != nil {
		p.tb.Fatalf("%v", err)
	}
	key := "postgres-" + strings.Map(plain, strings.TrimSpace(version)) + "-" + digest(templateSetup+postgresSetup)
	return p.account.template(p.tb, key, func(dir string) error {
		initdb := filepath.Join(filepath.Dir(p.bin), "initdb")
		if _, err := p.account.run("", initdb, "-D", dir, "-U", Superuser, "--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1"); err != nil {
			return err
		}
		for _, step := range []struct{ database, sql string }{{"template1", templateSetup}, {"postgres", postgresSetup}} {
			out, err := p.account.run(step.sql, p.bin, "--single", "-j", "-D", dir, "-c", "fsync=off", step.database)
			if err != nil {
				return err
			}
			if strings.Contains(out, "ERROR") {
				return fmt.Errorf("making users: %s", out)
			}
		}
		return nil
	})
}
