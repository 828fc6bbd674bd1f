package dbtest

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// Users of a MariaDB server, besides TLSUser, CertUser (any certificate of the authority) and ReadOnlyUser, which authenticate by
// mysql_native_password. All but ReadOnlyUser may do everything.
const (
	NativeUser  = "u_native"
	Ed25519User = "u_ed25519"
	EmptyUser   = "u_empty" // with an empty password
	Root        = "root"    // over the unix socket only, without a password
)

// MariaDB is a running MariaDB server.
type MariaDB struct {
	Server
	options mariadbOptions
}

type mariadbOptions struct {
	pki  *redistest.PKI
	args []string
}

// MariaDBOption changes how a server is started.
type MariaDBOption func(*mariadbOptions)

// MariaDBTLS makes the server offer TLS with the authority's certificate, and know the clients' certificates by its authority.
func MariaDBTLS(pki *redistest.PKI) MariaDBOption {
	return func(o *mariadbOptions) { o.pki = pki }
}

// MariaDBSetting sets one option of the server, such as "max-connections".
func MariaDBSetting(name, value string) MariaDBOption {
	return func(o *mariadbOptions) { o.args = append(o.args, "--"+name+"="+value) }
}

// StartMariaDB starts a MariaDB server on a port of its own, with the users and databases of this package, and returns when it answers. It
// writes nothing to disk that has to survive a crash of the machine.
func StartMariaDB(tb TB, opts ...MariaDBOption) *MariaDB {
	tb.Helper()
	m := &MariaDB{Server: Server{tb: tb, account: accountFor(tb, "mysql"), counts: counts{
		sessions: "select count(*) from information_schema.processlist where user",
		running:  "select count(*) from information_schema.processlist where info",
	}}}
	for _, opt := range opts {
		opt(&m.options)
	}
	m.reread = "flush ssl"
	m.bin = redistest.Binary(tb, "mariadbd")
	m.dir = m.account.mkdir(tb)
	m.port = redistest.Port(tb)
	if err := m.copyTemplate(m.template()); err != nil {
		tb.Fatalf("copying a database: %v", err)
	}
	if err := m.account.write(filepath.Join(m.dir, "init.sql"), []byte(mariadbSetup())); err != nil {
		tb.Fatalf("writing init.sql: %v", err)
	}
	m.args = append(m.baseArgs(filepath.Join(m.dir, "data")), fmt.Sprintf("--port=%d", m.port), "--bind-address=127.0.0.1",
		"--socket="+m.SocketPath(), "--pid-file="+filepath.Join(m.dir, "pid"), "--init-file="+filepath.Join(m.dir, "init.sql"),
		"--plugin-load-add=auth_ed25519", "--local-infile=1", "--skip-name-resolve", "--max-allowed-packet=1G",
		"--connect-timeout=60") // of 10 s: on a busy machine a client may need longer for its part of the login
	if m.options.pki != nil {
		if err := m.install(m.options.pki); err != nil {
			tb.Fatalf("installing certificates: %v", err)
		}
		m.args = append(m.args, "--ssl-cert="+m.dir+"/server.crt", "--ssl-key="+m.dir+"/server.key", "--ssl-ca="+m.dir+"/ca.crt")
	}
	m.args = append(m.args, m.options.args...)
	m.client = func(database string) (string, []string) {
		return "mariadb", []string{"--no-defaults", "-N", "-B", "-S", m.SocketPath(), "-u", Root, "-D", database}
	}
	m.ready = func() error {
		conn, err := net.DialTimeout("tcp", m.Addr(), time.Second)
		if err != nil {
			return err
		}
		_ = conn.Close()
		_, err = m.TrySQL(Database, "SELECT 1")
		return err
	}
	m.start()
	return m
}

// Stop ends the server in good order.
func (m *MariaDB) Stop() { m.end(m.process(), syscall.SIGTERM) }

// SocketPath returns the server's unix socket.
func (m *MariaDB) SocketPath() string { return filepath.Join(m.dir, "s") }

func (m *MariaDB) baseArgs(data string) []string {
	return []string{
		"--no-defaults", "--datadir=" + data, "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--innodb-flush-log-at-trx-commit=0",
		"--innodb-doublewrite=0", "--skip-log-bin", "--performance-schema=0", "--innodb-use-native-aio=0", "--key-buffer-size=1M", "--aria-pagecache-buffer-size=8M",
		"--sync-frm=0", "--character-set-server=utf8mb4",
	}
}

// template returns a data directory with the system's tables.
func (m *MariaDB) template() string {
	m.tb.Helper()
	version, err := m.account.run("", m.bin, "--version")
	if err != nil {
		m.tb.Fatalf("%v", err)
	}
	_, version, _ = strings.Cut(version, "Ver ")
	version, _, _ = strings.Cut(version, " ")
	key := "mariadb-" + strings.Map(plain, version) + "-" + digest(strings.Join(m.baseArgs(""), " "))
	return m.account.template(m.tb, key, func(dir string) error {
		args := append(m.baseArgs(dir), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
		_, err := m.account.run("", redistest.Binary(m.tb, "mariadb-install-db"), args...)
		return err
	})
}
