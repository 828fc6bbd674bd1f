package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filetest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

// loginCell is a way to log in in one mode of TLS, in an environment of its own.
type loginCell struct {
	name, want  string // "TLS" or "plain", with what else is known of the login; or a part of the error
	protocol    string
	environment string // of the document
	ask         func(ctx context.Context, port int) (string, error)
	more        func() string // what is known besides; nil: nothing
}

// modes are those of a document's tls. Where nothing of a server is verified no authority is named.
var modes = []struct{ name, tls string }{
	{"disable", "mode: disable"},
	{"prefer", "mode: prefer"},
	{"require", "mode: require"},
	{"verify-ca", "mode: verify-ca, caFile: CA"},
	{"verify-full", "mode: verify-full, caFile: CA"},
	{"direct", "mode: verify-full, caFile: CA, direct: true"},
}

// What comes of a login that does not succeed, in words of the server or the proxy.
const (
	weak      = "method refused"        // the proxy shows no password there
	rejects   = "pg_hba.conf rejects"   // the server
	noTLS     = "does not offer TLS"    // the server
	badCert   = "certificate"           // of the server, to the proxy
	noCert    = "valid client cert"     // is shown by the proxy
	unbound   = "channel binding"       // somebody is in the middle
	noLogin   = "Access denied for"     // the server
	unsafeWay = "needs verified TLS"    // the proxy shows no password there
	noAnswer  = "no server of the data" // the server does not know TLS that begins at once
)

// TestPostgresLogins: each method of authentication in each mode of TLS.
func TestPostgresLogins(t *testing.T) {
	t.Parallel()
	pki, others := redistest.NewPKI(t), redistest.NewPKI(t)
	secure, plain := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki)), dbtest.StartPostgres(t)
	certFile, keyFile := pki.Issue(dbtest.CertUser, dbtest.CertUser)
	shown := ", certFile: " + certFile + ", keyFile: " + keyFile
	rows := []struct {
		name, user string
		server     *dbtest.Postgres
		peer       *redistest.PKI // whose certificate is shown by somebody between, who tells of mechanisms
		hidesPlus  bool           // and offers less than the server
		tls        string         // is added to the document's, where it is not disabled
		want       [6]string      // by mode
	}{
		//                                                                   disable, prefer, require, verify-ca, verify-full, direct
		{"trust", dbtest.TrustUser, secure, nil, false, "", [6]string{"plain", "TLS", "TLS", "TLS", "TLS", "TLS"}},
		{"password", dbtest.CleartextUser, secure, nil, false, "", [6]string{weak, weak, weak, "TLS", "TLS", "TLS"}},
		{"md5", dbtest.MD5User, secure, nil, false, "", [6]string{"plain", "TLS", "TLS", "TLS", "TLS", "TLS"}},
		{"scram-sha-256", dbtest.SCRAMUser, secure, nil, false, "", [6]string{"plain", "TLS", "TLS", "TLS", "TLS", "TLS"}},
		{"scram-sha-256 by its mechanism", dbtest.SCRAMUser, secure, pki, false, "", [6]string{
			"plain SCRAM-SHA-256", "TLS SCRAM-SHA-256-PLUS", "TLS SCRAM-SHA-256-PLUS", "TLS SCRAM-SHA-256-PLUS", "TLS SCRAM-SHA-256-PLUS", "TLS SCRAM-SHA-256-PLUS",
		}},
		{"scram-sha-256, -PLUS is hidden", dbtest.SCRAMUser, secure, pki, true, "", [6]string{"plain SCRAM-SHA-256", unbound, unbound, unbound, unbound, unbound}},
		{"scram-sha-256, somebody in the middle", dbtest.SCRAMUser, secure, others, false, "", [6]string{"plain SCRAM-SHA-256", unbound, unbound, badCert, badCert, badCert}},
		{"cert", dbtest.CertUser, secure, nil, false, shown, [6]string{rejects, "TLS", "TLS", "TLS", "TLS", "TLS"}},
		{"cert, none shown", dbtest.CertUser, secure, nil, false, "", [6]string{rejects, noCert, noCert, noCert, noCert, noCert}},
		{"hostssl", dbtest.TLSUser, secure, nil, false, "", [6]string{rejects, "TLS", "TLS", "TLS", "TLS", "TLS"}},
		{"hostnossl", dbtest.NoTLSUser, secure, nil, false, "", [6]string{"plain", "plain", rejects, rejects, rejects, rejects}},
		{"another name", dbtest.SCRAMUser, secure, nil, false, ", serverName: elsewhere", [6]string{"plain", "TLS", "TLS", "TLS", badCert, badCert}},
		{"trust, no TLS", dbtest.TrustUser, plain, nil, false, "", [6]string{"plain", "plain", noTLS, noTLS, noTLS, noAnswer}},
		{"password, no TLS", dbtest.CleartextUser, plain, nil, false, "", [6]string{weak, weak, noTLS, noTLS, noTLS, noAnswer}},
		{"md5, no TLS", dbtest.MD5User, plain, nil, false, "", [6]string{"plain", "plain", noTLS, noTLS, noTLS, noAnswer}},
		{"scram-sha-256, no TLS", dbtest.SCRAMUser, plain, nil, false, "", [6]string{"plain", "plain", noTLS, noTLS, noTLS, noAnswer}},
	}
	var cells []loginCell
	for _, row := range rows {
		for i, mode := range modes {
			c := loginCell{name: row.name + ", " + mode.name, want: row.want[i], protocol: "postgres", ask: postgresTLS}
			address := row.server.Addr()
			switch {
			case row.peer != nil:
				p := startPostgresPeer(t, row.server, row.peer, row.hidesPlus)
				address, c.more = p.addr(), func() string { return p.mechanism.Load().(string) }
			case mode.name == "direct" && row.server == secure: // version 15 does not know it
				address = startPostgresPeer(t, row.server, pki, false).addr()
			}
			c.environment = environmentOf(address, row.user, mode.tls+strings.Repeat(row.tls, min(i, 1)), pki)
			cells = append(cells, c)
		}
	}
	logIn(t, cells)
}

