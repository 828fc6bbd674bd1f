package postgres

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
)

const aboutTLS = "select ssl, current_user from pg_stat_ssl where pid = pg_backend_pid()"

// TestTLSModes: how the server is spoken to, and what is refused.
func TestTLSModes(t *testing.T) {
	t.Parallel()
	pki, other := redistest.NewPKI(t), redistest.NewPKI(t)
	secure := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki))
	plain := dbtest.StartPostgres(t)
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
		server *dbtest.Postgres
		cfg    *tls.Config
		prefer bool
		user   string
		want   string // output, or a part of the error
	}{
		{"disable", secure, nil, false, dbtest.NoTLSUser, "f|u_notls"},
		{"disable, and the server insists", secure, nil, false, dbtest.TLSUser, "pg_hba.conf rejects"},
		{"prefer, offered", secure, unverified, true, dbtest.TLSUser, "t|u_tls"},
		{"prefer, not offered", plain, unverified, true, dbtest.SCRAMUser, "|u_scram"},
		{"require, offered", secure, unverified, false, dbtest.TLSUser, "t|u_tls"},
		{"require, not offered", plain, unverified, false, dbtest.SCRAMUser, "does not offer TLS"},
		{"verify-full", secure, trusting(t, pki, "localhost"), false, dbtest.TLSUser, "t|u_tls"},
		{"verify-full, another name", secure, trusting(t, pki, "elsewhere"), false, dbtest.TLSUser, "dragoman:"},
		{"verify-full, another authority", secure, trusting(t, other, "localhost"), false, dbtest.TLSUser, "dragoman:"},
		{"md5 over TLS", secure, trusting(t, pki, "localhost"), false, dbtest.MD5User, "t|u_md5"},
		{"cleartext over verified TLS", secure, trusting(t, pki, "localhost"), false, dbtest.CleartextUser, "t|u_cleartext"},
		{"cleartext over unverified TLS", secure, unverified, false, dbtest.CleartextUser, "method refused"},
		{"cleartext in plain text", plain, nil, false, dbtest.CleartextUser, "method refused"},
		{"a client's certificate", secure, withCert, false, dbtest.CertUser, "t|u_cert"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.TLSOptional = tc.prefer
			f := start(t, cfg)
			f.main().lead(tc.cfg, tc.server.Addr())
			f.world.set("user", tc.user)
			got, err := f.psql(aboutTLS)
			if strings.Contains(tc.want, "|") {
				if err != nil || !strings.HasSuffix(got, tc.want) {
					t.Errorf("got %q, %v, want %q", got, err, tc.want)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %q, %v, want an error with %q", got, err, tc.want)
			}
		})
	}
}

// TestChannelBinding: over TLS the stronger mechanism is taken; somebody in the
// middle, with a certificate that is not looked at, is found out by it.
func TestChannelBinding(t *testing.T) {
	t.Parallel()
	pki, evil := redistest.NewPKI(t), redistest.NewPKI(t)
	server := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki))
	f := start(t, config())
	f.world.set("user", dbtest.TLSUser)
	f.main().lead(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}, middle(t, server.Addr(), evil, trusting(t, pki, "localhost")))
	if _, err := f.psql("select 1"); err == nil || !strings.Contains(err.Error(), "channel binding check failed") {
		t.Errorf("somebody in the middle: %v", err)
	}
}

// middle stands between the proxy and a server and speaks TLS with both.
func middle(t *testing.T, to string, pki *redistest.PKI, onward *tls.Config) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(pki.ServerCertFile, pki.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	return relay(t, func(down net.Conn) (net.Conn, net.Conn) {
		up, err := net.Dial("tcp", to)
		if err != nil {
			return nil, nil
		}
		var request [8]byte
		if _, err := io.ReadFull(down, request[:]); err != nil {
			return nil, nil
		}
		_, _ = up.Write(request[:])
		_, _ = io.ReadFull(up, request[:1])
		_, _ = down.Write(request[:1])
		return tls.Server(down, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}), tls.Client(up, onward)
	})
}

// relay accepts connections, has dial make two of each, and copies between them.
func relay(t *testing.T, dial func(net.Conn) (down, up net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				down, up := dial(c)
				if up == nil {
					return
				}
				defer up.Close()
				go func() {
					_, _ = io.Copy(up, down)
					_ = up.Close()
				}()
				_, _ = io.Copy(down, up)
			}()
		}
	}()
	return ln.Addr().String()
}

// TestDirectTLS: both sides may begin with TLS at once, as version 17 has it.
func TestDirectTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartPostgres(t)
	pair, err := tls.LoadX509KeyPair(pki.ServerCertFile, pki.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	serve := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}}
	direct := relay(t, func(down net.Conn) (net.Conn, net.Conn) {
		up, err := net.Dial("tcp", server.Addr())
		if err != nil {
			return nil, nil
		}
		return tls.Server(down, serve), up
	})
	f := start(t, config())
	cfg := trusting(t, pki, "localhost")
	cfg.NextProtos = []string{"postgresql"}
	f.main().lead(cfg, direct)
	f.main().Table().Options.StartTLS = false
	f.listen("tcp", "127.0.0.1:0", serve)

	to := f.addr
	f.addr = relay(t, func(down net.Conn) (net.Conn, net.Conn) { // what a client of version 17 does
		up, err := tls.Dial("tcp", to, cfg)
		if err != nil {
			return nil, nil
		}
		return down, up
	})
	if got := f.must("select current_user"); got != dbtest.SCRAMUser {
		t.Errorf("got %q", got)
	}
}

// TestTLSOfTheApp: an app that insists on TLS gets it, one that does not ask for
// it is refused.
func TestTLSOfTheApp(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartPostgres(t)
	f := start(t, config(), server.Addr())
	pair, err := tls.LoadX509KeyPair(pki.ServerCertFile, pki.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	f.listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if got := f.must("select current_user", "host=localhost", "sslmode=verify-full", "sslrootcert="+pki.CAFile); got != dbtest.SCRAMUser {
		t.Errorf("got %q", got)
	}
	if got := f.must("select count(*), sum(length(repeat('x', 1000000))) from generate_series(1, 20)", "sslmode=require"); got != "20|20000000" {
		t.Errorf("got %q", got)
	}
	if _, err := f.psql("select 1", "sslmode=disable"); err == nil || !strings.Contains(err.Error(), "with TLS only") {
		t.Errorf("without TLS: %v", err)
	}
}
