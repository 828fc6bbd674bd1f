package postgres

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dragoman-mesh/dragoman/internal/dbtest"
	"github.com/dragoman-mesh/dragoman/internal/filtertest"
	"github.com/dragoman-mesh/dragoman/internal/nettest"
	"github.com/dragoman-mesh/dragoman/internal/redistest"
	"github.com/dragoman-mesh/dragoman/pkg/filters"
)

// relay accepts connections, has dial make two of each, and copies between them.
func relay(t *testing.T, dial func(net.Conn) (down, up net.Conn)) string {
	t.Helper()
	return nettest.Serve(t, func(c net.Conn) {
		down, up := dial(c)
		if up == nil {
			return
		}
		defer up.Close()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = io.Copy(up, down)
			up.Close()
		})
		_, _ = io.Copy(down, up)
		down.Close()
		wg.Wait()
	})
}

// TestCancelOverTLS: the key of a session that has TLS does not go over the wire without, whether its client cancels or the proxy does after the
// client is gone.
func TestCancelOverTLS(t *testing.T) {
	t.Parallel()
	pki := redistest.NewPKI(t)
	server := dbtest.StartPostgres(t, dbtest.PostgresTLS(pki))
	for mode, change := range modes() {
		for i, how := range []string{"asked for", "at once"} {
			t.Run(how+" "+mode, func(t *testing.T) {
				t.Parallel()
				wire := &filtertest.Log{}
				cfg := config()
				change(cfg)
				f := start(t, cfg)
				f.main().Lead(filtertest.Trusting(t, pki, "localhost"), relay(t, func(down net.Conn) (net.Conn, net.Conn) {
					up, err := net.Dial("tcp", server.Addr())
					if err != nil {
						return nil, nil
					}
					down = filtertest.Tapped{Conn: down, Seen: wire}
					if how == "at once" {
						down = tls.Server(down, pki.ServerConfig())
					}
					return down, up
				}))
				if how == "at once" {
					f.main().Set(&filters.Table{Version: 2, Options: &filters.UpstreamOptions{ConnectTimeout: 5 * time.Second}, Shards: f.main().Table().Shards})
				}
				query := fmt.Sprintf("select pg_sleep(%d), '%s'", 600+i, mode)
				running := func() bool {
					return server.Running(query)
				}
				conn, ended := f.connect(), make(chan error, 1)
				ask := func() {
					_, err := conn.Exec(context.Background(), query)
					ended <- err
				}
				go ask()
				eventually(t, "the query to run", running)
				if err := conn.PgConn().CancelRequest(withTimeout(t)); err != nil {
					t.Fatal(err)
				}
				if err := <-ended; dbtest.Code(err) != "57014" {
					t.Errorf("the query ended with %v", err)
				}
				go ask()
				eventually(t, "the query to run", running)
				_ = conn.PgConn().Conn().Close()
				eventually(t, "the query to be cancelled", func() bool { return !running() })
				<-ended
				if strings.Contains(wire.String(), "\x04\xd2\x16\x2e") {
					t.Error("a request to cancel can be read on the wire")
				}
			})
		}
	}
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
	cfg := filtertest.Trusting(t, pki, "localhost")
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