// TestMariaDBLogins: each method of authentication in each mode of TLS.
func TestMariaDBLogins(t *testing.T) {
	t.Parallel()
	pki, others := redistest.NewPKI(t), redistest.NewPKI(t)
	secure, plain, other := dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki)), dbtest.StartMariaDB(t), dbtest.StartMariaDB(t, dbtest.MariaDBTLS(others))
	certFile, keyFile := pki.Issue(dbtest.CertUser, dbtest.CertUser)
	shown := ", certFile: " + certFile + ", keyFile: " + keyFile
	rows := []struct {
		name, user string
		server     *dbtest.MariaDB // nil: a faithful fake of MySQL, with the method of that name
		method     string
		known      bool   // the password is in the fake's cache
		tls        string // is added to the document's, where it is not disabled
		want       [5]string
	}{
		//                                                                   disable, prefer, require, verify-ca, verify-full
		{"mysql_native_password", dbtest.NativeUser, secure, "", false, "", [5]string{"plain", "TLS", "TLS", "TLS", "TLS"}},
		{"client_ed25519", dbtest.Ed25519User, secure, "", false, "", [5]string{"plain", "TLS", "TLS", "TLS", "TLS"}},
		{"no password", dbtest.EmptyUser, secure, "", false, "", [5]string{"plain", "TLS", "TLS", "TLS", "TLS"}},
		{"caching_sha2_password", "u", nil, dbtest.CachingSHA2, false, "", [5]string{unsafeWay, unsafeWay, unsafeWay, "cleartext fast", "cleartext fast"}},
		{"caching_sha2_password, cached", "u", nil, dbtest.CachingSHA2, true, "", [5]string{"fast fast", "fast fast", "fast fast", "fast fast", "fast fast"}},
		{"sha256_password", "u", nil, dbtest.SHA256, false, "", [5]string{unsafeWay, unsafeWay, unsafeWay, "cleartext cleartext", "cleartext cleartext"}},
		{"mysql_clear_password", "u", nil, dbtest.Clear, false, "", [5]string{"refused", "refused", "refused", "cleartext cleartext", "cleartext cleartext"}},
		{"REQUIRE SSL", dbtest.TLSUser, secure, "", false, "", [5]string{noLogin, "TLS", "TLS", "TLS", "TLS"}},
		{"REQUIRE X509", dbtest.CertUser, secure, "", false, shown, [5]string{noLogin, "TLS", "TLS", "TLS", "TLS"}},
		{"REQUIRE X509, none shown", dbtest.CertUser, secure, "", false, "", [5]string{noLogin, noLogin, noLogin, noLogin, noLogin}},
		{"another authority", dbtest.NativeUser, other, "", false, "", [5]string{"plain", "TLS", "TLS", badCert, badCert}},
		{"another name", dbtest.NativeUser, secure, "", false, ", serverName: elsewhere", [5]string{"plain", "TLS", "TLS", "TLS", badCert}},
		{"mysql_native_password, no TLS", dbtest.NativeUser, plain, "", false, "", [5]string{"plain", "plain", noTLS, noTLS, noTLS}},
		{"client_ed25519, no TLS", dbtest.Ed25519User, plain, "", false, "", [5]string{"plain", "plain", noTLS, noTLS, noTLS}},
	}
	var cells []loginCell
	for _, row := range rows {
		for i, want := range row.want {
			c := loginCell{name: row.name + ", " + modes[i].name, want: want, protocol: "mysql", ask: mariadbTLS}
			var address string
			if row.server != nil {
				address = row.server.Addr()
			} else {
				fake := dbtest.StartFakeMySQL(t, row.method, pki)
				if row.known {
					fake.Remember()
				}
				address, c.ask = fake.Addr(), nobodyTells
				c.more = func() string { return strings.Join(fake.Logins(), " ") }
			}
			c.environment = environmentOf(address, row.user, modes[i].tls+strings.Repeat(row.tls, min(i, 1)), pki)
			cells = append(cells, c)
		}
	}
	logIn(t, cells)
}

