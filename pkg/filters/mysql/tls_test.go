package mysql

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const aboutTLS = "select if(variable_value = '', 'plain', 'TLS'), substring_index(current_user(), '@', 1) from information_schema.session_status where variable_name = 'ssl_cipher'"

// TestTLSModes: how the server is spoken to, and what is refused.
func TestTLSModes(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	secure := dbtest.StartMariaDB(t, dbtest.MariaDBTLS(pki))
	plain := dbtest.StartMariaDB(t)
	unverified := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	withCert := trusting(t, pki, "localhost")
	cert, key := pki.Issue(dbtest.CertUser, dbtest.CertUser)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	withCert.Certificates = []tls.Certificate{pair}
	tests := []struct {
		name   string
		server *dbtest.MariaDB
		cfg    *tls.Config
		prefer bool
		user   string
		want   string // output, or a part of the error
	}{
		{"disable", secure, nil, false, dbtest.NativeUser, "plain\tu_native"},
		{"disable, and the server insists", secure, nil, false, dbtest.TLSUser, "Access denied"},
		{"prefer, offered", secure, unverified, true, dbtest.TLSUser, "TLS\tu_tls"},
		{"prefer, not offered", plain, unverified, true, dbtest.NativeUser, "plain\tu_native"},
		{"require, offered", secure, unverified, false, dbtest.Ed25519User, "TLS\tu_ed25519"},
		{"require, not offered", plain, unverified, false, dbtest.NativeUser, "does not offer TLS"},
		{"verify-full", secure, trusting(t, pki, "localhost"), false, dbtest.TLSUser, "TLS\tu_tls"},
		{"verify-full, wrong name", secure, trusting(t, pki, "elsewhere"), false, dbtest.TLSUser, "certificate"},
		{"verify-full, wrong authority", secure, trusting(t, other, "localhost"), false, dbtest.TLSUser, "certificate"},
		{"client certificate", secure, withCert, false, dbtest.CertUser, "TLS\tu_cert"},
		{"client certificate is missing", secure, trusting(t, pki, "localhost"), false, dbtest.CertUser, "Access denied"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.TLSOptional = tc.prefer
			f := start(t, cfg, tc.server.Addr())
			if tc.cfg != nil {
				f.main().lead(tc.cfg, tc.server.Addr())
			}
			f.world.set("user", tc.user)
			got, err := f.client(aboutTLS)
			if err != nil {
				got = err.Error()
			}
			if got != tc.want && (err == nil || !strings.Contains(got, tc.want)) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestDownstreamTLS: an app that insists on TLS gets it, and one that does not use
// it where there is some is refused.
func TestDownstreamTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	f := start(t, config(), dbtest.StartMariaDB(t).Addr())
	f.listen("tcp", "127.0.0.1:0", pki.ServerConfig())
	if got := f.must("\\s\nselect 1", "--ssl", "--ssl-verify-server-cert", "--ssl-ca="+pki.CAFile); !strings.Contains(got, "TLS_AES") || !strings.HasSuffix(got, "1") {
		t.Errorf("the mariadb client gets %q", got)
	}
	if got := query[int](t, f.connect("tls=skip-verify"), "select 7"); got != 7 {
		t.Errorf("go-sql-driver gets %d", got)
	}
	if _, err := f.client("select 1", "--skip-ssl"); err == nil || !strings.Contains(err.Error(), "TLS only") {
		t.Errorf("without TLS: %v", err)
	}
	g := start(t, config(), dbtest.StartMariaDB(t).Addr())
	if _, err := g.client("select 1", "--ssl", "--ssl-verify-server-cert"); err == nil || !strings.Contains(err.Error(), "SSL") {
		t.Errorf("TLS where is none: %v", err)
	}
}

// TestCachingSHA2 has the method that MariaDB does not: the fast way, and the
// password itself over TLS that has shown who the server is, and never else.
func TestCachingSHA2(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	unverified := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
	tests := []struct {
		name, plugin string
		cfg          *tls.Config
		password     string
		want         string // output, or a part of the error
		logins       string // of two
	}{
		{"caching_sha2_password, verified", dbtest.CachingSHA2, trusting(t, pki, "localhost"), dbtest.Password, "select 1", "cleartext fast"},
		{"caching_sha2_password, unverified", dbtest.CachingSHA2, unverified, dbtest.Password, "needs verified TLS", ""},
		{"caching_sha2_password, plain", dbtest.CachingSHA2, nil, dbtest.Password, "needs verified TLS", ""},
		{"sha256_password, verified", dbtest.SHA256, trusting(t, pki, "localhost"), dbtest.Password, "select 1", "cleartext cleartext"},
		{"sha256_password, plain", dbtest.SHA256, nil, dbtest.Password, "needs verified TLS", ""},
		{"a wrong password", dbtest.CachingSHA2, trusting(t, pki, "localhost"), "wrong", "Access denied", "denied denied"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			server := dbtest.StartFakeMySQL(t, tc.plugin, pki)
			f := start(t, config(), server.Addr())
			f.main().lead(tc.cfg, server.Addr())
			f.world.set("password", tc.password)
			for range 2 {
				got, err := f.client("select 1")
				if err != nil {
					got = err.Error()
				}
				if !strings.Contains(got, tc.want) {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			}
			if got := strings.Join(server.Logins(), " "); got != tc.logins {
				t.Errorf("logins by %q, want %q", got, tc.logins)
			}
		})
	}
}
