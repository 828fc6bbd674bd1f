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

// TestDirectTLSOfTheApp: an app may begin with TLS at once, as version 17 has it.
func TestDirectTLSOfTheApp(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	pair, err := tls.LoadX509KeyPair(pki.ServerCertFile, pki.ServerKeyFile)
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, config(), dbtest.StartPostgres(t).Addr())
	f.listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"postgresql"}})
	cfg := trusting(t, pki, "localhost")
	cfg.NextProtos = []string{"postgresql"}
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