func environmentOf(address, user, tls string, pki *redistest.PKI) string {
	password := ", passwordEnv: FIRST_SECRET"
	if user == dbtest.EmptyUser {
		password = ""
	}
	return fmt.Sprintf("{address: %q, database: app, tls: {%s}, credentials: {username: %s%s}}", address, strings.ReplaceAll(tls, "CA", pki.CAFile), user, password)
}

// logIn runs one proxy with an ambassador for each cell, and logs in at each twice: the second time with what the first has left in caches.
func logIn(t *testing.T, cells []loginCell) {
	t.Helper()
	var documents []string
	ports := make([]int, len(cells))
	for i, c := range cells {
		ports[i] = redistest.Port(t)
		documents = append(documents, fmt.Sprintf(`apiVersion: mesh.dragoman.io/v1alpha1
kind: Ambassador
metadata: {name: db-%d}
spec:
  protocol: %s
  listen: {port: %d}
  environments: {prod: %s}
  defaultEnvironment: prod
`, i, c.protocol, ports[i], c.environment))
	}
	file := filetest.Put(t, filepath.Join(t.TempDir(), "mesh.yaml"), strings.Join(documents, "---\n"))
	p := launch(t, []string{"FIRST_SECRET=" + dbtest.Password}, "run", "-f", file)
	p.awaitReady()
	for i, c := range cells {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
			defer cancel()
			var got string
			var err error
			for range 2 {
				if got, err = c.ask(ctx, ports[i]); err != nil {
					break
				}
			}
			switch {
			case err != nil:
				got = err.Error()
			case c.more != nil:
				got = strings.TrimSpace(got + " " + c.more())
			}
			if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// postgresTLS asks a server how it is spoken to.
func postgresTLS(ctx context.Context, port int) (how string, err error) {
	s, err := openPostgres(ctx, port)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return s.Value(ctx, "select case when ssl then 'TLS' else 'plain' end from pg_stat_ssl where pid = pg_backend_pid()")
}

func mariadbTLS(ctx context.Context, port int) (how string, err error) {
	s, err := openMariaDB(ctx, port)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return s.Value(ctx, "select if(variable_value = '', 'plain', 'TLS') from information_schema.session_status where variable_name = 'ssl_cipher'")
}

// nobodyTells logs in at a server that does not tell how it is spoken to.
func nobodyTells(ctx context.Context, port int) (string, error) {
	s, err := openMariaDB(ctx, port)
	if err != nil {
		return "", err
	}
	defer s.Close()
	return "", s.Exec(ctx, "select 1")
}
